"""What `refspec bench` computes from what it timed: with a clock of our own, so that every figure is known."""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder
from hypothesis import given
from hypothesis import strategies as st

import refspec
from refspec.bench import clock, costs, machine, passes
from refspec.bench.clock import Spread, alternate, geometric_mean, ratios
from refspec.bench.costs import Costs, Curve, DraftCost, Point
from refspec.bench.race import Decoded, median, ours
from refspec.bench.results import by_category, rate, results, speed
from refspec.decoding.draft.profile import Profile
from refspec.decoding.round import Round

seconds = st.floats(1e-3, 1e3)


READS: Any = {"weight_bytes": 8, "draft_bytes": 0}


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 1024.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Clock:
    told = Clock()
    for module in (clock, costs, passes, machine):
        monkeypatch.setattr(module, "time", told)
    return told


def flat(value: float) -> Spread:
    return Spread(value, value, value)


# --- the timing rule ---


@given(st.lists(seconds, min_size=1, max_size=9))
def test_a_spread_is_the_middle_with_both_ends(values: list[float]) -> None:
    ranked, n = sorted(values), len(values)
    found = Spread.of(values)
    assert (found.least, found.most) == (ranked[0], ranked[-1])
    assert found.median == (ranked[n // 2] if n % 2 else (ranked[n // 2 - 1] + ranked[n // 2]) / 2)


@pytest.mark.parametrize(
    ("each_takes", "times", "turns"),
    [
        (2.0, 3, 3),  # slow ones: as often as asked
        (0.125, 3, 4),  # two take a quarter of a second: four turns fill a second
        (2.0**-10, 3, 30),  # quick ones: ten times as often, no more
    ],
)
def test_runs_take_turns_after_one_that_is_not_counted(ticking: Clock, each_takes: float, times: int, turns: int) -> None:
    order: list[str] = []

    def run(name: str) -> Callable[[], float]:
        def once() -> float:
            ticking.now += each_takes
            order.append(name)
            return float(len(order))

        return once

    taken = alternate({name: run(name) for name in "ab"}, times, "label")
    assert order == ["a", "b"] * (turns + 1)
    assert taken["a"] == [2.0 * turn + 1 for turn in range(1, turns + 1)]
    assert taken["b"] == [2.0 * turn + 2 for turn in range(1, turns + 1)]


def test_ratios_are_of_the_same_turn() -> None:
    assert ratios([1.0, 6.0, 3.0], [2.0, 3.0, 4.0]) == [0.5, 2.0, 0.75]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


@given(st.lists(seconds, min_size=1, max_size=6), st.lists(st.just(None), max_size=2))
def test_a_geometric_mean_is_the_root_of_the_product(values: list[float], absent: list[None]) -> None:
    """Logarithms of at most 7, and their exponential: some 1e-15 each."""
    assert geometric_mean([*absent, *values]) == pytest.approx(math.prod(values) ** (1 / len(values)), rel=1e-12)


# --- the machine ---


@given(st.lists(seconds, min_size=1, max_size=5), st.integers(1, 10**9))
def test_a_roofline_is_the_time_to_read_the_weights(taken: list[float], weights: int) -> None:
    found = machine.roofline(taken, weights)
    size = 4 * 98_304 * 1_024
    assert found.matrix_bytes == size
    assert found.gb_per_second.most == size / min(taken) / 1e9
    assert found.gb_per_second.least == size / max(taken) / 1e9
    assert found.least_ms == pytest.approx(1e3 * weights / (found.gb_per_second.median * 1e9))  # float64, a few operations
    assert found.weights_may_stay_in_cache is (weights < 64_000_000)


def test_reading_reads_the_matrix_once_and_returns_its_seconds(ticking: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MATRIX", (8, 4))
    read: list[tuple[Any, ...]] = []
    single = np.dtype(np.float32)

    def matmul(matrix: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
        read.append((matrix.shape, vector.shape, out.shape, {each.dtype for each in (matrix, vector, out)}))
        ticking.now += 3.0

    run = machine.reading()
    monkeypatch.setattr(np, "matmul", matmul)
    assert [run(), run()] == [3.0, 3.0]
    assert read == [((8, 4), (4,), (8,), {single})] * 2  # another type is another product


@pytest.mark.parametrize("tied", [True, False])
def test_the_weights_that_a_token_reads(tied: bool, tmp_path: Path) -> None:
    """All, float64 frequencies too, but of an embedding that is no head a row. In multiples of 32: nothing is padded."""
    sizes = {"vocab_size": 288, "intermediate_size": 64, "num_key_value_heads": 4, "tie_word_embeddings": tied}
    model = refspec.load(write_folder(tmp_path / "llama", LLAMA | sizes, tokenizer=False))
    c = model.config
    attention = c.width * c.head_width * (2 * c.heads + 2 * c.kv_heads)
    layer = attention + 3 * c.width * c.inner + 2 * c.width
    assert machine.weight_bytes(model.network) == 4 * (c.layers * layer + c.width + c.vocab_size * c.width) + 8 * c.head_width


def test_of_the_table_of_positions_a_token_reads_a_row(tmp_path: Path) -> None:
    one, other = (
        refspec.load(write_folder(tmp_path / str(context), {**GPT2, "n_positions": context}, tokenizer=False)).network
        for context in (128, 256)
    )
    assert machine.weight_bytes(one) == machine.weight_bytes(other)


@pytest.mark.parametrize(("system", "unit"), [("darwin", 1), ("linux", 1024)])
def test_the_peak_is_told_in_the_units_of_the_system(system: str, unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no resource")
    monkeypatch.setattr(machine.sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=7))
    assert machine.peak_bytes() == 7 * unit


def test_peak_memory_is_in_bytes() -> None:
    before = machine.peak_bytes()
    held = np.ones(40_000_000, np.uint8)
    after = machine.peak_bytes()
    assert before is not None
    assert after is not None
    assert held.nbytes < after < 2**40  # a KiB taken for a byte, or the reverse, is a thousand times off
    assert before <= after


# --- single passes ---


class Timed:
    """A network whose forward pass takes as many seconds as it has tokens, or logits for them."""

    def __init__(self, ticking: Clock, network: Any) -> None:
        self.ticking, self.network = ticking, network
        self.lengths: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def forward(self, tokens: np.ndarray, cache: Any, last: int = 1) -> np.ndarray:
        self.ticking.now += len(tokens)
        self.lengths.append(cache.length)
        return self.network.forward(tokens, cache, last)


@pytest.fixture
def toy(ticking: Clock, tmp_path: Path) -> refspec.Model:
    model = refspec.load(write_folder(tmp_path / "toy", {**GPT2, "n_positions": 256}, tokenizer=False))
    object.__setattr__(model, "network", Timed(ticking, model.network))
    return model


def test_a_prefill_is_tokens_over_their_seconds(toy: refspec.Model) -> None:
    (only,) = passes.prefills(toy, 2)  # 512 do not fit
    assert (only.tokens, only.tokens_per_second) == (128, flat(1.0))
    assert set(toy.network.lengths) == {0}  # from an empty cache each time


def test_a_prefill_may_fill_the_context(tmp_path: Path) -> None:
    model = refspec.load(write_folder(tmp_path / "full", {**GPT2, "n_positions": 128}, tokenizer=False))
    assert [each.tokens for each in passes.prefills(model, 1)] == [128]


def test_decoding_is_steps_of_one_token_behind_a_short_text(toy: refspec.Model) -> None:
    run = passes.decoding(toy)
    del toy.network.lengths[:]
    assert [run(), run()] == [1.0, 1.0]
    assert toy.network.lengths == [*range(64, 80)] * 2


def test_decode_figures() -> None:
    found = passes.decode([0.5, 0.25], [0.125, 0.125])
    assert found == passes.Decode(64, Spread(375.0, 250.0, 500.0), Spread(3.0, 2.0, 4.0), Spread(0.375, 0.25, 0.5))


def test_a_step_in_a_long_text_stands_behind_all_of_it(toy: refspec.Model) -> None:
    found = passes.context_costs(toy, 1)
    assert [(each.context, each.ms) for each in found] == [(context, flat(1000.0)) for context in (64, 128, 256)]
    assert set(toy.network.lengths) == {63, 127, 255}


def test_a_curve_counts_rows_in_units_of_one(toy: refspec.Model) -> None:
    target = toy.language_model(temperature=0)
    (curve,) = costs.curves({False: target}, 19, 1)
    assert [(point.rows, point.v) for point in curve.points] == [
        (rows, flat(float(rows))) for rows in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32)
    ]
    assert [point.ms.median for point in curve.points] == [1000.0 * point.rows for point in curve.points]
    assert (curve.context, curve.row_invariant) == (96, False)
    assert curve.verify(40) == tuple(min(gamma + 1.0, 32.0) for gamma in range(41))


def test_a_curve_takes_half_of_a_short_context_for_rows_and_the_rest_for_the_text(ticking: Clock, tmp_path: Path) -> None:
    model = refspec.load(write_folder(tmp_path / "short", {**GPT2, "n_positions": 80}, tokenizer=False))
    object.__setattr__(model, "network", Timed(ticking, model.network))
    for most, rows in ((39, 40), (40, 32)):
        (curve,) = costs.curves({False: model.language_model(temperature=0)}, most, 1)
        assert (curve.points[-1].rows, curve.context) == (rows, 80 - rows)


@pytest.mark.parametrize(("target", "draft", "before"), [(256, 256, 96), (256, 80, 79), (80, 256, 79), (97, 97, 96)])
def test_a_draft_is_timed_where_both_models_have_a_position_left(
    target: int, draft: int, before: int, ticking: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rows_at_once(language_model: Any, before: int, rows: int) -> Callable[[], float]:
        asked.append((language_model.context, before, rows))
        return lambda: 1.0

    monkeypatch.setattr(costs, "rows_at_once", rows_at_once)
    one, other = (SimpleNamespace(context=context) for context in (target, draft))
    costs.model_cost(one, other, 1)  # type: ignore[arg-type]
    assert asked == [(draft, before, 1), (target, before, 1)]
    del asked[:]
    costs.lookup_cost(one, 1)  # type: ignore[arg-type]
    assert asked == [(target, min(96, target - 1), 1)]


def test_a_draft_model_costs_its_step_over_the_targets(toy: refspec.Model) -> None:
    target = toy.language_model(temperature=0)
    found = costs.model_cost(target, target, 1)
    assert found == DraftCost(False, flat(1000.0), flat(1.0))
    twice = costs.draft_cost(lambda: 2.0, target, 96, 1, lookup=True)
    assert twice == DraftCost(True, flat(2000.0), flat(2.0))


def test_a_lookup_is_timed_alone_and_as_one_of_sixteen(ticking: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, int]] = []

    class Lookup:
        def forecast(self, tokens: tuple[int, ...], gamma: int) -> None:
            asked.append(("forecast", len(tokens), gamma))
            ticking.now += 1.0

        def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> None:
            asked.append(("propose", len(tokens), gamma))
            ticking.now += 3.0

    monkeypatch.setattr(costs, "NgramDrafter", Lookup)
    assert costs.looking_up(100)() == 4.0
    assert asked[0][:2] == ("propose", 84)  # reads all that stands there, before the clock starts
    assert asked[1:] == [each for length in range(85, 101) for each in (("forecast", length, 15), ("propose", length, 4))]
    found = costs.lookup_costs(1)
    assert [(each.context, each.microseconds) for each in found] == [(context, flat(4e6)) for context in passes.CONTEXTS]


def test_a_profile_keeps_the_draft_models_cost_where_only_a_lookup_was_timed() -> None:
    points = tuple(Point(rows, flat(float(rows)), flat((2 + rows) / 3)) for rows in (1, 2, 4))
    curve, other = Curve(False, 96, points), Profile((1.0, 1.5), 0.25, "another machine")
    assert costs.profile(curve, DraftCost(True, flat(9.0), flat(0.001)), other, "here").draft == 0.25
    found = costs.profile(curve, DraftCost(False, flat(9.0), flat(0.123456)), other, "here")
    assert (found.draft, found.about) == (0.1235, "here")
    assert found.verify == tuple(round((2 + min(rows, 4)) / 3, 4) for rows in range(1, 17))


# --- races and results ---


def test_a_run_is_counted_without_its_first_round(tmp_path: Path) -> None:
    model = refspec.load(write_folder(tmp_path / "toy", GPT2, tokenizer=False))
    settings: dict[str, Any] = {"gamma": 3, "max_new_tokens": 12, "temperature": 1}
    prompt = (1, 2, 3, 1, 2, 3)
    found = ours(model, refspec.NgramDrafter, settings)(prompt, 5)
    expected = refspec.generate(model, prompt, drafter=refspec.NgramDrafter(), seed=5, **settings)
    assert (found.tokens, found.rounds) == (expected.tokens, expected.rounds)
    assert found.decoded == len(found.tokens) - len(found.rounds[0].tokens)
    assert found.prefill_seconds > 0
    assert found.decode_seconds > 0


def test_seconds_of_a_prompt_are_medians_each_of_its_own() -> None:
    """The rest is the first pass's."""
    figures = ((1, 1.0, 9.0), (2, 5.0, 2.0), (3, 3.0, 4.0))
    assert median([Decoded((token,), 1, prefill, decode) for token, prefill, decode in figures]) == Decoded((1,), 1, 3.0, 4.0)


def decoded(tokens: int, taken: float, prefill: float = 1.0) -> Decoded:
    return Decoded((0,) * (tokens + 1), tokens, prefill, taken, (Round((), 0, 0),) * (tokens + 1))


@given(st.lists(st.tuples(st.integers(1, 9), seconds, st.integers(1, 9), seconds), min_size=1, max_size=4))
def test_a_speed_up_is_of_all_tokens_over_all_seconds(drawn: list[tuple[int, float, int, float]]) -> None:
    """Sums and quotients of a few floats: 1e-12 is far more than they round by."""
    fast, slow = [decoded(a, b) for a, b, _, _ in drawn], [decoded(c, d) for _, _, c, d in drawn]
    mine = sum(a for a, _, _, _ in drawn) / sum(b for _, b, _, _ in drawn)
    theirs = sum(c for _, _, c, _ in drawn) / sum(d for _, _, _, d in drawn)
    assert rate(fast) == pytest.approx(mine, rel=1e-12)
    found = speed(fast, slow)
    assert found.times == pytest.approx(mine / theirs, rel=1e-12)
    single = [(a / b) / (c / d) for a, b, c, d in drawn]
    assert (found.slowest, found.fastest) == (pytest.approx(min(single), rel=1e-12), pytest.approx(max(single), rel=1e-12))


def test_categories_in_their_order_and_which_is_worst_and_best() -> None:
    prompts = [("b", (1,)), ("a", (2,)), ("b", (3,)), ("c", (4,))]
    assert by_category(prompts) == {"b": [0, 2], "a": [1], "c": [3]}
    plain = [decoded(4, taken, prefill) for taken, prefill in ((4.0, 2.0), (4.0, 1.0), (8.0, 4.0), (4.0, 1.0))]
    fast = [decoded(4, taken, prefill) for taken, prefill in ((2.0, 3.0), (8.0, 1.0), (4.0, 7.0), (4.0, 1.0))]
    found = results(
        prompts, plain, fast, Costs((0.5,), 0.0, True), greedy=True, max_new_tokens=5, most=0, weight_bytes=8, draft_bytes=0
    )
    assert [(each.category, each.prompts, each.speed_up.times) for each in found.categories] == [
        ("b", 2, 2.0),
        ("a", 1, 0.5),
        ("c", 1, 1.0),
    ]
    assert (found.worst, found.best) == (("a", 0.5), ("b", 2.0))
    assert found.speed_up == pytest.approx(1.0)
    first = found.categories[0]
    assert (first.plain_tokens_per_second, first.tokens_per_second) == (8 / 12, 8 / 6)
    assert (first.plain_prefill_seconds, first.prefill_seconds) == (3.0, 5.0)
    assert (first.tokens, first.calls, first.tokens_per_call, first.identical) == (10, 10, 1.0, 2)
    assert (found.predicted, found.bound, found.predicted_of_bound, found.of_bound) == (2.0, 2.0, 1.0, pytest.approx(0.5))


def test_a_bound_is_for_lookup_at_temperature_0_alone() -> None:
    run = [decoded(3, 1.0)]
    for greedy, lookup in ((True, False), (False, True)):
        found = results(
            [("a", (1,))],
            run,
            run,
            Costs((1.0,), 0.5, lookup),
            greedy=greedy,
            max_new_tokens=4,
            most=0,
            weight_bytes=8,
            draft_bytes=0,
        )
        assert (found.bound, found.of_bound, found.predicted_of_bound) == (None, None, None)
        assert found.categories[0].identical == (1 if greedy else None)


@given(st.lists(st.integers(1, 30).map(lambda each: Fraction(each, 8)), min_size=1, max_size=6), st.integers(0, 9))
def test_a_round_costs_its_rows_and_its_guesses(verify: list[Fraction], c: int) -> None:
    for drafted in range(len(verify)):
        assert Costs(tuple(verify), c, lookup=False).of_round(drafted) == verify[drafted] + drafted * c  # type: ignore[arg-type]
        assert Costs(tuple(verify), c, lookup=True).of_round(drafted) == verify[drafted] + c  # type: ignore[arg-type]
