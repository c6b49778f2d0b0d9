"""How a verification rule in NumPy becomes an engine, as `parts.py` has it for PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.conformance.adapter import ByGenerator, Dialect
from refspec.conformance.own import WARPS, Own
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import Verdict

# (tokens, draft rows [n, v], target rows [n + 1, v], generator) -> how many are accepted, and the token after them
NumpyRule = Callable[[Tokens, Array, Array, Any], tuple[int, int]]


def by_numpy_rule(rule: NumpyRule, name: str, version: str, **more: Any) -> ByGenerator:
    """An engine's rule in refspec's loop, behind a draft model. It draws from the generator that it is given."""

    def judge(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        rows = [draft.row(i, like=target_probs[i]) for i in range(len(draft.tokens))]
        drawn: Any = chance  # an own.Drawing
        accepted, token = rule(draft.tokens, np.array(rows), target_probs, drawn.generator)
        return Verdict(int(accepted), int(token))

    own = Own(judge)
    ways: dict[str, Any] = {"draws_intercepted": True, "round_by_round": True, "seeds_in": True, "warps": WARPS, "padded": True}
    return ByGenerator(own.answered, Dialect(name, version, **(ways | {"top_k_ties": True} | more)))
