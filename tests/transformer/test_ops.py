"""What logits of ordinary size do not show: operations where numbers are large, and where rows hide from each other."""

import tracemalloc
from pathlib import Path
from typing import Any

import frozen
import numpy as np
import pytest
from folders import write_folder
from hypothesis import given, settings
from hypothesis import strategies as st

import refspec
from refspec.errors import BadProbabilities
from refspec.transformer import ops
from refspec.transformer.ops import attention, attention_by_row, exact_gelu, gelu, layer_norm, rms_norm, silu

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def rows(*shape: int, dtype: type) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@FLOATS
@pytest.mark.parametrize("attend", [attention, attention_by_row])
@pytest.mark.parametrize("n", [1, 5, 130])
def test_attention_of_large_scores_is_that_of_the_largest(attend: Any, n: int, dtype: type) -> None:
    """Scores of 1e5 either way, whose exponentials no float holds: all weight is on one key, and nothing overflows."""
    values = rows(2, n, 4, dtype=dtype)
    for sign in (1, -1):
        keys = np.broadcast_to(np.linspace(100, 1000, n, dtype=dtype)[:, None], (2, n, 4))
        queries = np.full((4, n, 4), sign * 25, dtype)
        found = attend(queries, keys, values, None, 1.0)
        largest = np.arange(n) if sign > 0 else np.zeros(n, int)  # of the keys that a row may see
        assert np.array_equal(found, values[:, largest].repeat(2, axis=0))


@pytest.mark.parametrize("attend", [attention, attention_by_row])
@given(n=st.integers(1, 200), past=st.integers(0, 70), heads=st.sampled_from([(1, 1), (4, 2), (3, 1)]), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_no_mask_is_the_mask_of_plain_text(attend: Any, n: int, past: int, heads: tuple[int, int], seed: int) -> None:
    """Blocks of rows, each with its own corner of the mask, against one mask for all: from positions, or of the new alone."""
    random = np.random.default_rng(seed)
    queries = random.standard_normal((heads[0], n, 3))
    keys, values = (random.standard_normal((heads[1], past + n, 3)) for _ in range(2))
    found = attend(queries, keys, values, None, 0.7)
    positions = np.arange(past, past + n)
    for mask in (positions[:, None] >= np.arange(past + n), np.tri(n, dtype=bool)):
        # averages of numbers near 1; 300 float64 terms in another order
        assert np.abs(found - attend(queries, keys, values, mask, 0.7)).max() <= 1e-13


@given(n=st.integers(1, 90), past=st.integers(0, 70), small=st.integers(1, 2000), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_a_stretch_of_keys_after_another_is_all_keys_at_once(n: int, past: int, small: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    queries, keys, values = random.standard_normal((4, n, 3)), *random.standard_normal((2, 2, past + n, 3))
    with pytest.MonkeyPatch.context() as patch:
        whole = attention(queries, keys, values, None, 1.0)
        patch.setattr(ops, "SMALL", small)
        found = attention(queries, keys, values, None, 1.0)
    # averages of numbers near 1; 160 float64 terms in another order
    assert np.abs(found - whole).max() <= 1e-13


@given(n=st.integers(65, 150), past=st.integers(0, 9), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_a_tree_larger_than_a_block(n: int, past: int, seed: int) -> None:
    """Any mask in which each token sees itself and some before, by the rows alone, whose keys are picked one by one."""
    random = np.random.default_rng(seed)
    queries, keys, values = random.standard_normal((2, n, 3)), *random.standard_normal((2, 1, past + n, 3))
    mask = (np.tri(n) * random.integers(0, 2, (n, n)) + np.eye(n)) > 0
    found, alone = (attend(queries, keys, values, mask, 1.0) for attend in (attention, attention_by_row))
    assert np.abs(found - alone).max() <= 1e-13


@pytest.mark.parametrize("family", [frozen.GPT2 | {"n_positions": 8192}, frozen.LLAMA | {"max_position_embeddings": 8192}])
def test_the_memory_of_a_prefill_grows_with_its_length_and_not_with_the_square(family: dict[str, Any], tmp_path: Path) -> None:
    network = refspec.load(write_folder(tmp_path, family, tokenizer=False)).network

    def peak(n: int) -> int:
        tokens, cache = np.zeros(n, int), network.new_cache()
        tracemalloc.start()
        network.forward(tokens, cache)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(4096) < 2.2 * peak(2048)  # a mask of 16 MB and one of 4 MB would make it 3 times


@FLOATS
def test_a_score_shared_by_all_keys_changes_nothing(dtype: type) -> None:
    """A softmax knows differences only: with the same large number in every score the average stays one of all values."""
    values = rows(1, 7, 2, dtype=dtype)
    found = attention(np.full((1, 1, 2), 1e4, dtype), np.full((1, 7, 2), -1e4, dtype), values, None, 1.0)
    # seven terms of size 1: a rounding each
    assert np.abs(found[0, 0] - values[0].mean(axis=0)).max() <= 8 * np.finfo(dtype).eps


@FLOATS
@pytest.mark.parametrize("activation", [silu, gelu, exact_gelu])
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


@pytest.mark.parametrize("norm", [rms_norm, lambda x, weight, eps: layer_norm(x, weight, 0 * weight, eps)], ids=["rms", "layer"])
def test_a_norm_whose_squares_overflow_says_so(norm: Any) -> None:
    """And nothing else does: divided by infinity the row would be all zeros, and every token equally likely."""
    x = np.array([[1, 2, 4], [1e19, -1e19, 5e18], [1e20, -2e20, 1e20]], np.float32)  # the squares of the last are infinite
    with np.errstate(over="ignore", invalid="ignore"):
        found = norm(x, np.ones(3, np.float32), 1e-6)
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2]).all()


HUGE = [
    {"model_type": "granite", "embedding_multiplier": 1e30},  # in the first norm
    {"model_type": "granite", "residual_multiplier": 1e30},  # in a later one
]


@pytest.mark.parametrize("huge", HUGE, ids=str)
def test_logits_that_overflow_say_whose_they_are(huge: dict[str, Any], tmp_path: Path) -> None:
    """In one line: a warning of NumPy's would be an error here."""
    tiny = {key: value for key, value in frozen.LLAMA.items() if key != "rope_parameters"}
    target, draft = (write_folder(tmp_path / name, tiny | more, tokenizer=False) for name, more in (("good", {}), ("bad", huge)))
    for call in (
        lambda: refspec.load(draft).logits([1, 2, 3]),
        lambda: refspec.generate(draft, [1, 2, 3], max_new_tokens=2),
        lambda: refspec.generate(target, [1, 2, 3], drafter=refspec.load(draft), max_new_tokens=4),
        lambda: refspec.generate(draft, [1, 2, 3], drafter=refspec.load(target), max_new_tokens=4),
    ):
        with pytest.raises(BadProbabilities, match=r"the logits of 'bad' \(granite, 2 layers x 24, .*\) hold NaN or infinity"):
            call()
