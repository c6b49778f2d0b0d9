"""How a verification rule in MLX becomes an engine, as `parts.py` has it for PyTorch."""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from refspec.arrays import Array
from refspec.conformance.adapter import ByGenerator, Case, Dialect, Run
from refspec.conformance.mlx_draws import drawing_from
from refspec.conformance.own import WARPS, Own
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import Verdict

# (tokens, draft rows [n, v], target rows [n + 1, v]) -> how many are accepted, and the token after them
MlxRule = Callable[[Tokens, mx.array, mx.array], tuple[int, int]]


def by_mlx_rule(rule: MlxRule, name: str, version: str) -> ByGenerator:
    """An engine's rule in refspec's loop, behind a draft model. It sees rows alone, in float32, and draws from MLX."""

    def judge(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        if not draft.tokens:
            return Verdict(0, chance.pick(target_probs[0]))
        rows = [draft.row(i, like=target_probs[i]) for i in range(len(draft.tokens))]
        p, q = (mx.array(np.array(each), mx.float32) for each in (target_probs, rows))
        accepted, token = rule(draft.tokens, q, p)
        return Verdict(int(accepted), int(token))

    own = Own(judge)

    def run(case: Case, generator: Any) -> Run:
        with drawing_from(generator):
            return own.answered(case, generator)

    ways: dict[str, Any] = {"draws_intercepted": True, "round_by_round": True, "seeds_in": True, "kv_dtype": "float32"}
    return ByGenerator(run, Dialect(name, version, warps=WARPS, padded=True, top_k_ties=True, **ways))
