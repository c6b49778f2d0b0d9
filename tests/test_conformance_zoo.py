"""What each level of the kit shows of each bug that it knows, and that docs/bugs.md says just this."""

from pathlib import Path

import pytest

from refspec.conformance import zoo
from refspec.conformance.bugs import BUGS

PAGE = Path(__file__).parents[1] / "docs" / "bugs.md"
ONE_POINT = {"u-at-most-p-over-q", "u-up-to-one", "pick-at-the-boundary"}  # what they do wrong has no weight
RIGHT_LAW = {"certain-tests-draw-nothing"}  # another order of draws, and no bug
TOO_SELDOM = {"zero-residual-is-last-id", "residual-clamped"}  # 1e-16 and 4e-5: for samples too little


def test_the_page_has_every_bug() -> None:
    table = [line.split("`")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert table == list(BUGS)


@pytest.mark.parametrize("name", ["residual-is-p", "stop-at-round-end-only", "min-p-is-absolute"])
def test_runs_drawn_from_a_law_are_judged_as_runs(name: str) -> None:
    ids = ("one-round-law/one draft", "stop-token/inside a block", "proposal-law/min-p", "zero-residual/one ulp below")
    laws, samples = zoo.exactly(name, ids), zoo.in_samples(name, 0, ids)
    assert laws.is_named
    assert samples.is_named
    assert (samples.wrong, samples.asked, laws.asked) == (laws.wrong, 3, 4)


def test_a_right_law_is_found_right_by_samples() -> None:
    found = zoo.in_samples("certain-tests-draw-nothing", 0, ("one-round-law/one draft", "dead-draft/nine certain tokens"))
    assert (found.wrong, found.check, found.named, found.distance) == (0, "", (), 0.0)


@pytest.mark.nightly
@pytest.mark.parametrize("name", BUGS)
def test_every_bug_is_found_and_named_first_wherever_it_shows(name: str) -> None:
    assert zoo.replayed(name).is_named
    if name not in ONE_POINT | RIGHT_LAW:
        assert zoo.exactly(name).is_named
    if name not in ONE_POINT | RIGHT_LAW | TOO_SELDOM:
        assert all(zoo.in_samples(name, seed).is_named for seed in range(zoo.DRAWS))


@pytest.mark.nightly
def test_the_page_is_what_the_command_prints() -> None:
    assert "\n".join(zoo.rows(tuple(BUGS))) in PAGE.read_text(encoding="utf-8")
