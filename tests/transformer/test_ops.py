"""What logits of ordinary size do not show: operations where numbers are large, and where rows hide from each other."""

from typing import Any

import numpy as np
import pytest

from refspec.transformer.ops import attention, attention_by_row, causal, gelu, layer_norm, rms_norm, silu

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def rows(*shape: int, dtype: type) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@FLOATS
@pytest.mark.parametrize("attend", [attention, attention_by_row])
@pytest.mark.parametrize("n", [1, 5, 130])
def test_attention_of_large_scores_is_that_of_the_largest(attend: Any, n: int, dtype: type) -> None:
    """Scores of 1e5 either way, whose exponentials no float holds: all weight is on one key, and nothing overflows."""
    values, mask = rows(2, n, 4, dtype=dtype), causal(n)
    for sign in (1, -1):
        keys = np.broadcast_to(np.linspace(100, 1000, n, dtype=dtype)[:, None], (2, n, 4))
        queries = np.full((4, n, 4), sign * 25, dtype)
        found = attend(queries, keys, values, mask, 1.0)
        largest = np.arange(n) if sign > 0 else np.zeros(n, int)  # of the keys that a row may see
        assert np.array_equal(found, values[:, largest].repeat(2, axis=0))


@FLOATS
def test_a_score_shared_by_all_keys_changes_nothing(dtype: type) -> None:
    """A softmax knows differences only: with the same large number in every score the average stays one of all values."""
    values = rows(1, 7, 2, dtype=dtype)
    found = attention(np.full((1, 1, 2), 1e4, dtype), np.full((1, 7, 2), -1e4, dtype), values, None, 1.0)
    # seven terms of size 1: a rounding each
    assert np.abs(found[0, 0] - values[0].mean(axis=0)).max() <= 8 * np.finfo(dtype).eps


@FLOATS
@pytest.mark.parametrize("activation", [silu, gelu])
def test_activations_of_large_numbers(activation: Any, dtype: type) -> None:
    """x on the right and 0 on the left, without an overflow on the way."""
    x = np.array([[-1e4, -300, 0, 300, 1e4]], dtype)
    assert np.array_equal(activation(x), [[0, 0, 0, 300, 1e4]])


@FLOATS
def test_a_layer_norm_does_not_see_where_its_numbers_lie(dtype: type) -> None:
    """Far from 0 the mean of squares less the square of the mean would be all rounding."""
    x = np.round(rows(3, 16, dtype=dtype) * 64) / 64  # so that adding the offset rounds nothing
    offset = dtype(2**12)
    near, far = (layer_norm(each, np.ones(16, dtype), np.zeros(16, dtype), 1e-5) for each in (x, x + offset))
    # the mean of 16 numbers is off by a rounding at their size, and the rest follows it
    assert np.abs(near - far).max() <= 16 * offset * np.finfo(dtype).eps


@FLOATS
def test_norms_of_nothing_are_nothing(dtype: type) -> None:
    """eps keeps a row of zeros from dividing 0 by 0."""
    zeros, ones = np.zeros((2, 8), dtype), np.ones(8, dtype)
    assert np.array_equal(rms_norm(zeros, ones, 1e-6), zeros)
    assert np.array_equal(layer_norm(zeros, ones, ones, 1e-5), zeros + 1)
