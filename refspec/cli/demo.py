"""`refspec demo`: speculation to look at, on the trained pair inside the package, in a few seconds and without a network."""

import argparse
import shutil
import statistics
import sys
import textwrap
from collections.abc import Sequence

import refspec
from refspec.brief import counted
from refspec.cli.colour import Paint, Screen, painter, uncoloured
from refspec.cli.exits import SUCCESS
from refspec.cli.output import table
from refspec.decoding.chance import Seeded
from refspec.decoding.round import Round
from refspec.decoding.stats import Stats
from refspec.errors import BadArgument
from refspec.generate import stream
from refspec.models.home import EMBEDDED
from refspec.models.model import Model
from refspec.models.tokenizer import Tokenizer
from refspec.transcript import predicted

TARGET, DRAFT = "tiny-target", "tiny-draft"
PROMPT = "JULIET:\nO Romeo, Romeo! wherefore art thou Romeo?\n\nROMEO:\n"
NEW_TOKENS = 160
SHOWN = 12  # rounds in the table
RUNS = 7  # of each kind, in turn, for the times

SAME_DISTRIBUTION = """\
Two draws from one distribution, not one text: each kind of decoding spends the seed's random numbers in its own way."""

EXACT = """\
Speculation draws from the target's own distribution, whatever the draft. Checked exactly, not measured: `refspec prove` runs
this very loop along every branch, in exact fractions, on your machine."""


def run(options: argparse.Namespace) -> int:
    """Print the demonstration."""
    gamma, seed = options.gamma, options.seed
    if not 1 <= gamma < NEW_TOKENS:
        raise BadArgument(f"gamma is {gamma}; the demo drafts 1 to {NEW_TOKENS - 1} tokens a round")
    Seeded(seed)  # refused, if it is, before anything is printed
    paint = painter(sys.stdout)
    target, draft = refspec.load(TARGET), refspec.load(DRAFT)
    tokenizer = target.tokenizer
    assert tokenizer is not None  # the package has it
    print("Two models that have read Shakespeare:\n")
    for name in (TARGET, DRAFT):
        print(wrapped(f"{name}: {EMBEDDED[name]}", indent="  "))
    print("\n" + wrapped(f"At temperature 1, with seed {seed}, they go on from") + f"\n\n{PROMPT}")

    print(paint(wrapped("Plain decoding, a call of the target for each token:"), "heading"))
    show(target, None, tokenizer, options)
    drafting = f"Speculative decoding, {counted(gamma, 'token')} drafted a round"
    print("\n" + paint(wrapped(drafting + ":" * (paint is uncoloured)), "heading") + legend(paint))
    drafted = show(target, draft, tokenizer, options)
    print("\n" + wrapped(SAME_DISTRIBUTION))

    first = typical(drafted.rounds)
    shown = drafted.rounds[first : first + SHOWN]
    these = f"Rounds {first + 1} to {first + len(shown)} of {len(drafted.rounds)}, which accept about as many tokens as all do"
    print("\n" + wrapped(f"{these} (what stands behind a bar was drafted and rejected):") + "\n")
    print(table(shown, lambda ids: spell(tokenizer, ids), paint, first + 1))
    print("\n" + summary(drafted.rounds, drafted.stats, paint))
    print("\n" + wrapped(times(target, draft, options)))
    print("\n" + wrapped(EXACT))
    return SUCCESS


def wrapped(text: str, indent: str = "") -> str:
    """The text in lines that fit the terminal."""
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=2 * indent, break_on_hyphens=False)


def typical(rounds: Sequence[Round]) -> int:
    """Where the SHOWN consecutive rounds start whose mean acceptance is nearest to that of all: the first such ones."""
    accepted = [each.accepted for each in rounds]
    mean = statistics.mean(accepted)
    return min(range(max(1, len(rounds) - SHOWN + 1)), key=lambda i: abs(statistics.mean(accepted[i : i + SHOWN]) - mean))


def show(target: Model, draft: Model | None, tokenizer: Tokenizer, options: argparse.Namespace) -> refspec.Output:
    asked = {"gamma": options.gamma, "max_new_tokens": NEW_TOKENS, "seed": options.seed}
    run = stream(target, PROMPT, drafter=draft, stop=(), record=True, **asked)
    screen = Screen(sys.stdout)
    for piece in run:
        screen.show(piece)
    screen.end(run.rest())
    return run.output


def summary(rounds: Sequence[Round], stats: Stats, paint: Paint) -> str:
    """What came of the drafts, beside what the two models' distributions promise."""
    measured = stats.acceptance_rate, stats.tokens_per_target_call
    names = "acceptance rate", "tokens per target call"
    rows = zip(names, measured, predicted(rounds), strict=True)
    return "\n".join(
        [
            paint(f"{'':24}measured  predicted", "heading"),
            *(f"{name:24}{found:8.2f}  {promised:9.2f}" for name, found, promised in rows),
            "",
            wrapped(
                "Predicted: a, the mean of sum min(p, q), for the target's distribution p and the draft's q; and the mean of "
                "(1 - a^(n + 1)) / (1 - a) over rounds of n drafted tokens."
            ),
        ]
    )


def times(target: Model, draft: Model, options: argparse.Namespace) -> str:
    """The wall clock of both, each in turn."""
    asked = {"gamma": options.gamma, "max_new_tokens": NEW_TOKENS, "seed": options.seed}
    taken: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(RUNS):
        for speculate in taken:
            out = refspec.generate(target, PROMPT, drafter=draft if speculate else None, stop=(), **asked)
            taken[speculate].append(out.stats.prefill_seconds + out.stats.decode_seconds)
    plain, drafted = (1000 * statistics.median(each) for each in taken.values())
    ratios = [without / with_draft for without, with_draft in zip(*taken.values(), strict=True)]
    return (
        f"{NEW_TOKENS} tokens took {plain:.0f} ms plainly and {drafted:.0f} ms speculatively: {statistics.median(ratios):.2f} "
        f"times as fast (medians of {RUNS} runs in turn; {min(ratios):.2f} to {max(ratios):.2f})."
    )


def legend(paint: Paint) -> str:
    """What the colours say, where there are any."""
    names = [paint(name, name) for name in ("accepted", "corrected", "bonus")]
    return "" if paint is uncoloured else f" ({', '.join(names)}):"


def spell(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """On one line, and no longer than fits twice into a row of the table, whose other columns take 50."""
    text, most = tokenizer.decode(ids).replace("\n", "\\n"), max(8, (shutil.get_terminal_size().columns - 50) // 2)
    return text if len(text) <= most else text[: most - 1] + "…"
