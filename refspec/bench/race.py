"""Several ways to continue the same prompts, in turn: who goes first changes from prompt to prompt."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refspec.bench.clock import shown
from refspec.decoding.lm import Tokens
from refspec.decoding.round import Round
from refspec.generate import generate
from refspec.given import AnyDrafter
from refspec.models.model import Model


@dataclass(frozen=True)
class Decoded:
    """One continuation. decoded: how many of the tokens came after the first round, which belongs to the prefill.

    decode_seconds: of those. rounds: of refspec's own loop; calls of the target otherwise are not counted.
    """

    tokens: Tokens
    decoded: int
    prefill_seconds: float
    decode_seconds: float
    rounds: tuple[Round, ...] = ()


Runner = Callable[[Tokens, int], Decoded]  # (prompt, seed) -> its continuation


def ours(model: Model, drafter: Callable[[], AnyDrafter], settings: dict[str, Any]) -> Runner:
    """drafter: makes a new one for each prompt. settings: options of `refspec.generate`."""

    def run(prompt: Tokens, seed: int) -> Decoded:
        out = generate(model, prompt, drafter=drafter(), seed=seed, **settings)
        decoded = sum(len(each.tokens) for each in out.rounds[1:])
        return Decoded(out.tokens, decoded, out.stats.prefill_seconds, out.stats.decode_seconds, out.rounds)

    return run


def race(
    prompts: Sequence[Tokens], runners: Mapping[str, Runner], *, times: int, seed: int, label: str
) -> dict[str, list[Decoded]]:
    """By runner, a continuation of each prompt: seconds are medians over `times` passes, the rest is as in the first.

    Prompt i has the seed `seed` + i in every pass, so that a pass repeats the work of the one before.
    """
    turns: dict[str, list[list[Decoded]]] = {name: [[] for _ in prompts] for name in runners}
    names = list(runners)
    for turn, i in shown([(turn, i) for turn in range(times) for i in range(len(prompts))], label):
        for name in names if (turn + i) % 2 == 0 else reversed(names):
            turns[name][i].append(runners[name](prompts[i], seed + i))
    return {name: [median(of_prompt) for of_prompt in found] for name, found in turns.items()}


def median(passes: Sequence[Decoded]) -> Decoded:
    return replace(
        passes[0],
        prefill_seconds=statistics.median(each.prefill_seconds for each in passes),
        decode_seconds=statistics.median(each.decode_seconds for each in passes),
    )
