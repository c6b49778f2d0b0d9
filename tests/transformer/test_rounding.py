"""The types of 16 bits: a result is the nearest number that the type has, and the lines of plain.py keep the type."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refspec.arrays import Array
from refspec.transformer import plain
from refspec.transformer.rounding import TYPES, Bfloat16, Rounded, rounded

FLOATS = st.floats(2.0**-14, 2.0**15, width=32) | st.floats(-(2.0**15), -(2.0**-14), width=32)  # float16 is whole between these


@given(arrays(np.float32, 8, elements=FLOATS))
def test_float16_is_numpys(x: np.ndarray) -> None:
    assert np.array_equal(rounded(x, 11), x.astype(np.float16).astype(np.float32))


@given(FLOATS)
def test_bfloat16_is_a_float32_without_its_lower_half(x: float) -> None:
    """The nearest of the two between which x lies, and of two as near the one whose last digit is 0."""
    bits = np.float32(x).view(np.uint32)
    below, above = (((bits >> 16) + up << 16).astype(np.uint32).view(np.float32) for up in (np.uint32(0), np.uint32(1)))
    far, near = (abs(Fraction(float(x)) - Fraction(float(each))) for each in (below, above))
    nearest = above if near < far or (near == far and bits >> 16 & 1) else below
    assert rounded(np.float32([x]), 8)[0] == nearest


def test_what_has_no_nearest_stays() -> None:
    assert np.array_equal(rounded(np.float32([np.nan, np.inf, -np.inf, 0]), 8), [np.nan, np.inf, -np.inf, 0], equal_nan=True)


LINES: dict[str, Callable[[Array, Callable[[Array], Array]], Array]] = {
    "layer_norm": lambda x, of: plain.layer_norm(x, of(np.ones(6)), of(np.zeros(6)), 1e-5),
    "rms_norm": lambda x, of: plain.rms_norm(x, of(np.ones(6)), 1e-5),
    "gelu": lambda x, of: plain.gelu(x),
    "exact_gelu": lambda x, of: plain.exact_gelu(x),
    "silu": lambda x, of: plain.silu(x),
    "rotate": lambda x, of: plain.rotate(x, *(of(turn(np.arange(30).reshape(5, 6))) for turn in (np.cos, np.sin))),
    "product": lambda x, of: x @ x.T,
    "attention": lambda x, of: plain.attention(*[x.reshape(1, 5, 6)] * 3, 0.3),
    "mean": lambda x, of: x.mean(axis=-1),
    "var": lambda x, of: x.var(axis=-1),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_result_is_of_the_type_and_near_the_exact_one(line: Callable[[Array, Callable[[Array], Array]], Array]) -> None:
    x = Bfloat16.of(np.random.default_rng(0).standard_normal((5, 6)))
    found, exact = line(x, Bfloat16.of), line(np.asarray(x, np.float64), lambda each: each)
    assert isinstance(found, Rounded)
    assert np.array_equal(rounded(np.asarray(found), 8), np.asarray(found))
    # a dozen roundings of 2^-8 at most, of numbers up to 10; and not one of float32's 2^-24
    assert 1e-5 < np.abs(np.asarray(found) - exact).max() < 0.2


def test_the_units_are_what_one_rounding_moves() -> None:
    x = np.linspace(1, 2, 10_001)
    for kind in TYPES.values():
        moved = np.abs(np.asarray(kind.of(x), np.float64) - x).max()
        assert kind.unit / 2 < moved <= kind.unit or kind.name == "float64"
