"""MTPLX: `verify_one_token`, its test of one drafted token in NumPy, at the replay level and sampled.

Needs `pip install --no-deps mtplx`: the functions are taken from their file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.conformance.adapter import Dialect, Verdict
from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.numpy_rule import by_numpy_rule
from refspec.conformance.taped import TapedGenerator
from refspec.decoding.lm import Tokens

_NAMES = ("_probability", "_as_dense", "acceptance_probability", "residual_distribution", "sample_from_distribution")
_mtplx = borrowed(
    "mtplx",
    "mtplx/sampling.py",
    *(*_NAMES, "SpeculativeDecision", "verify_one_token"),
    np=np,
    dataclass=dataclass,
    Distribution=Any,
    SparseDistribution=type("SparseDistribution", (), {}),  # which is never given
)


def _rule(tokens: Tokens, draft_rows: Array, target_rows: Array, generator: Any) -> tuple[int, int]:
    for i, token in enumerate(tokens):
        decision = _mtplx.verify_one_token(target_rows[i], draft_rows[i], token, generator)
        if not decision.accepted:
            return i, decision.token_id
    return len(tokens), _mtplx.sample_from_distribution(target_rows[len(tokens)], generator)


class Rounds:
    """One round at the replay level."""

    dialect = Dialect("MTPLX, verify_one_token", version("mtplx"), uniforms_in="rounds")

    def verify(self, tokens: Tokens, draft_probs: Array, target_probs: Array, accept: Sequence[float], pick: float) -> Verdict:
        taped = TapedGenerator([*accept, pick])
        return Verdict(*_rule(tokens, draft_probs, target_probs, taped))


rounds = Rounds()
rule = by_numpy_rule(_rule, "MTPLX, verify_one_token", version("mtplx"), draws_intercepted=False, round_by_round=False)
