"""A finished generation as one line of figures, as one JSON object, and its rounds as a table."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from refspec.brief import counted
from refspec.cli.colour import Paint
from refspec.decoding.round import Round, role
from refspec.generate import Output
from refspec.transformer.blas import blas_threads

INEXACT = "inexact rule: not the target's distribution"
UNKNOWN = "unknown rule: it does not say whether the text has the target's distribution"


def figures(output: Output, seed: int, paint: Paint) -> str:
    """One line. A dash stands where there was nothing to divide by."""
    stats, roles = output.stats, Counter(role(each) for each in output.rounds)
    parts = [
        counted(stats.tokens, "token"),
        f"{number(stats.tokens_per_target_call, 2)} tokens per target call",
        f"acceptance rate {number(stats.acceptance_rate, 3)}",
    ]
    if stats.drafted:
        counts = (("accepted", stats.accepted), ("corrected", roles["corrected"]), ("bonus", roles["bonus"]))
        parts.append(", ".join(paint(f"{count} {name}", name) for name, count in counts))
    if stats.exact is not True:
        parts.append(UNKNOWN if stats.exact is None else INEXACT)
    parts += [
        f"prefill {stats.prefill_seconds:.2f} s",
        f"decode {stats.decode_seconds:.2f} s",
        f"{number(stats.tokens_per_second, 1)} tokens/s",
        f"seed {seed}",
        counted(threads, "thread") if (threads := blas_threads()) else "- threads",
        *([output.profile.label] if output.profile else []),
        f"finish reason: {output.finish_reason}",
    ]
    return " | ".join(parts)


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def as_json(output: Output) -> dict[str, Any]:
    """The generation by its Python names, the statistics beside the rest: `tokens` and `rounds` are the lists themselves.

    cut: what was drafted from an accepted stop token on. With it the rounds add up to the statistics: drafted + len(cut) drafted,
    and accepted + 1 accepted where a round was cut. pass_rows: in a batch.
    """
    return {
        "text": output.text,
        "tokens": output.tokens,
        "prompt_tokens": output.prompt_tokens,
        "finish_reason": output.finish_reason,
        **{name: value for name, value in asdict(output.stats).items() if name not in ("tokens", "rounds")},
        "threads": blas_threads(),
        **(output.chat or {}),
        "profile": None if output.profile is None else {"digest": output.profile.digest, "about": output.profile.about},
        "rounds": [
            {
                "drafted": each.drafted,
                "accepted": each.accepted,
                "token": each.token,
                "draft_tokens": each.draft_tokens,
                "cut": each.cut,
                **({} if each.pass_rows is None else {"pass_rows": each.pass_rows}),
            }
            for each in output.rounds
        ],
    }


def table(rounds: Sequence[Round], spell: Callable[[Sequence[int]], str], paint: Paint, first: int = 1) -> str:
    """A line a round, numbered from `first`: how many were drafted and accepted, the draft, and the token after it.

    What a bar precedes was rejected.
    """
    spelled = [[spell(each.draft_tokens[: each.accepted]), spell(each.draft_tokens[each.accepted :])] for each in rounds]
    drafts = [kept + (" | " if kept and rejected else "| " if rejected else "") + rejected for kept, rejected in spelled]
    width = max([len("draft"), *map(len, drafts)])
    lines = [paint(f"round  drafted  accepted  {'draft':<{width}}  then", "heading")]
    for i, (each, draft, (kept, rejected)) in enumerate(zip(rounds, drafts, spelled, strict=True)):
        between = draft[len(kept) : len(draft) - len(rejected)]
        shown = paint(kept, "accepted") + between + paint(rejected, "rejected") + " " * (width - len(draft))
        kind = role(each)
        after = paint(spell((each.token,)), kind) + ("" if kind == "plain" else f" ({kind})")
        lines.append(f"{first + i:>5}  {each.drafted:>7}  {each.accepted:>8}  {shown}  {after}")
    return "\n".join(lines)
