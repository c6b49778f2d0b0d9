"""The sampled level: its bound holds exactly, bugs are seen and named in a few hundred runs, and refspec passes."""

from collections import Counter
from fractions import Fraction
from itertools import product
from math import comb, factorial, log, prod
from pathlib import Path
from typing import Any

import mutants
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import refspec
from refspec.conformance import fixtures, sampled
from refspec.conformance.adapter import ByGenerator, Dialect
from refspec.conformance.bugs import BUGS
from refspec.conformance.cases import CHECKS
from refspec.conformance.diagnosis import diagnosed
from refspec.conformance.expected import gaps
from refspec.conformance.findings import Report
from refspec.conformance.gtest import detectable, divergence, seen_as, tail, threshold, views
from refspec.conformance.own import Own, OwnWeights
from refspec.models.sampling import Sampling

ONE_POINT = ("u-at-most-p-over-q", "u-up-to-one", "pick-at-the-boundary")
WEIGHTS = st.lists(st.integers(1, 9), min_size=2, max_size=4)


@settings(max_examples=25, deadline=None)
@given(WEIGHTS, st.integers(1, 9))
def test_the_bound_is_never_below_the_exact_tail(weights: list[int], n: int) -> None:
    """Over every outcome of a multinomial, with counts far below what a chi-square would ask for."""
    total, k = sum(weights), len(weights)
    law = {cell: Fraction(weight, total) for cell, weight in enumerate(weights)}
    outcomes: Counter[float] = Counter()
    for counts in (each for each in product(range(n + 1), repeat=k) if sum(each) == n):
        ways = factorial(n) // prod(map(factorial, counts))
        outcomes[divergence(dict(enumerate(counts)), law)] += ways * prod(law[i] ** c for i, c in enumerate(counts))  # type: ignore[assignment]
    for x in outcomes:
        exact = sum(weight for y, weight in outcomes.items() if y >= x)
        assert float(exact) <= tail(x - 1e-12, k) * (1 + 1e-9)  # what a rounded sum may be off


@given(st.floats(1e-15, 0.1), st.integers(2, 2000))
def test_the_threshold_is_where_the_bound_is_alpha(alpha: float, cells: int) -> None:
    x = threshold(alpha, cells)
    assert tail(x, cells) <= alpha
    assert tail(x * (1 - 1e-9), cells) >= alpha * (1 - 1e-5)


def test_two_cells_are_a_coin() -> None:
    """n KL of a coin that only shows heads is n log 2, with probability 2 ** -n to each side."""
    assert divergence({0: 30}, {0: Fraction(1, 2), 1: Fraction(1, 2)}) == pytest.approx(30 * log(2))
    assert 2 / 2**30 < tail(30 * log(2), cells=2) < comb(30, 2) / 2**30


def test_what_cannot_come_is_infinitely_far() -> None:
    assert divergence({1: 1}, {0: Fraction(1)}) == float("inf")


def test_views_add_up_to_the_runs() -> None:
    texts = {(0, 1): 3, (1,): 4, (1, 1): 5}
    assert {sum(seen_as(view, texts).values()) for view in views(2)} == {12}
    assert seen_as(views(2)[2], texts) == {(1,): 8, (None,): 4}


@pytest.mark.parametrize("n", [200, 20_000])
def test_more_runs_see_smaller_distances(n: int) -> None:
    assert detectable(4 * n, 9, 1e-11) == pytest.approx(detectable(n, 9, 1e-11) / 2)


def test_refspec_passes_and_says_how_much_was_seen() -> None:
    report = sampled.conform(Own(), budget=0.5)
    assert {each.status for each in report.findings} == {"conforms", "skipped"}
    assert "in total variation" in report.findings[0].detail


@pytest.mark.parametrize(
    ("name", "check", "runs"), [("residual-is-p", "one-round-law", 1000), ("length-hides-stop", "stop-token", 500)]
)
def test_a_bug_is_seen_and_named(name: str, check: str, runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In twice as many runs as it takes, whatever else the machine does meanwhile."""
    monkeypatch.setattr(sampled, "FIRST", runs)
    report = sampled.conform(BUGS[name].engine, [CHECKS[check]], budget=0)
    assert report.code == 1
    assert name in diagnosed(report).equal


def test_an_engine_that_never_drafts_is_vacuous() -> None:
    def plain(case: object, generator: object) -> object:
        run = Own()._run(case, generator)  # type: ignore[arg-type]
        return type(run)(run.tokens, 0, 0)

    engine = ByGenerator(plain, Dialect("plain", seeds_in=True))  # type: ignore[arg-type]
    assert sampled.conform(engine, [CHECKS["one-round-law"]], budget=0.1).findings[0].status == "vacuous"


def test_seeds_that_come_in_pairs_are_seen() -> None:
    """The law of every run is right, and the next seed gives the same text."""

    class Paired(Own):
        def __init__(self) -> None:
            super().__init__()
            ours = self.sampled
            self.sampled = lambda case, seeds: ours(case, [seed // 2 for seed in seeds])  # type: ignore[method-assign]

    report = sampled.conform(Paired(), [CHECKS["one-round-law"]], budget=1)
    assert report.findings[0].detail.startswith("first tokens of one seed and the next")


def test_networks_are_sampled_by_the_same_checks() -> None:
    """float32 networks through their caches, against the law of their float64 rows."""
    report = sampled.conform(OwnWeights(), [CHECKS["one-round-law"], CHECKS["greedy"]], budget=0.1)
    assert {each.id: each.status for each in report.findings} == {
        "one-round-law/weights, one draft": "conforms",
        "greedy/weights, temperature 0": "conforms",
    }


@pytest.mark.nightly  # a later NumPy may draw other normal numbers from a seed; then this one was the last
def test_the_fixtures_are_what_their_command_writes(tmp_path: Path) -> None:
    fixtures.write(tmp_path, 0)
    for made in tmp_path.rglob("*.*"):
        assert made.read_bytes() == (fixtures.FOLDER / made.relative_to(tmp_path)).read_bytes()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.*")) < 300_000


def test_every_cut_of_the_fixtures_has_its_margin_in_float32_too() -> None:
    for name in ("target", "draft"):
        exact, narrow = (refspec.load(fixtures.FOLDER / name, dtype=dtype) for dtype in (np.float64, np.float32))
        assert abs(exact.logits(fixtures.PROMPT) - narrow.logits(fixtures.PROMPT)).max() < fixtures.MARGIN / 100
    assert min(min(gaps(case).values()) for _, case in fixtures.cases()) >= fixtures.MARGIN


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["positions-not-rewound", "rejected-rows-zeroed"])  # of the target; a draft's costs speed alone
def test_a_wrong_cache_is_seen_on_weights(name: str) -> None:
    subject = mutants.ALL[name].subject

    def with_sampling(make: Any) -> Any:
        def made(model: refspec.Model, options: Sampling) -> Any:
            found = make(model)
            found.sampling = options
            return found

        return made

    engine = OwnWeights(with_sampling(subject.target_lm), with_sampling(subject.draft_lm))
    statuses = {each.status for each in sampled.conform(engine, budget=60).findings}
    assert statuses & {"deviates", "errored"}


def test_a_seed_that_gives_another_text_is_told() -> None:
    """An engine whose law is right, and that goes on from where its last text left the generator."""
    check, generator = CHECKS["same-seed"], np.random.default_rng(0)
    goes_on = ByGenerator(lambda case, _: Own().answered(case, generator), Dialect("goes on", seeds_in=True))
    report = sampled.conform(goes_on, [check], budget=0.0)
    assert (report.code, diagnosed(report).equal) == (1, ())
    assert report.findings[0].detail.startswith("seed 0 gave (")
    assert sampled.conform(Own(), [check], budget=0.0).code == 0


def test_a_seed_is_asked_for_only_where_a_case_is_taken() -> None:
    never = ByGenerator(Own().answered, Dialect("lossy", seeds_in=True, lossy=True))
    assert [each.status for each in sampled.conform(never, [CHECKS["same-seed"]], budget=0.0).findings] == ["skipped"]


@pytest.mark.nightly
@pytest.mark.parametrize("name", BUGS)
def test_every_bug_that_samples_can_show_is_named(name: str) -> None:
    """At the budget of an engine. What has no weight, or next to none, is for the other levels."""
    report = sampled.conform(BUGS[name].engine)
    if name in {*ONE_POINT, "zero-residual-is-last-id", "residual-clamped", "certain-tests-draw-nothing"}:
        pytest.skip("its law is that of the target, as far as samples tell")
    assert report.code == 1
    assert name in diagnosed(Report(report.dialect, "sampled", report.findings)).equal
