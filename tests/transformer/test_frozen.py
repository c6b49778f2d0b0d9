"""Every family against what transformers computed once (see `frozen.py`): the mathematics of the network, without torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frozen import CASES, TOKENS, frozen_logits, in_turn, write_frozen_folder

import refspec

# Two orders of additions in float64: some hundred roundings of 1e-16 of numbers below 10, in two layers.
FLOAT64 = 1e-12
# The same in float32, 5e8 times as coarse, would be 5e-4; what is found is 3e-6.
FLOAT32 = 2e-5

FROZEN = frozen_logits()


def decoded(model: refspec.Model, *prefill: int) -> np.ndarray:
    """[140, v], by every kind of pass: a prefill of 130, four tokens one by one, and after a rollback six at once."""
    cache = model.network.new_cache()

    def forward(*tokens: int) -> np.ndarray:
        return model.network.forward(np.array(tokens), cache, last=len(tokens))

    found = [forward(*TOKENS[cache.length : cache.length + n]) for n in (*prefill, 1, 1, 1, 1)]
    forward(*TOKENS[:5])  # rejected
    cache.rollback(134)
    return np.concatenate([*found, forward(*TOKENS[134:])])


def test_every_case_is_frozen() -> None:
    assert FROZEN.keys() == CASES.keys()
    for logits in FROZEN.values():
        assert logits.shape == (len(TOKENS),)
        assert 1 < np.abs(logits).max() < 100  # so that the tolerances mean what they say


@pytest.mark.parametrize("row_invariant", [False, True], ids=["", "row-invariant"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, FLOAT64), (np.float32, FLOAT32)], ids=["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(case: str, dtype: Any, tolerance: float, row_invariant: bool, tmp_path: Path) -> None:
    model = refspec.load(write_frozen_folder(tmp_path, case), dtype=dtype, row_invariant=row_invariant)
    for prefill in ((130,), (20, 110)):  # three blocks of queries, or two that have a past
        logits = decoded(model, *prefill)
        assert logits.dtype == dtype
        assert np.abs(in_turn(logits) - FROZEN[case]).max() <= tolerance
