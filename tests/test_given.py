"""What may be given for a model, a drafter and a prompt, and the one line that anything else gets."""

import inspect
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refspec
from refspec.compose import fed_by
from refspec.decoding.draft.recycling import RecyclingDrafter
from refspec.decoding.draft.several import Several
from refspec.errors import BadArgument, BadProfile, BadWeights, ModelNotFound, attempted
from refspec.models.drafts import best_for, load_draft
from refspec.models.eagle_drafter import EagleDrafter
from refspec.models.home import find
from refspec.models.speculator import SpeculatorDrafter

HALF = Fraction(1, 2)
TABLE = refspec.TableLM({(): [0.5, 0.5], (0,): [0.25, 0.75]})
EXACT = refspec.TableLM({(): [HALF, HALF]})
PROMPT = (10, 20, 30)


@pytest.fixture(scope="module")
def target() -> refspec.Model:
    return refspec.load("tiny-target")


@pytest.fixture(scope="module")
def draft() -> refspec.Model:
    return refspec.load("tiny-draft")


def speculated(target: Any, drafter: Any, **options: Any) -> tuple[int, ...]:
    asked = {"gamma": 2, "max_new_tokens": 6, "chance": refspec.Seeded(3), **options}
    return refspec.speculative(target, drafter, PROMPT, **asked).tokens


def test_a_name_a_folder_a_model_and_its_language_model_are_one_target(target: refspec.Model) -> None:
    plain = [
        refspec.autoregressive(each, PROMPT, max_new_tokens=5, chance=refspec.Seeded(1))
        for each in ("tiny-target", find("tiny-target"), target, target.language_model())
    ]
    assert len(plain[0]) == 5
    assert plain == [plain[0]] * 4
    assert (
        len({speculated(each, "tiny-draft") for each in ("tiny-target", find("tiny-target"), target, target.language_model())})
        == 1
    )


def test_a_name_a_model_its_language_model_and_a_drafter_are_one_drafter(target: refspec.Model, draft: refspec.Model) -> None:
    made = refspec.ModelDrafter(draft.language_model())
    ways = ("tiny-draft", find("tiny-draft"), draft, draft.language_model(), made, lambda _: made)
    assert len({speculated(target, each) for each in ways}) == 1


def test_a_class_is_made_from_nothing_or_from_the_target(target: refspec.Model) -> None:
    assert speculated(target, refspec.NgramDrafter) == speculated(target, refspec.NgramDrafter())
    itself = refspec.speculative(TABLE, refspec.ModelDrafter, (), gamma=3, max_new_tokens=8, chance=refspec.Seeded(0))
    assert itself.tokens
    assert all(each.accepted == each.drafted for each in itself.rounds)  # q is p


def test_a_model_races_where_the_rule_does(draft: refspec.Model, target: refspec.Model) -> None:
    texts = {speculated(target, draft, gamma=gamma, verify=refspec.verify.coupled) for gamma in (0, 1, 3)}
    assert len(texts) == 1
    # a draft by the target itself is always right, if it races on the target's noise
    asked = {"gamma": 3, "max_new_tokens": 12, "chance": refspec.Seeded(3), "verify": refspec.verify.coupled}
    assert all(each.accepted == each.drafted for each in refspec.speculative(target, target, PROMPT, **asked).rounds)


def test_a_draft_model_shares_the_targets_sampling(target: refspec.Model, draft: refspec.Model) -> None:
    run = refspec.speculative(
        target.language_model(top_k=3), draft, PROMPT, gamma=3, max_new_tokens=8, chance=refspec.Seeded(0), record=True
    )
    rows = [each.record.draft.probs for each in run.rounds if each.record and each.record.draft.tokens]
    assert rows
    assert all(((row > 0).sum(axis=-1) == 3).all() for row in rows)


def test_a_model_is_a_language_model_at_temperature_1(target: refspec.Model) -> None:
    assert (target.vocab_size, target.context) == (1024, 256)
    other = target.language_model(refspec.Sampling())
    assert (target.probs(PROMPT, last=2) == other.probs(PROMPT, last=2)).all()
    assert target.language_model(temperature=0.5).sampling == refspec.Sampling(temperature=0.5)
    with pytest.raises(BadArgument, match="was given, and top_k beside it; give one or the other"):
        target.language_model(refspec.Sampling(), top_k=3)


def test_generate_takes_a_language_model_and_ids() -> None:
    out = refspec.generate(TABLE, (0,), drafter=TABLE, max_new_tokens=5)
    assert (len(out.tokens), out.text, out.finish_reason) == (5, None, "length")
    for options in ({"temperature": 0.5}, {"top_k": 1}, {"top_p": 0.5}, {"min_p": 0.5}):
        with pytest.raises(BadArgument, match="needs a Model; TableLM gives probabilities: leave the sampling options out"):
            refspec.generate(TABLE, (0,), **options)
    with pytest.raises(BadArgument, match="TableLM has no tokenizer"):
        refspec.generate(TABLE, "text")


def test_sequence_law_takes_the_same() -> None:
    wanted = {(a, b): HALF * HALF for a in (0, 1) for b in (0, 1)}
    for drafter in (EXACT, refspec.ModelDrafter, refspec.ModelDrafter(EXACT), None):
        assert refspec.sequence_law(EXACT, drafter, gamma=1, max_new_tokens=2) == wanted
    assert refspec.sequence_law(EXACT, EXACT, (), gamma=1, max_new_tokens=2, verify=refspec.verify.coupled) == wanted


class ProbsAlone:
    def probs(self, tokens: tuple[int, ...], last: int = 1) -> np.ndarray:
        return np.ones((last, 1))


@pytest.mark.parametrize("model", [None, 7, b"tiny-target", refspec.TableLM, ProbsAlone(), ["tiny-target"]])
def test_what_is_no_model_is_refused(model: Any) -> None:
    for ask in (
        lambda: refspec.generate(model, (0,)),
        lambda: refspec.autoregressive(model, (0,), max_new_tokens=1, chance=refspec.Seeded(0)),
        lambda: speculated(model, None),
        lambda: refspec.sequence_law(model, None, gamma=1, max_new_tokens=1),
    ):
        with pytest.raises(BadArgument, match=r"the model is .*; give a Model, its name such as \"tiny-target\""):
            ask()


@pytest.mark.parametrize("drafter", [7, b"x", ["tiny-draft"], lambda target: 7, dict])
def test_what_is_no_drafter_is_refused(drafter: Any) -> None:
    with pytest.raises(BadArgument, match=r"the drafter is .*; give a Drafter, its class, a Model or its name"):
        refspec.speculative(TABLE, drafter, (), gamma=1, max_new_tokens=1, chance=refspec.Seeded(0))


PROFILE = refspec.Profile((1, 1.1), 0)
LOOKUP = refspec.NgramDrafter()
NOT_DRAFTERS: list[Any] = [
    None,
    7,
    "tiny-draft",
    Path("tiny-draft"),
    refspec.NgramDrafter,
    refspec.ModelDrafter,
    TABLE,
    dict,
    [LOOKUP],
]


@pytest.mark.parametrize("other", NOT_DRAFTERS, ids=str)
def test_what_holds_drafters_holds_nothing_else(other: Any) -> None:
    for ask in (
        lambda: Several(other),
        lambda: Several(LOOKUP, other),
        lambda: refspec.AdaptiveDrafter(other, PROFILE),
        lambda: refspec.generate(TABLE, (0,), drafter=lambda _: other),
    ):
        with pytest.raises(BadArgument, match=r"the drafter is .*; give "):
            ask()


DRAFTER_CLASSES = [
    EagleDrafter, SpeculatorDrafter, refspec.AdaptiveDrafter, Several, RecyclingDrafter, refspec.NgramDrafter,
    refspec.ModelDrafter,
    refspec.CoupledDrafter,
]  # fmt: skip


@pytest.mark.parametrize("kind", DRAFTER_CLASSES)
def test_a_class_or_a_function_that_needs_more_than_the_target_is_refused(kind: Any) -> None:
    """Every class of drafters is made, or told of in one line; so is a function."""
    outcome = attempted(lambda: refspec.generate(TABLE, (0,), drafter=kind, max_new_tokens=3))
    assert isinstance(outcome, BadArgument | refspec.Output)
    for function in (lambda: LOOKUP, lambda target, more: LOOKUP):
        with pytest.raises(BadArgument, match=r"<lambda> cannot be made from the target alone: it takes (nothing|target, more);"):
            refspec.generate(TABLE, (0,), drafter=function)


def test_a_part_of_the_wrong_kind_is_named() -> None:
    for ask, message in (
        (lambda: refspec.generate(TABLE, (0,), drafter=EagleDrafter), r"EagleDrafter cannot be made from the target alone"),
        (lambda: refspec.AdaptiveDrafter(LOOKUP, None), "profile is None; give a refspec.Profile"),
        (lambda: refspec.generate(TABLE, (0,), gamma="auto", profile="x"), "profile is 'x'; give a refspec.Profile"),
        (lambda: refspec.generate(TABLE, (0,), gamma="auto", profile=""), "profile is ''; give a refspec.Profile"),
        (lambda: refspec.NgramDrafter(table="tab"), "table is 'tab'; give a Table, or the folder of one as the drafter"),
        (lambda: load_draft(None), "the name of a model is None; give a folder or a known name"),
        (lambda: best_for("tiny-target"), r"'tiny-target' is none: give model.language_model\(\)"),
    ):
        with pytest.raises(BadArgument, match=message):
            ask()  # type: ignore[no-untyped-call]


costs = st.none() | st.text(max_size=2) | st.booleans() | st.floats() | st.integers(-1, 3) | st.fractions()


@given(
    st.dictionaries(st.sampled_from(["verify", "draft", "far", "contexts", "gb_per_second", "heads"]), costs | st.lists(costs))
)
def test_a_profile_of_anything_is_one_or_is_refused(fields: dict[str, Any]) -> None:
    """And one that is made works."""
    profile = attempted(lambda: refspec.Profile(**{"verify": (1, 1.1), "draft": 0.1, **fields}))
    assert isinstance(profile, BadProfile | refspec.Profile)
    if isinstance(profile, refspec.Profile):
        assert profile.behind(100)
        assert profile.digest


def test_a_head_that_knows_only_what_pads_is_refused() -> None:
    for kind in (EagleDrafter, SpeculatorDrafter):
        head = SimpleNamespace(ids=np.array([3, 4]), new_cache=lambda: None)
        with pytest.raises(BadWeights, match="knows only ids that pad the vocabulary, whose tokens are 0 to 1; train it again"):
            kind(head, TABLE)  # type: ignore[arg-type]


def test_a_name_that_nothing_has_says_which_names_there_are(target: refspec.Model) -> None:
    for ask in (
        lambda: refspec.generate("tiny-targt", (0,)),
        lambda: refspec.generate(target, (0,), drafter=Path("no-such-model")),
    ):
        with pytest.raises(ModelNotFound, match="tiny-target"):
            ask()


@pytest.mark.parametrize("prompt", [7, None, [1.5], ["a"]])
def test_a_prompt_is_ids(prompt: Any) -> None:
    with pytest.raises(BadArgument, match="neither a text nor a sequence of whole-number ids"):
        refspec.autoregressive(TABLE, prompt, max_new_tokens=1, chance=refspec.Seeded(0))
    assert refspec.autoregressive(TABLE, np.array([0, 1]), max_new_tokens=1, chance=refspec.Tape([0.1])) == (0,)


def test_generate_shows_the_options_of_stream() -> None:
    ours, theirs = (inspect.signature(each) for each in (refspec.generate, refspec.stream))
    assert list(ours.parameters) == list(theirs.parameters)
    assert (ours.return_annotation, theirs.return_annotation) == (refspec.Output, type(refspec.stream(TABLE, (0,))))
    for call in (refspec.generate, refspec.stream):
        with pytest.raises(TypeError, match=rf"{call.__name__}\(\) got an unexpected keyword argument 'draft'"):
            call(TABLE, (0,), draft=None)  # type: ignore[call-arg]


def test_fed_by_passes_everything_on() -> None:
    def first(a: int, *, b: int = 2) -> tuple[int, int]:
        return a, b

    @fed_by(first)
    def then(pair: tuple[int, int]) -> int:
        return sum(pair)

    assert (then(1), then(1, b=5), then.__name__) == (3, 6, "then")
    with pytest.raises(TypeError, match=r"then\(\) got an unexpected keyword argument 'c'"):
        then(1, c=3)  # type: ignore[call-arg]
