"""From logits to a law, in floats: where order, ties and rounding decide (N7, N8). On rationals: `properties/warps.py`."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refspec.errors import BadArgument
from refspec.models.sampling import Sampling, min_p, normalised, top_k, top_p, with_temperature

rows = st.integers(1, 30).flatmap(lambda v: st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, -3.0, 9.0]), min_size=v, max_size=v))


def survivors(row: np.ndarray) -> list[int]:
    return np.flatnonzero(row).tolist()


@given(rows)
@example([0.0, 0.0, -80.0])  # the two before it sum to one already
@example([0.0] * 10)  # ten times a tenth rounds to less than one, and to more on the way
def test_top_p_of_1_is_no_filter_to_the_bit(logits: list[float]) -> None:
    given_row = np.array([logits])
    assert Sampling(top_p=1.0)(given_row).tolist() == Sampling()(given_row).tolist()
    row = Sampling()(given_row)[0]
    assert top_p(row, 1) is row
    assert top_p(row, 1.0) is row


@given(rows)
def test_as_many_as_there_are_is_no_filter_to_the_bit(logits: list[float]) -> None:
    row = Sampling()(np.array([logits]))[0]
    for k in (len(row), len(row) + 1):
        assert top_k(row, k) is row
    assert min_p(row, 0).tolist() == normalised(row, np.ones(len(row), bool)).tolist()


@given(
    st.lists(rows, min_size=1, max_size=4),
    st.sampled_from([1.0, 0.7, 3.0, 1e-3, 1e-300]),
    st.sampled_from([np.float32, np.float64]),
)
def test_rows_are_what_the_formula_says_and_each_what_it_is_alone(
    logits: list[list[float]], temperature: float, kind: type
) -> None:
    """To the bit: the rows are computed one by one and in place."""
    v = min(map(len, logits))
    given_rows = np.array([row[:v] for row in logits], kind)
    found = with_temperature(given_rows, temperature)
    for row, probs in zip(given_rows, found, strict=True):
        with np.errstate(over="ignore"):
            weights = np.exp((row.astype(np.float64) - row.max()) / temperature)
        assert probs.tolist() == (weights / weights.sum()).tolist() == with_temperature(row, temperature).tolist()
    assert given_rows.tolist() == np.array([row[:v] for row in logits], kind).tolist()  # which it leaves alone


def test_equal_probabilities_rank_lowest_id_first_however_many_there_are() -> None:
    """2,000 are more than a sort in no stable order keeps in place."""
    even = np.full(2000, 1 / 2000)
    assert survivors(top_p(even, 0.25 - 1e-4)) == list(range(500))
    two = np.array([1 / 3000, 2 / 3000] * 1000)  # the likelier half are the odd ids, and 2/3 of the mass
    assert survivors(top_p(two, 0.5 - 1e-4)) == list(range(1, 1500, 2))


def test_top_p_keeps_what_has_less_than_p_above_it() -> None:
    row = np.array([0.125, 0.5, 0.25, 0.125])
    kept = [survivors(top_p(row, p)) for p in (0.25, 0.5, 0.5 + 1e-9, 0.75, 0.8, 0.875, 0.9)]
    assert kept == [[1], [1], [1, 2], [1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3]]
    assert survivors(top_p(np.array([0.7, 0.2, 0.06, 0.04]), 0.999)) == [0, 1, 2, 3]


def test_what_ties_with_the_kth_stays() -> None:
    assert survivors(top_k(np.array([0.125, 0.25, 0.25, 0.125, 0.25]), 2)) == [1, 2, 4]
    assert survivors(top_k(np.array([0.125, 0.5, 0.25, 0.125]), 1)) == [1]


def test_the_filters_apply_in_order_and_each_to_what_the_one_before_left() -> None:
    """Each later filter would keep more, or fewer, if it came before; so would one that did not see the renormalised row."""
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1]]))
    assert survivors(Sampling(top_k=2, top_p=0.55)(logits)[0]) == [0]  # 4/7 is above 0.55; 0.4 is not
    assert survivors(Sampling(top_p=0.55)(logits)[0]) == [0, 1]
    assert survivors(Sampling(top_p=0.75, min_p=0.45)(logits)[0]) == [0, 1, 2]
    for warp in (Sampling(top_k=2, top_p=0.99), Sampling(top_p=0.6, min_p=0.1), Sampling(top_k=2, min_p=0.6)):
        assert warp(logits)[0] == pytest.approx([4 / 7, 3 / 7, 0, 0], rel=1e-12)  # a few roundings
    assert survivors(Sampling(temperature=0.5, top_p=0.5)(logits)[0]) == [0]  # 16/30 of it is above 0.5
    assert survivors(Sampling(temperature=1, top_p=0.5)(logits)[0]) == [0, 1]


def test_rows_are_warped_each_by_itself() -> None:
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7], [0.25] * 4]))
    for warp in (Sampling(0.7), Sampling(top_k=2), Sampling(top_p=0.65), Sampling(min_p=0.5), Sampling(0)):
        assert warp(logits).tolist() == [warp(logits[i : i + 1])[0].tolist() for i in range(3)]


@given(rows, st.sampled_from([0.25, 0.5, 1.0, 2.0]))
def test_temperature_divides_the_logits(logits: list[float], temperature: float) -> None:
    row = np.array([logits])
    weights = np.exp(np.array(logits) / temperature)
    assert with_temperature(row, temperature)[0] == pytest.approx(weights / weights.sum(), rel=1e-12)  # some exps and sums
    before = row.copy()
    Sampling(temperature, top_k=2, top_p=0.5, min_p=0.1)(row)
    assert (row == before).all()  # never change what you were given


def test_float32_logits_are_warped_in_float64() -> None:
    logits = np.array([[0.1, 0.2, 0.3]], np.float32)
    found = Sampling(0.7)(logits)
    assert found.dtype == np.float64
    assert found.tolist() == Sampling(0.7)(logits.astype(np.float64)).tolist()
    assert Sampling(0)(logits).dtype == np.float64


def test_a_colder_law_is_sharper() -> None:
    logits = np.array([[1.0, 2.0, 0.5]])
    most = [Sampling(temperature)(logits)[0].max() for temperature in (100, 2, 1, 0.5, 0.01, 1e-300, 0)]
    assert all(warm <= cold for warm, cold in pairwise(most))
    assert most[-2:] == [1, 1]


@pytest.mark.parametrize(
    ("option", "allowed", "refused"),
    [
        ("temperature", [0, 1e-300, 1.7976931348623157e308], [-1e-300, float("inf"), float("nan")]),
        ("top_k", [1, 10**6], [0, -1]),
        ("top_p", [1e-300, 1], [0, -0.1, 1.0000001, float("nan")]),
        ("min_p", [0, 1], [-1e-300, 1.0000001, float("nan")]),
    ],
)
def test_options_at_the_ends_of_their_range(option: str, allowed: list[float], refused: list[float]) -> None:
    for value in allowed:
        found = Sampling(**{option: value})(np.array([[0.0, 1.0]]))
        assert found.sum() == pytest.approx(1)
    for value in refused:
        with pytest.raises(BadArgument, match=f"^{option} is {value}"):
            Sampling(**{option: value})
