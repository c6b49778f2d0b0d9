"""`refspec bench`: what it reports adds up, and what it cannot do it says in a line. How long anything takes is no test."""

import contextlib
import functools
import io
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from folders import GPT2, write_folder, write_tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st

import refspec
from refspec.bench import costs, machine, peers, prompts
from refspec.bench.clock import Spread, geometric_mean
from refspec.bench.costs import Costs, Curve, Point
from refspec.bench.hindsight import Place, Way, after_first, best_rate, places
from refspec.bench.race import Decoded, race
from refspec.bench.results import results, wilson
from refspec.cli import bench as command
from refspec.cli import main as cli
from refspec.decoding.draft import Draft
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import Tokens
from refspec.decoding.round import Round
from refspec.proof.exact import law

READS: Any = {"weight_bytes": 8, "draft_bytes": 0}


TEXTS = [
    ("tragedy", "ROMEO:\nO my love"),
    ("tragedy", "JULIET:\nO Romeo, Romeo! wherefore art thou Romeo?\n\nROMEO:\n"),
    ("history", "KING RICHARD III:\nNow"),
]
MATPLOTLIB = find_spec("matplotlib") is not None
IDS = [("loops", [1, 2, 3, 4] * 5), ("steps", list(range(40))), ("loops", [7, 7, 7])]


def write_prompts(path: Path, lines: list[tuple[str, Any]]) -> Path:
    path.write_text("".join(json.dumps({"category": name, "prompt": prompt}) + "\n" for name, prompt in lines), encoding="utf-8")
    return path


def unsteady() -> Callable[[], float]:
    """A clock that now and then goes sixty times as fast, or hardly at all: what holds on it holds on any busy machine."""
    random, real = Random(0), time.perf_counter
    before = now = real()

    def clock() -> float:
        nonlocal before, now
        passed, before = real() - before, real()
        now += passed * random.choice((0.05, 0.3, 1, 1, 5, 60))
        return now

    return clock


def run(*arguments: object) -> tuple[int, str, str]:
    """(exit code, standard output, standard error), on an unsteady clock, with an empty home, a small matrix for the bandwidth,
    and short lookups.
    """
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(time, "perf_counter", unsteady())
        patch.setenv("REFSPEC_HOME", "/nowhere")
        patch.setattr(machine, "MATRIX", (2048, 512))
        patch.setattr(costs, "CONTEXTS", (64, 256))
        code = cli.main(["bench", *map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The tiny pair, which is the default without SmolLM2, at temperature 1: the JSON, and the folder with all it wrote."""
    folder = tmp_path_factory.mktemp("bench")
    file = write_prompts(folder / "prompts.jsonl", TEXTS)
    options = ["--quick", "--limit", 2, "--max-new-tokens", 12, "--temperature", 1, "--seed", 3, "--prompts", file]
    code, out, err = run(*options, "--times", 2, "--json", "--save-profile", folder / "profile.json")
    assert (code, err) == (0, "")
    return json.loads(out, parse_constant=refuse), folder


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A toy without a tokenizer, whose prompts are ids, behind n-gram lookup at temperature 0."""
    folder = tmp_path_factory.mktemp("lookup")
    model = write_folder(folder / "ids-only", GPT2, tokenizer=False)
    file = write_prompts(folder / "prompts.jsonl", IDS)
    code, out, _ = run("--model", model, "--quick", "--limit", 9, "--gamma", 3, "--prompts", file, "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(out, parse_constant=refuse)
    return found


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The tables of the row-invariant mode, and where the plots are."""
    folder = tmp_path_factory.mktemp("shown")
    file = write_prompts(folder / "prompts.jsonl", TEXTS[:1])
    plot = ["--plot", folder / "new" / "plots"] if MATPLOTLIB else []
    code, out, err = run("--model", "tiny-target", "--ngram", "--row-invariant", "--quick", "--prompts", file, *plot)
    assert (code, err) == (0, "")
    return out, folder / "new" / "plots"


def refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# --- the report adds up


def test_the_json_has_everything(tiny: tuple[dict[str, Any], Path], lookup: dict[str, Any]) -> None:
    for found in (tiny[0], lookup):
        assert list(found) == ["setup", "passes", "results", "against"]
        assert found["against"] is None
        assert list(found["passes"]) == ("machine loading prefill roofline decode curves draft_cost contexts lookups".split())
        assert {tuple(each) for each in spreads(found)} == {("median", "least", "most")}
        assert all(each["least"] <= each["median"] <= each["most"] for each in spreads(found))
    setup = tiny[0]["setup"]
    assert (setup["model"], setup["draft"], setup["gamma"], setup["chat"]) == ("tiny-target", "tiny-draft", "auto", False)
    assert (setup["temperature"], setup["max_new_tokens"], setup["passes"], setup["seed"]) == (1, 12, 2, 3)
    assert (lookup["setup"]["draft"], lookup["setup"]["gamma"], lookup["setup"]["max_new_tokens"]) == (None, 3, 32)


def spreads(found: Any) -> list[dict[str, float]]:
    if isinstance(found, dict):
        here = [found] if "median" in found else []
        return here + [each for value in found.values() for each in spreads(value)]
    return [each for value in found for each in spreads(value)] if isinstance(found, list) else []


def test_machine_figures_agree_with_each_other(tiny: tuple[dict[str, Any], Path]) -> None:
    passes = tiny[0]["passes"]
    config = refspec.load("tiny-target").config
    d, v = config.width, config.vocab_size
    read = 4 * (v * d + 2 * d + config.layers * (12 * d * d + 13 * d))  # tied; of the positions a token reads one row
    assert passes["loading"]["weight_bytes"] == read
    roofline, decode = passes["roofline"], passes["decode"]
    assert roofline["least_ms"] == pytest.approx(read / roofline["gb_per_second"]["median"] / 1e6)
    assert roofline["matrix_bytes"] == 4 * 2048 * 512
    assert decode["ms"]["most"] == pytest.approx(1000 / decode["tokens_per_second"]["least"])
    assert [each["tokens"] for each in passes["prefill"]] == [128]  # 512 do not fit
    assert [each["context"] for each in passes["contexts"]] == [64, 128, 256]
    assert [each["context"] for each in passes["lookups"]] == [64, 256]  # of eight
    assert [curve["row_invariant"] for curve in passes["curves"]] == [False, True]
    for curve in passes["curves"]:
        assert [point["rows"] for point in curve["points"]] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32]
        assert curve["points"][0]["v"] == {"median": 1, "least": 1, "most": 1}


def test_results_agree_with_each_other(tiny: tuple[dict[str, Any], Path], lookup: dict[str, Any]) -> None:
    for found in (tiny[0]["results"], lookup["results"]):
        categories = found["categories"]
        for each in categories:
            assert each["tokens_per_call"] == each["tokens"] / each["calls"]
            assert each["acceptance_rate"] == (each["accepted"] / each["tested"] if each["tested"] else None)
            assert each["speed_up"]["times"] == pytest.approx(each["tokens_per_second"] / each["plain_tokens_per_second"])
            # of the category it may lie outside: its prompts weigh one way in plain decoding and another way in drafts
            assert 0 < each["speed_up"]["slowest"] <= each["speed_up"]["fastest"]
        times = [each["speed_up"]["times"] for each in categories]
        assert found["speed_up"] == pytest.approx(math.prod(times) ** (1 / len(times)))
        assert found["predicted"] == pytest.approx(math.prod(each["predicted"] for each in categories) ** (1 / len(times)))
        assert (found["worst"][1], found["best"][1]) == (min(times), max(times))
        for name in ("tested", "accepted"):
            assert sum(each[name] for each in found["positions"]) == sum(each[name] for each in categories)
        for each in found["positions"]:
            assert each["least"] <= each["acceptance_rate"] == each["accepted"] / each["tested"] <= each["most"]
    assert [(each["category"], each["prompts"]) for each in tiny[0]["results"]["categories"]] == [("tragedy", 2), ("history", 1)]


def test_lookup_at_temperature_0_has_a_bound_and_the_tokens_of_plain_decoding(lookup: dict[str, Any]) -> None:
    found = lookup["results"]
    assert [(each["category"], each["identical"]) for each in found["categories"]] == [("loops", 2), ("steps", 1)]
    bounds = [each["bound"] for each in found["categories"]]
    assert found["bound"] == pytest.approx(math.prod(bounds) ** (1 / len(bounds)))
    assert found["of_bound"] == pytest.approx(found["speed_up"] / found["bound"])
    assert found["predicted_of_bound"] == pytest.approx(found["predicted"] / found["bound"])


def test_neither_bound_nor_identical_tokens_are_promised_otherwise(tiny: tuple[dict[str, Any], Path]) -> None:
    assert tiny[0]["results"]["bound"] is None
    assert all(each["bound"] is None and each["identical"] is None for each in tiny[0]["results"]["categories"])


def test_the_tables_show_it(shown: tuple[str, Path]) -> None:
    out, _ = shown
    for line in (
        "tiny-target, row-invariant, drafts by n-gram lookup, gamma auto, temperature 0, up to 32 new tokens, seed 0",
        "roofline ",
        "rows in one call of the target, behind 96 tokens; v is the cost in units of one row",
        "draft cost c = ",
        "tragedy               1 ",
        "1 of 1 prompts got plain decoding's very tokens",
        "bound: every round's gamma chosen by hindsight; measured ",
    ):
        assert f"\n{line}" in f"\n{out}", line


# --- what is computed from it


def test_the_cost_model_on_rounds_that_are_known() -> None:
    """The first round is the prefill's; then 2 drafted of which 1 was accepted, none drafted, and 3 that the second one ends."""
    rounds = (Round((5, 6), 2, 7), Round((8, 9), 1, 3), Round((), 0, 4), Round((1,), 1, 2, cut=(2, 6)))
    drafted = Decoded((5, 6, 7, 8, 3, 4, 1, 2), 5, 0.5, 0.2, rounds)
    plain = Decoded((5, 6, 7, 8, 3, 4, 1, 2), 7, 0.4, 1.0)
    for lookup, spent in ((False, (1.5 + 2 * 0.1) + 1 + (2 + 3 * 0.1)), (True, (1.5 + 0.1) + (1 + 0.1) + (2 + 0.1))):
        costs = Costs((1, 1.25, 1.5, 2), 0.1, lookup)
        found = results(
            [("one", (1, 2))], [plain], [drafted], costs, greedy=True, max_new_tokens=9, most=3, weight_bytes=8, draft_bytes=0
        )
        (only,) = found.categories
        assert only.predicted == found.predicted == pytest.approx(5 / spent)
        assert only.speed_up.times == pytest.approx((1.0 / 7) / (0.2 / 5))
        assert found.speed_up == pytest.approx(only.speed_up.times)
        assert (only.tokens, only.calls, only.tested, only.accepted, only.identical) == (8, 4, 6, 5, 1)
        assert only.acceptance_rate == 5 / 6
        assert [(each.position, each.tested, each.accepted) for each in found.positions] == [(1, 3, 3), (2, 3, 2)]


def test_a_prompt_that_ends_at_once_has_no_speed() -> None:
    at_once = Decoded((1,), 0, 0.1, 0.0, (Round((), 0, 1),))
    found = results(
        [("one", (1, 2))],
        [at_once],
        [at_once],
        Costs((1,), 0, True),
        greedy=True,
        max_new_tokens=4,
        most=0,
        weight_bytes=8,
        draft_bytes=0,
    )
    assert (found.speed_up, found.predicted, found.bound, found.worst, found.positions) == (None, None, None, None, ())


@pytest.mark.parametrize(
    ("successes", "trials", "least", "most"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718), (20, 20, 0.8389, 1)],
)
def test_wilson_intervals_are_those_of_newcombe_1998(successes: int, trials: int, least: float, most: float) -> None:
    """Statistics in Medicine 17, table I, method 3; the last by symmetry."""
    assert wilson(successes, trials) == pytest.approx((least, most), abs=5e-5)


@given(st.integers(1, 10_000), st.data())
def test_a_share_lies_within_its_interval(trials: int, data: st.DataObject) -> None:
    """To the last bit, at both ends as well: a plot draws the distances, and takes no negative one."""
    successes = data.draw(st.sampled_from([0, trials]) | st.integers(0, trials))
    least, most = wilson(successes, trials)
    assert 0 <= least <= successes / trials <= most <= 1


def test_geometric_mean() -> None:
    assert geometric_mean([2, None, 8]) == pytest.approx(4)
    assert geometric_mean([None]) is None


class Writes:
    """A greedy target of three tokens, which writes one text and then goes on with 0."""

    vocab_size = 3

    def __init__(self, prompt: Tokens, text: Tokens) -> None:
        self.after, self.text = len(prompt), text

    def probs(self, tokens: Tokens, last: int = 1) -> np.ndarray:
        ends = range(len(tokens) - last + 1, len(tokens) + 1)
        following = (self.text[end - self.after] if end - self.after < len(self.text) else 0 for end in ends)
        return np.array([[int(x == token) for x in range(3)] for token in following])


class AnyGamma:
    """Looks up as many tokens as it likes, or none: a question of chance, which an enumeration answers in every way."""

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        found = looked_up(tokens, gamma)
        return Draft(found[: chance.pick([1] * (len(found) + 1))])  # type: ignore[arg-type]


@functools.lru_cache(10_000)  # the branches of one text ask for the same ones
def looked_up(tokens: Tokens, gamma: int) -> Tokens:
    return refspec.NgramDrafter().propose(tokens, gamma, refspec.Tape([])).tokens


def every_run(prompt: Tokens, text: Tokens, stops: bool, most: int) -> list[tuple[Round, ...]]:
    """The rounds of the loop under each sequence of gammas; stops: the text ends with a stop token, with room for two more."""

    def program(chance: refspec.Chance) -> tuple[Round, ...]:
        options: dict[str, Any] = {"gamma": most, "max_new_tokens": len(text) + 2 * stops, "chance": chance}
        stop = {text[-1]} if stops else ()
        return refspec.speculative(Writes(prompt, text), AnyGamma(), prompt, stop=stop, **options).rounds

    return list(law(program))


@st.composite
def texts(draw: st.DrawFn) -> tuple[Tokens, Tokens, bool]:
    """A prompt, a text, and whether the text ends with a stop token, which then stands nowhere else in it."""
    prompt = draw(st.lists(st.integers(0, 2), min_size=1, max_size=5).map(tuple))
    stops = draw(st.booleans())
    text = draw(st.lists(st.integers(0, 1 if stops else 2), min_size=0 if stops else 1, max_size=6).map(tuple))
    return prompt, (*text, 2) if stops else text, stops


FIRST_ROUND_DRAFTS = ((2, 1, 1), (1, 2, 1, 1, 1, 2, 1), False)
COSTS = st.lists(st.integers(1, 9).map(Fraction), min_size=5, max_size=5)


@settings(max_examples=30)
@given(st.lists(texts(), min_size=1, max_size=2), COSTS)
@example([FIRST_ROUND_DRAFTS], [Fraction(1)] * 5)
@example([FIRST_ROUND_DRAFTS, ((1,), (2,), True)], [Fraction(4), Fraction(5), Fraction(3), Fraction(6), Fraction(2)])
def test_hindsight_is_the_best_of_all_runs_of_the_loop(given: list[tuple[Tokens, Tokens, bool]], costs: list[Fraction]) -> None:
    """Whatever a gamma costs, also where a longer draft is cheaper: no choice of gammas is faster, and one is as fast."""
    most = len(costs) - 1
    model = Costs(tuple(costs), Fraction(0), lookup=True)  # type: ignore[arg-type]
    bound = best_rate(
        [after_first(Way(places(prompt, text, len(text) + 2 * stops, most), model.of_round)) for prompt, text, stops in given]
    )
    outcomes = []
    for prompt, text, stops in given:
        later = {rounds[1:] for rounds in every_run(prompt, text, stops, most)}
        outcomes.append({(sum(len(each.tokens) for each in rounds), spent(rounds, model)) for rounds in later})
    found = []
    for runs in itertools.product(*outcomes):
        tokens, cost = map(sum, zip(*runs, strict=True))
        found += [tokens / cost] if cost else []
    assert max(found, default=None) == bound


def spent(rounds: tuple[Round, ...], model: Costs) -> float:
    return sum(model.of_round(len(each.draft_tokens + each.cut)) for each in rounds)


def decoded_by(rounds: tuple[Round, ...]) -> Decoded:
    tokens = tuple(token for each in rounds for token in each.tokens)
    return Decoded(tokens, len(tokens) - len(rounds[0].tokens), 1.0, 1.0, rounds)


@settings(max_examples=15)
@given(texts(), COSTS)
@example(FIRST_ROUND_DRAFTS, [Fraction(1)] * 5)
def test_no_prediction_exceeds_the_bound_beside_it(given: tuple[Tokens, Tokens, bool], costs: list[Fraction]) -> None:
    """The bound is of the very text that was predicted, and there wherever the prediction is."""
    prompt, text, stops = given
    model = Costs(tuple(costs), Fraction(1, 3), lookup=True)  # type: ignore[arg-type]
    plain = Decoded((0,), 0, 1.0, 1.0, (Round((), 0, 0),))  # rounding may have led it elsewhere
    # of the runs that draft the same lengths, in whatever order, and keep as many tokens behind the first round, one
    different = {
        (len(rounds[0].tokens), *sorted(len(each.draft_tokens + each.cut) for each in rounds[1:])): rounds
        for rounds in every_run(prompt, text, stops, most=4)
    }
    for rounds in different.values():
        new = len(text) + 2 * stops
        found = results(
            [("one", prompt)],
            [plain],
            [decoded_by(rounds)],
            model,
            greedy=True,
            max_new_tokens=new,
            most=4,
            weight_bytes=8,
            draft_bytes=0,
        )
        (only,) = found.categories
        assert (only.predicted is None) == (only.bound is None)
        assert only.predicted is None or only.bound is None or only.predicted <= only.bound


def test_places_say_what_is_proposed_and_what_of_it_follows() -> None:
    # 1 2 3 1 2 | 3 1 2 3 1 9: lookup goes on with 3 1 2 3 1 2 ... until the 9
    found = places((1, 2, 3, 1, 2), (3, 1, 2, 3, 1, 9), 9, 4)
    assert [(each.proposed, each.agreed) for each in found] == [(4, 4), (4, 4), (4, 3), (4, 2), (4, 1), (3, 0)]
    assert [tuple(each) for each in places((1, 2), (3, 4), 2, 4)] == [(0, 0), (0, 0)]
    assert [tuple(each) for each in places((1, 1), (1, 1), 2, 4)] == [(1, 1), (0, 0)]  # no room behind the last


places_of_two = st.lists(st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2), min_size=1, max_size=5)


@settings(max_examples=40)
@given(places_of_two, st.lists(COSTS, min_size=2, max_size=2))
def test_of_two_drafters_hindsight_takes_the_best_choice_of_every_round(
    drawn: list[tuple[tuple[int, int], ...]], costs: list[list[Fraction]]
) -> None:
    """Against every sequence of choices of drafter and gamma, written down."""
    end = len(drawn)
    ways = [
        Way([Place(max(pair[j]), min(pair[j])) for pair in drawn], costs[j].__getitem__)  # type: ignore[arg-type]
        for j in range(2)
    ]

    def paths(i: int) -> list[Fraction]:
        if i >= end:
            return [Fraction(0)]
        choices = [(way, gamma) for way in ways for gamma in range(way.places[i].proposed + 1)]
        return [way.cost(gamma) + rest for way, gamma in choices for rest in paths(i + min(gamma, way.places[i].agreed) + 1)]

    most = max(way.places[0].agreed for way in ways) + 1
    assert after_first(*ways) == [(end - first, min(paths(first))) for first in range(1, min(most, end) + 1)]


def test_without_a_second_round_there_is_no_best_rate() -> None:
    assert best_rate([]) is best_rate([[]]) is best_rate([[(0, 0.0)], [(0, 0.0)]]) is None
    assert after_first(Way([], lambda _: 1.0)) == []
    assert best_rate([[(0, 0.0)], [(2, 4.0)]]) == 0.5


def test_who_goes_first_changes_and_seconds_are_medians() -> None:
    asked: list[tuple[str, tuple[int, ...], int]] = []

    def runner(name: str, prompt: tuple[int, ...], seed: int) -> Decoded:
        asked.append((name, prompt, seed))
        return Decoded((seed,), 1, float(len(asked)), float(len(asked)))

    runners = {name: functools.partial(runner, name) for name in "ab"}
    found = race([(1,), (2,)], runners, times=3, seed=5, label="")
    assert asked[:4] == [("a", (1,), 5), ("b", (1,), 5), ("b", (2,), 6), ("a", (2,), 6)]
    assert asked[4:6] == [("b", (1,), 5), ("a", (1,), 5)]
    assert [each.decode_seconds for each in found["a"]] == [6, 7]  # of 1, 6 and 9; of 4, 7 and 12


# --- profiles and pictures


def test_a_saved_profile_is_what_was_measured_and_generates(tiny: tuple[dict[str, Any], Path]) -> None:
    found, folder = tiny
    profile = Profile.load(folder / "profile.json")
    measured = {point["rows"]: point["v"]["median"] for point in found["passes"]["curves"][0]["points"]}
    assert len(profile.verify) == 16
    for rows in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16):
        assert profile.verify[rows - 1] == pytest.approx(measured[rows], abs=1e-4)
    assert profile.verify[8] == pytest.approx((measured[8] + measured[10]) / 2, abs=1e-4)
    assert profile.draft == pytest.approx(found["passes"]["draft_cost"]["c"]["median"], abs=1e-4)
    assert "tiny-target" in profile.about
    options = ["--draft", "tiny-draft", "--gamma", "auto", "--profile", str(folder / "profile.json"), "--max-new-tokens", "4"]
    assert cli.main(["generate", "ROMEO:", "--model", "tiny-target", *options]) == 0


def test_a_curve_is_flat_beyond_what_was_measured() -> None:
    points = tuple(Point(rows, Spread(v, v, v), Spread(v, v, v)) for rows, v in ((1, 1.0), (2, 1.5), (4, 1.25)))
    assert Curve(False, 96, points).verify(5) == (1, 1.5, 1.375, 1.25, 1.25, 1.25)


def test_plots_are_written(shown: tuple[str, Path]) -> None:
    if not MATPLOTLIB:
        pytest.skip("matplotlib is in the optional extra `plot`")
    pictures = {path.name: path.read_bytes() for path in shown[1].iterdir()}
    assert set(pictures) == {f"{name}.png" for name in "cost-curve speed-up acceptance context lookup".split()}
    assert all(data.startswith(b"\x89PNG") and len(data) > 10_000 for data in pictures.values())


# --- prompts


def test_the_packages_own_prompts() -> None:
    own = prompts.read(None, None)
    categories = Counter(each.category for each in own)
    expected = "writing roleplay reasoning math coding extraction stem humanities translation summarization qa math_reasoning rag"
    assert categories == dict.fromkeys(expected.split(), 2)
    assert len({each.prompt for each in own}) == 26
    assert [each.category for each in prompts.read(None, 1)] == expected.split()


def test_own_prompts_that_do_not_fit_are_left_out() -> None:
    model, own = refspec.load("tiny-target"), prompts.read(None, None)
    fitting = prompts.encode(model, own, chat=False, new_tokens=64, leave_out=True)
    assert 13 < len(fitting) < 26
    assert max(len(ids) for _, ids in fitting) + 64 <= model.config.context
    with pytest.raises(refspec.RefspecError, match="do not fit in tiny-target's context of 256; shorten the prompt"):
        prompts.encode(model, own, chat=False, new_tokens=64, leave_out=False)


def test_a_chat_goes_through_the_template(tmp_path: Path) -> None:
    model = refspec.load(write_folder(tmp_path / "toy"))
    assert prompts.has_chat(model)
    assert not prompts.has_chat(refspec.load("tiny-target"))
    given = [prompts.Prompt("one", "Hello", "here")]
    assert model.tokenizer is not None
    ((_, plain),) = prompts.encode(model, given, chat=False, new_tokens=2, leave_out=False)
    ((_, chat),) = prompts.encode(model, given, chat=True, new_tokens=2, leave_out=False)
    assert model.tokenizer.decode(plain) == "Hello"
    assert model.tokenizer.decode(chat) == "user\nHello\nassistant\n"


# --- mistakes

BAD_LINES = {
    "{": "line 1: not JSON",
    "[]": 'line 1: an object with "category" and "prompt" is needed',
    '{"prompt": "To be"}': 'line 1: an object with "category" and "prompt" is needed',
    '{"category": 3, "prompt": "To be"}': "line 1: category is 3; it is a text",
    '{"category": "a", "prompt": 3}': "line 1: prompt is 3; it is a text or a list of token ids",
    '{"category": "a", "prompt": ""}': "line 1: the prompt is empty",
    '{"category": "a", "prompt": [99999]}': "line 1: token id 99999 is not in the vocabulary",
    "\n": "has no prompts",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_prompts_file_is_one_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(line, encoding="utf-8")
    code, out, err = run("--model", "tiny-target", "--prompts", tmp_path / "prompts.jsonl")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert BAD_LINES[line] in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompts", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["--model", "nobody"], "nobody is neither a folder nor a known model"),
        (["--model", "smollm2-135m"], "run: python -m weights_tools fetch smollm2-135m"),
        (["--chat"], "this model has no chat template"),
        (["--times", "0"], "times is 0; it is at least 1"),
        (["--limit", "0"], "limit is 0; it is at least 1"),
        (["--max-new-tokens", "1"], "--max-new-tokens is 1; it is at least 2"),
        (["--max-new-tokens", "400"], "no prompt and 400 new tokens fit in tiny-target's context of 256"),
        (["--gamma", "-1"], "gamma is -1"),
        (["--gamma", "3", "--profile", "a.json"], "give both or neither"),
        (["--profile", "a.json"], "a.json: no such file"),
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--save-profile", "nowhere/a.json"], "nowhere/a.json cannot be written; its folder is not there"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], message: str) -> None:
    code, _, err = run(*options)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_texts_need_a_tokenizer_and_models_a_context(tmp_path: Path) -> None:
    silent = write_folder(tmp_path / "silent", GPT2, tokenizer=False)
    code, _, err = run("--model", silent)
    assert (code, err.count("\n")) == (2, 1)
    assert "silent has no tokenizer.json; give token ids" in err
    short = write_folder(tmp_path / "short", {**GPT2, "n_positions": 79})
    assert "short has a context of 79; measuring takes 80" in run("--model", short)[2]


def test_what_is_not_installed_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (command, peers):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert run("--plot", "there") == (2, "", "refspec: --plot needs matplotlib; run: pip install '.[plot]'\n")
    _, _, err = run("--against", "transformers")
    assert err == "refspec: --against transformers needs torch and transformers; run: pip install '.[peers]'\n"
    assert not Path("there").exists()


# --- the other side


@pytest.mark.peers
@pytest.mark.parametrize("temperature", [0, 0.7])
def test_against_transformers(temperature: float, tmp_path: Path) -> None:
    """A toy that transformers itself saved, with another as its draft."""
    torch = pytest.importorskip("torch", reason="torch is in the optional extra `peers`")
    transformers = pytest.importorskip("transformers", reason="transformers is in the optional extra `peers`")
    torch.manual_seed(0)
    for name, layers in (("target", 2), ("draft", 1)):
        config = transformers.AutoConfig.for_model(**GPT2 | {"vocab_size": 259, "n_layer": layers, "initializer_range": 0.3})
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / name)
        write_tokenizer(tmp_path / name)
    file = write_prompts(tmp_path / "prompts.jsonl", [("a", "to be or not to be"), ("b", "that is")])
    options = ["--draft", tmp_path / "draft", "--quick", "--max-new-tokens", 12, "--prompts", file, "--no-chat"]
    code, out, err = run(
        "--model", tmp_path / "target", *options, "--temperature", temperature, "--against", "transformers", "--json"
    )
    assert (code, err) == (0, "")
    against = json.loads(out, parse_constant=refuse)["against"]
    assert against["peer"]["attention"] in ("eager", "sdpa")
    pairs = [("plain", "plain"), ("speculative", "prompt lookup"), ("speculative", "assisted")]
    assert [(each["ours"], each["theirs"]) for each in against["comparisons"]] == pairs
    for each in against["comparisons"]:
        assert set(each["categories"]) == {"a", "b"}
        ratios = [ratio for ratio in each["categories"].values() if ratio is not None]
        assert each["times"] == pytest.approx(math.prod(ratios) ** (1 / len(ratios)))
        assert (each["least"], each["most"]) == (min(ratios), max(ratios))
        assert each["identical"] == (2 if temperature == 0 else None)
