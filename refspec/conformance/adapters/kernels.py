"""How a kernel that races for the replacement becomes an engine: one uniform a test, and exponential draws for the race."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.conformance import adapter as verdicts
from refspec.conformance.adapter import ByGenerator, Case, Dialect, Run
from refspec.conformance.own import WARPS, Own
from refspec.decoding.chance import Chance, pick_at
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import Verdict

# (tokens, draft rows [n, v], target rows [n + 1, v], n uniforms, exponential draws [v], the bonus token) -> how many drafted
# tokens stay, and the token after them. The least draw / residual takes the place of a rejected one.
Judge = Callable[[Sequence[int], Array, Array, Sequence[float], Array, int], tuple[int, int]]


class Tests:
    """The acceptance tests alone, at the replay level. One uniform does not say who wins a race: any possible winner is right."""

    def __init__(self, judge: Judge, name: str, version: str) -> None:
        self._judge = judge
        self.dialect = Dialect(name, version, uniforms_in="tests", kv_dtype="float32")

    def verify(
        self, tokens: Tokens, draft_probs: Array, target_probs: Array, accept: Sequence[float], pick: float
    ) -> verdicts.Verdict:
        bonus = pick_at(pick, target_probs[len(tokens)])
        return verdicts.Verdict(*self._judge(tokens, draft_probs, target_probs, accept, np.ones(target_probs.shape[1]), bonus))


def sampled(judge: Judge, name: str, version: str) -> ByGenerator:
    """Its law, at the sampled level, in refspec's loop behind a draft model. The bonus token is drawn outside of the kernel."""

    def run(case: Case, generator: Any) -> Run:
        def rule(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
            n = len(draft.tokens)
            bonus = chance.pick(target_probs[n])
            if not n:
                return Verdict(0, bonus)
            rows = np.array([draft.row(i, like=target_probs[i]) for i in range(n)])
            accept = [generator.random() for _ in range(n)]
            clocks = [-np.log1p(-generator.random()) for _ in range(target_probs.shape[1])]
            return Verdict(*judge(draft.tokens, rows, target_probs, accept, np.array(clocks), bonus))

        return Own(rule).answered(case, generator)

    return ByGenerator(run, Dialect(name, version, seeds_in=True, warps=WARPS, kv_dtype="float32"))
