"""`refspec calibrate`, with a clock of our own: what it keeps, where it is found again, and when it refuses."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import refspec
from refspec.bench import calibrate as bench
from refspec.bench import machine
from refspec.bench.calibrate import FEWEST, GAMMAS, Figure, costs_of, head_of, interval, settle, summary
from refspec.bench.clock import Spread
from refspec.cli import main as cli
from refspec.decoding.draft.profile import Profile
from refspec.decoding.draft.several import Several
from refspec.decoding.lm import Tokens
from refspec.errors import BadProfile
from refspec.models import profiles

CONTEXTS = (10, 20)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    told = Clock()
    monkeypatch.setattr(bench, "time", told)
    return told


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REFSPEC_HOME", str(tmp_path))
    return tmp_path


def steady(value: float) -> Figure:
    return Figure("it", Spread(value, value, value))


# --- the figures


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
def test_an_interval_holds_its_median_and_lies_within_what_was_seen(values: list[float]) -> None:
    found = interval(values)
    assert min(values) <= found.least <= found.median <= found.most <= max(values)


@pytest.mark.parametrize("n", [9, 10, 25, 100])
def test_an_interval_holds_the_true_median_about_19_times_in_20(n: int) -> None:
    """The true one lies beyond the k-th of n values as often as k or fewer of n coins show heads. Ranks are whole."""
    low = int(interval([float(i) for i in range(n)]).least)
    outside = 2 * sum(math.comb(n, heads) for heads in range(low + 1)) / 2**n
    assert 0.02 < outside < 0.07


def test_an_interval_narrows_as_turns_come(clock: Clock) -> None:
    """A figure that jumps between 1 and 1.2 at random is steady in the end; one whose halves differ is not."""
    assert not Figure("it", interval([1.0, 1.2] * 5)).is_steady
    assert Figure("it", interval([1.0] * 30 + [9.0] * 10)).is_steady


@pytest.mark.parametrize(("noise", "turns"), [(0.0, FEWEST), (1.0, 35)])
def test_what_is_steady_is_measured_shortly_and_what_is_not_as_long_as_there_is_time(
    clock: Clock, noise: float, turns: int
) -> None:
    calls = 0

    def run() -> float:
        nonlocal calls
        calls += 1
        clock.now += 1.0
        return 1.0 + noise * (calls % 2)

    taken = settle({"it": run}, lambda taken: {"it": Figure("it", interval(taken["it"]))}, 35.0)
    assert len(taken["it"]) == turns == calls - 1  # the first turn is not counted


def test_costs_are_ratios_within_a_turn_and_a_text() -> None:
    """A machine that is twice as slow for a while is so above and below the line."""
    slow = [1.0, 2.0, 1.0]
    taken: dict[bench.Round, list[float]] = {(10, 0): slow, (10, 3): [1.5 * each for each in slow]}
    taken |= {(20, 0): [4.0] * 3, (20, 3): [8.0] * 3, (10, None): [0.25 * each for each in slow]}
    found = {name: figure.interval for name, figure in costs_of(taken, CONTEXTS).items()}
    assert {name: each.median for name, each in found.items()} == {
        (10, 0): 1, (10, 3): 1.5, (20, 0): 1, (20, 3): 2, (10, None): 0.25,
    }  # fmt: skip
    assert all(each.least == each.most for each in found.values())


def test_a_profile_is_the_medians_and_lines_between_them() -> None:
    costs: dict[bench.Round, Figure] = {
        (context, gamma): steady(1 + gamma * context / 100) for context in CONTEXTS for gamma in GAMMAS
    }
    rates = {"one core": steady(10.0), "all cores": steady(20.0)}
    found = summary(costs, rates, CONTEXTS, Profile((1,), 0.125), "here")
    assert found.unsteady == ()
    assert found.profile.verify == pytest.approx([1 + 0.1 * gamma for gamma in range(16)], abs=1e-4)  # it is kept in four digits
    assert found.profile.far == pytest.approx([1 + 0.2 * gamma for gamma in range(16)], abs=1e-4)
    assert (found.profile.draft, found.profile.about, found.profile.gb_per_second) == (0.125, "here", (10.0, 20.0))
    measured = summary({**costs, (10, None): steady(0.5)}, rates, CONTEXTS, Profile((1,), 0.125), "here")
    assert (measured.profile.draft, measured.profile.heads) == (0.5, 1)
    head = summary({**costs, (10, None): steady(0.5)}, rates, CONTEXTS, Profile((1,), 0.125), "here", said=0.4)
    assert (head.profile.draft, head.profile.heads) == (0.125, 1.25)


def test_a_head_costs_what_it_says_as_the_profile_corrects_it() -> None:
    """It says .1, and drafts; a profile that knows it to be ten times as dear makes it draft nothing."""

    class Head:
        def cost(self, tokens: Tokens) -> float:
            return 0.1

        def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> refspec.Draft:
            return refspec.Draft((0,) * gamma)

    head = Head()
    drafted = [
        len(refspec.AdaptiveDrafter(head, Profile((1, 1.1), 0, heads=heads)).propose((1, 2), 1, refspec.Tape([])).tokens)
        for heads in (1.0, 10.0)
    ]
    assert drafted == [1, 0]
    assert head_of(Several(refspec.NgramDrafter(), head)) is head
    assert head_of(refspec.NgramDrafter()) is None
    with pytest.raises(BadProfile, match="heads is -1"):
        Profile((1, 1.1), 0, heads=-1)


# --- costs by length of text


costs_lists = st.lists(st.floats(0.1, 10), min_size=1, max_size=4)


@given(costs_lists, st.data(), st.integers(0, 300))
def test_costs_lie_between_those_of_the_two_texts(near: list[float], data: st.DataObject, tokens: int) -> None:
    far = data.draw(st.lists(st.floats(0.1, 10), min_size=len(near), max_size=len(near)))
    profile = Profile((1, *near), 0, far=(1, *far), contexts=(100, 200))
    between = profile.behind(tokens)
    for cost, *ends in zip(between, profile.verify, profile.far, strict=True):
        assert min(ends) - 1e-12 <= cost <= max(ends) + 1e-12  # a + 1 * (b - a) rounds
    if tokens <= 100:
        assert between == profile.verify
    assert Profile((1, *near), 0).behind(tokens) == (1, *near)


def test_a_long_text_drafts_by_the_costs_of_long_texts() -> None:
    """Where a long text makes rows dear, a draft that pays in a short one is left alone."""
    profile = Profile((1, 1.1), 0, far=(1, 9), contexts=(4, 40))
    text = (1, 2) * 30
    drafted = [
        len(refspec.AdaptiveDrafter(refspec.NgramDrafter(), profile).propose(text[:n], 1, refspec.Tape([])).tokens)
        for n in (4, 60)
    ]
    assert drafted == [1, 0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"far": (1, 2, 3)}, "far is .* as long as verify, 2"),
        ({"far": (2, 3)}, "begins with 1"),
        ({"far": (1, 0)}, "above 0 and finite"),
        ({"far": (1, float("nan"))}, "above 0 and finite"),
        ({"contexts": (5,)}, "two lengths"),
        ({"contexts": (5, 5)}, "the shorter first"),
        ({"contexts": (-1, 5)}, "two lengths"),
    ],
)
def test_what_costs_by_length_may_be(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadProfile, match=said):
        Profile(**{"verify": (1, 2), "draft": 0, "far": (1, 3), "contexts": (5, 6), **changed})


def test_a_digest_changes_with_any_cost_and_nothing_else(tmp_path: Path) -> None:
    profile = Profile((1, 1.5), 0.1, "here", (1, 1.6), (10, 20), (9.0, 18.0), 1.1)
    others = [{"verify": (1, 1.5001)}, {"draft": 0.11}, {"far": (1, 1.7)}, {"contexts": (10, 21)}, {"heads": 1.2}]
    digests = {dataclasses.replace(profile, **each).digest for each in others}
    assert len(digests | {profile.digest}) == 6
    assert dataclasses.replace(profile, about="there", gb_per_second=()).digest == profile.digest
    profile.save(tmp_path / "it.json")
    assert Profile.load(tmp_path / "it.json") == profile
    assert Profile.load(tmp_path / "it.json").digest == profile.digest


# --- which one is taken


@pytest.fixture
def kept(home: Path) -> Profile:
    model = refspec.load("tiny-target")
    profile = Profile((1, 1.25, 1.5), 0.1, profiles.conditions(model))
    profiles.path_of(model).parent.mkdir()
    profile.save(profiles.path_of(model))
    return profile


def test_the_profile_of_this_machine_is_taken_untold(kept: Profile) -> None:
    model = refspec.load("tiny-target")
    assert profiles.profile_for(model) == kept
    options = {"drafter": refspec.NgramDrafter(), "max_new_tokens": 3}
    assert refspec.generate(model, "ROMEO:", gamma="auto", **options).profile == kept
    mine = Profile((1, 2), 0)
    assert refspec.generate(model, "ROMEO:", gamma="auto", profile=mine, **options).profile == mine
    assert refspec.generate(model, "ROMEO:", gamma=2, **options).profile is None
    assert refspec.generate(model, "ROMEO:", gamma="auto", max_new_tokens=3).profile is None  # nothing is drafted


@pytest.mark.parametrize("changed", ["processor", "blas_kernel", "blas_threads", "model", "row_invariant", "file"])
def test_one_of_other_conditions_is_left_alone(kept: Profile, changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = refspec.load("tiny-target")
    if changed in ("processor", "blas_kernel", "blas_threads"):
        monkeypatch.setattr(profiles, changed, lambda: 77 if changed == "blas_threads" else "Other")
        monkeypatch.setattr(profiles, "has_no_copy", lambda kernel: False)
    elif changed == "file":  # copied from elsewhere under the right name
        dataclasses.replace(kept, about="another machine").save(profiles.path_of(model))
    else:
        model = refspec.load("tiny-draft") if changed == "model" else refspec.load("tiny-target", row_invariant=True)
    assert profiles.profile_for(model).about.startswith("SmolLM2-135M, AMD")


def test_a_processor_has_a_name_and_always_the_same() -> None:
    assert profiles.processor().strip()
    assert "\n" not in profiles.processor()
    assert profiles.processor() == machine.Machine.here().processor


def test_outputs_name_the_profile(kept: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["generate", "ROMEO:", "--model", "tiny-target", "--ngram", "--max-new-tokens", "3"]
    assert cli.main([*common, "--gamma", "auto"]) == 0
    assert f"| {kept.label}" in capsys.readouterr().err
    assert cli.main([*common, "--gamma", "auto", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["profile"] == {"digest": kept.digest, "about": kept.about}
    assert cli.main([*common, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["profile"] is None
    for about, complaints in (("an abacus", 1), ("", 0), (kept.about, 0)):
        dataclasses.replace(kept, about=about).save(tmp_path / "given.json")
        assert cli.main([*common, "--gamma", "auto", "--profile", str(tmp_path / "given.json"), "--json"]) == 0
        told = capsys.readouterr()
        assert told.err.count("was measured elsewhere: on an abacus; this is tiny-target") == complaints == told.err.count("\n")
        assert json.loads(told.out)["profile"]["digest"] == kept.digest


# --- the command


@pytest.fixture
def quick(home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Real rounds, under a clock that ticks once a look: all costs are 1. `told.noise` makes every other bandwidth another."""
    told = SimpleNamespace(noise=0.0, turns=0)

    def tick() -> float:
        clock.now += 1.0
        return clock.now

    def reading(*, one_core: bool = False) -> Any:
        def run() -> float:
            told.turns += 1
            return 1.0 + told.noise * (told.turns % 2)

        return run

    monkeypatch.setattr(clock, "perf_counter", tick)
    monkeypatch.setattr(bench, "rows_at_once", lambda *_: lambda: 0.5)
    monkeypatch.setattr(bench, "reading", reading)
    monkeypatch.setattr(bench, "SECONDS", 9.0)
    return told


def test_what_was_measured_is_kept_and_used(quick: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["calibrate"]) == 0
    said, model = capsys.readouterr(), refspec.load("tiny-target")
    kept = Profile.load(profiles.path_of(model))
    assert kept == profiles.profile_for(model)
    assert (kept.verify, kept.far, kept.draft, kept.contexts) == ((1.0,) * 16, (1.0,) * 16, 0.5, (120, 240))
    assert said.err == ""
    assert f"profile {kept.digest}" in said.out
    assert cli.main(["calibrate", "--ngram"]) == 0
    assert profiles.profile_for(model).draft == 0.5  # what was known before


def test_a_busy_machine_is_said_and_nothing_saved(quick: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    quick.noise = 1.0
    path = profiles.path_of(refspec.load("tiny-target"))
    assert cli.main(["calibrate"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "busy machine: 2 of 23 figures are not known to 5%: GB/s, one core" in err
    assert not path.exists()
    assert cli.main(["calibrate", "--even-if-busy"]) == 0
    assert "busy machine" in capsys.readouterr().err
    assert path.exists()


def test_a_home_that_cannot_be_made_is_said_first(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("REFSPEC_HOME", str(home / "file"))
    assert cli.main(["calibrate", "--model", "tiny-target"]) == 2
    assert "set REFSPEC_HOME to a folder of yours" in capsys.readouterr().err
