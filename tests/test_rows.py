"""Rows that are laws and rows that are none: what the loop takes, what it refuses, and how far the floats it takes can lead."""

import math
from bisect import bisect_right
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import refspec
from refspec.decoding import verify
from refspec.decoding.chance import pick_at
from refspec.decoding.draft import Draft
from refspec.decoding.lm import first_fault
from refspec.errors import BadProbabilities, BrokenDrafter, RefspecError
from refspec.models.sampling import Sampling
from refspec.proof.distance import distance
from refspec.proof.exact import law, total_variation
from refspec.proof.interval import GRID, IntervalChance, float_bound, pick_counts

EPS = 2.0**-52
SMOLLM2 = 49_152


# --- what is a law ---


def off_by(dtype: type, v: int, rounds: float) -> np.ndarray:
    """A row [v] whose sum is off by that many times its type's epsilon, all of it in one entry."""
    row = np.zeros(v, dtype)
    row[0] = row[-1] = 0.5
    row[-1] += rounds * np.finfo(dtype).eps
    return row


@given(st.integers(2, 200), st.sampled_from([1, -1]))
def test_a_float64_row_may_be_off_by_as_many_roundings_as_it_has_entries(v: int, sign: int) -> None:
    assert first_fault(off_by(np.float64, v, sign * v)[None]) is None
    assert first_fault(off_by(np.float64, v, sign * (v + 1))[None]) is not None


@given(st.sampled_from([2, 10, 300, 5_000, SMOLLM2]), st.sampled_from([1, -1]))
def test_a_float32_row_may_be_off_by_the_roundings_of_a_sum_in_blocks(v: int, sign: int) -> None:
    allowed = min(v, math.floor(16 + math.log2(v)))
    assert first_fault(off_by(np.float32, v, sign * allowed)[None]) is None
    assert first_fault(off_by(np.float32, v, sign * (allowed + 1))[None]) is not None


def test_a_float32_row_is_added_up_in_float64() -> None:
    """It is off by 24.75 roundings where 22.6 are allowed, of which a float32 sum would lose three beside the 1."""
    row = np.full(100, 2.0**-25, np.float32)
    row[0] = 1
    assert first_fault(row[None]) is not None


def test_half_precision_is_no_finer_than_it_can_be() -> None:
    third = np.full((1, 3), 1 / 3, np.float16)
    assert third.sum(dtype=np.float64) < 1
    assert first_fault(third) is None
    assert first_fault(off_by(np.float16, 3, 4)[None]) is not None


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any), st.integers(1, 9))
def test_fractions_sum_to_one_exactly(weights: list[int], over: int) -> None:
    total = sum(weights)
    row = np.array([Fraction(weight, total) for weight in weights])
    assert first_fault(row[None]) is None
    row[weights.index(max(weights))] += Fraction(1, 10**20 * over)
    assert first_fault(row[None]) is not None


@pytest.mark.parametrize("whole", [int, bool, np.int64, np.uint8])
def test_a_point_mass_of_whole_numbers_is_a_law(whole: type) -> None:
    assert first_fault(np.eye(3, dtype=whole)) is None
    assert first_fault(np.ones((1, 3), dtype=whole)) is not None


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60).filter(any), st.booleans())
@example([1.0, *[2.0**-53] * 50], True)  # each addition leaves the sum as it was
@example([1.0, *[3 * 2.0**-54] * 50], True)  # and here each adds twice as much as it should
def test_whatever_order_a_float64_row_was_summed_in_it_is_a_law(weights: list[float], in_order: bool) -> None:
    row = np.array(weights)
    row /= row.cumsum()[-1] if in_order else row[::-1].cumsum()[-1]
    assert first_fault(row[None]) is None


logits = st.integers(1, 40).flatmap(lambda v: st.lists(st.floats(-100, 100, width=32), min_size=v, max_size=v))
warps = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 1e-3, 0.7, 1.0, 100.0]),
    top_k=st.none() | st.integers(1, 50),
    top_p=st.none() | st.floats(0.01, 1),
    min_p=st.none() | st.floats(0, 1),
)


@given(logits, warps, st.sampled_from([np.float32, np.float64]))
def test_every_warp_makes_laws(row: list[float], warp: Sampling, dtype: type) -> None:
    assert first_fault(warp(np.array([row, row[::-1]], dtype))) is None


@pytest.mark.parametrize("scale", [0.1, 3, 30])
def test_every_warp_makes_laws_of_rows_as_long_as_real_ones(scale: float) -> None:
    found = (scale * np.random.default_rng(0).standard_normal((2, SMOLLM2))).astype(np.float32)
    for warp in (
        Sampling(),
        Sampling(0.6),
        Sampling(1.5, top_k=1000),
        Sampling(top_p=0.95),
        Sampling(min_p=0.01),
        Sampling(0.8, 5000, 0.9, 0.001),
    ):
        assert first_fault(warp(found)) is None
    in_float32 = np.exp(found - found.max(axis=-1, keepdims=True))
    assert first_fault(in_float32 / in_float32.sum(axis=-1, keepdims=True)) is None
    assert first_fault(in_float32 / in_float32.sum(axis=-1, keepdims=True) * np.float32(1 + 1e-5)) is not None


# --- what the loop says of one that is none ---


class Rows:
    """A language model that answers with these rows, the same after every text."""

    vocab_size = 3

    def __init__(self, *rows: Any) -> None:
        self.rows = np.array(rows)

    def probs(self, tokens: tuple[int, ...], last: int = 1) -> np.ndarray:
        return self.rows


class Shows:
    """A drafter that shows these rows for tokens 1."""

    def __init__(self, *rows: Any) -> None:
        self.rows = np.array(rows)

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        return Draft((1,) * gamma, self.rows)


GOOD = [0.25, 0.5, 0.25]
FRACTIONS = [Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)]
BAD: dict[str, tuple[list[Any], str]] = {
    "a little too much": (
        [0.25, 0.5, 0.25 + 1e-9],
        r"sums to 1.000000001\d*, which is off by 1.0e-09; .* up to 6.7e-16 in float64$",
    ),
    "too little": ([0.25, 0.5, 0.0], r"sums to 0.75, which is off by -2.5e-01; a distribution has entries >= 0 that sum to 1"),
    "negative": ([1.0, 0.5, -0.5], r"gives token 2 the probability -0.5; a distribution has"),
    "nan": ([0.5, np.nan, 0.5], r"gives token 1 the probability nan; a distribution has"),
    "infinite": ([0.5, np.inf, 0.5], r"sums to inf, which is off by inf; a distribution has"),
    "both infinities": ([np.inf, 0.5, -np.inf], r"gives token 2 the probability -inf; a distribution has"),
    "all zero": ([0.0, 0.0, 0.0], r"sums to 0.0, which is off by -1.0e\+00; a distribution has"),
    "fractions": ([Fraction(1, 4), Fraction(1, 2), Fraction(0)], r"sums to 3/4, which is off by -2.5e-01; .* that sum to 1$"),
}


def refused(target: refspec.LanguageModel, drafter: refspec.Drafter, error: type[RefspecError], message: str) -> None:
    with pytest.raises(error, match=message):
        refspec.speculative(target, drafter, (0, 0), gamma=2, max_new_tokens=4, chance=refspec.Seeded(0))


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_that_is_no_law_is_named_with_its_owner_and_its_position(name: str, place: int) -> None:
    bad, message = BAD[name]
    good = FRACTIONS if name == "fractions" else GOOD
    rows = [bad if i == place else good for i in range(3)]
    refused(Rows(*rows), Shows(good, good), BadProbabilities, rf"^the target's row for position {2 + place} {message}")
    if place < 2:
        refused(
            Rows(good, good, good), Shows(*rows[:2]), BrokenDrafter, rf"^the drafter's row for position {2 + place} {message}"
        )


@pytest.mark.parametrize("rows", [[GOOD], [GOOD] * 2, [GOOD] * 4, [[0.5, 0.5]] * 3, GOOD])
def test_a_target_with_too_many_or_too_few_rows_is_refused(rows: list[Any]) -> None:
    shape = str(np.array(rows).shape).replace("(", r"\(").replace(")", r"\)")
    refused(
        Rows(*rows),
        Shows(GOOD, GOOD),
        BadProbabilities,
        rf"^the target returned distributions of shape {shape}; \(3, 3\) is needed",
    )


@pytest.mark.parametrize("rows", [[GOOD], [GOOD] * 3, [[0.5, 0.5]] * 2, GOOD])
def test_a_drafter_with_too_many_or_too_few_rows_is_refused(rows: list[Any]) -> None:
    shape = str(np.array(rows).shape).replace("(", r"\(").replace(")", r"\)")
    refused(
        Rows(*[GOOD] * 3),
        Shows(*rows),
        BrokenDrafter,
        rf"^the drafter returned distributions of shape {shape}; \(2, 3\) is needed",
    )


def test_rows_are_looked_at_in_every_round() -> None:
    class Tires(Rows):
        def probs(self, tokens: tuple[int, ...], last: int = 1) -> np.ndarray:
            return np.array([GOOD if len(tokens) < 5 else [0.5, 0.5, 0.5]])

    options: dict[str, Any] = {"gamma": 0, "max_new_tokens": 9, "chance": refspec.Seeded(0)}
    with pytest.raises(BadProbabilities, match=r"^the target's row for position 5 sums to 1.5"):
        refspec.speculative(Tires(), refspec.NgramDrafter(), (), **options)


@pytest.mark.parametrize(
    "row", [[0.5, 0.5 + 1e-9], [0.5, 0.25], [1.5, -0.5], [float("nan"), 1.0], [Fraction(1, 2), Fraction(1, 3)], []]
)
def test_a_table_names_the_context_of_a_row_that_is_no_law(row: list[Any]) -> None:
    with pytest.raises(BadProbabilities, match=r"^the row of context \(1,\) (sums to|gives token \d the probability) "):
        refspec.TableLM({(): [1, 0], (1,): row})
    with pytest.raises(BadProbabilities, match=r"^the row (sums to|gives token \d the probability) "):
        distance(verify.token, row, [Fraction(1, 2)] * 2)


# --- how far rows of floats can lead ---


def twin(row: np.ndarray) -> list[Fraction]:
    """The rational row that a float row stands for."""
    exact = [Fraction(float(each)) for each in row]
    total = sum(exact)
    return [each / total for each in exact]


@st.composite
def float_rows(draw: st.DrawFn, v: int) -> np.ndarray:
    """A law as far off as a float64 row may be, or anything nearer."""
    row = np.array(draw(st.lists(st.integers(0, 7), min_size=v, max_size=v).filter(any)), float)
    row /= row.sum()
    row[row.argmax()] += draw(st.integers(-v, v)) * EPS
    while first_fault(row[None]) is not None:
        row[row.argmax()] -= np.sign(row.sum() - 1) * EPS
    return row


@pytest.mark.parametrize("rule", ["token", "sample-match"])
@settings(max_examples=15)
@given(st.data())
def test_no_rows_that_are_taken_lead_beyond_the_bound(rule: str, data: st.DataObject) -> None:
    v, gamma, horizon = data.draw(st.sampled_from([(1, 2, 3), (2, 1, 2), (2, 2, 3), (3, 1, 2)]))
    rows = [data.draw(float_rows(v)) for _ in range(2)]
    laws = []
    for exact in (True, False):
        target, draft = (refspec.TableLM({(): twin(row) if exact else row}) for row in rows)

        def program(chance: refspec.Chance, target: Any = target, draft: Any = draft) -> tuple[int, ...]:
            options: dict[str, Any] = {"gamma": gamma, "max_new_tokens": horizon, "verify": verify.RULES[rule]}
            return refspec.speculative(target, refspec.ModelDrafter(draft), (), chance=chance, **options).tokens

        laws.append(law(program, chance=None if exact else IntervalChance))
    assert total_variation(*laws) <= float_bound(v, draws=horizon * (2 * gamma + 1))


def pick_distance(row: np.ndarray, counts: list[int] | tuple[int, ...]) -> Fraction:
    return total_variation({i: Fraction(count, GRID) for i, count in enumerate(counts)}, dict(enumerate(twin(row))))


@pytest.mark.parametrize("v", [2, 16, 128])
def test_a_pick_is_off_by_a_share_of_the_bound_that_does_not_depend_on_v(v: int) -> None:
    """So the bound grows with v as it must, and no faster."""
    for seed in range(3):
        row = Sampling()(3 * np.random.default_rng(seed).standard_normal((1, v)))[0]
        assert float_bound(v, 1) / 500 < pick_distance(row, pick_counts(row.tobytes())) < float_bound(v, 1) / 10


@pytest.mark.parametrize("dtype", [np.float32, np.int64, object])
def test_an_interval_pick_is_over_the_float64_of_its_weights(dtype: Any) -> None:
    weights = np.array([1, 0, 2], dtype)
    found = law(lambda chance: chance.pick(weights), chance=IntervalChance)
    counts = pick_counts(weights.astype(np.float64).tobytes())
    assert found == {0: Fraction(counts[0], GRID), 2: Fraction(counts[2], GRID)}


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_bound_adds_up_over_draws(v: int, few: int, more: int) -> None:
    assert float_bound(v, few) + float_bound(v, more) == float_bound(v, few + more)
    assert float_bound(v, 1) == 5 * v * Fraction(1, 2**53)


@pytest.mark.nightly
def test_how_far_a_pick_from_a_vocabulary_as_large_as_smollm2s_is_off() -> None:
    """8e-13, counted through `pick_at`: each end is looked for where the cumulative sum has it, and must be found there."""
    row = Sampling()(3 * np.random.default_rng(0).standard_normal((1, SMOLLM2)))[0]
    cumulative, ends, near = np.cumsum(row), [0], 16
    for i, sum_so_far in enumerate(cumulative):
        around = int(Fraction(float(sum_so_far)) / Fraction(float(cumulative[-1])) * GRID)
        least, most = max(0, around - near), min(GRID, around + near)
        ends.append(bisect_right(range(GRID), i, lo=least, hi=most, key=lambda k: pick_at(k / GRID, row)))
        assert ends[-1] == GRID or least < ends[-1] < most
    found = pick_distance(row, np.diff(ends).tolist())
    assert 7e-13 < found < 9e-13
    assert found < float_bound(SMOLLM2, 1)
