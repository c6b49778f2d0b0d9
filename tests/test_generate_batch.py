"""`refspec.generate_batch`: an output each, in order, whatever becomes of the others."""

from typing import Any

import numpy as np
import pytest

import refspec
from refspec.batch import Batch
from refspec.decoding.draft import Draft
from refspec.errors import BadArgument, BadProbabilities, BrokenDrafter, ContextExceeded, VocabularyMismatch

PROMPTS = ["ROMEO:", "Now is the winter of our discontent", "JULIET:\nO ", "First Citizen:"]


@pytest.fixture(scope="module")
def target() -> refspec.Model:
    return refspec.load("tiny-target", row_invariant=True)


@pytest.fixture(scope="module")
def draft() -> refspec.Model:
    return refspec.load("tiny-draft", row_invariant=True)


def alone(target: refspec.Model, seeds: Any = None, **options: Any) -> list[refspec.Output]:
    return [
        refspec.generate(target, prompt, seed=i if seeds is None else seeds[i], **options) for i, prompt in enumerate(PROMPTS)
    ]


def test_each_text_is_the_one_of_its_own_prompt_and_seed(target: refspec.Model, draft: refspec.Model) -> None:
    for max_batch, options in (
        (1, {}),
        (3, {"drafter": draft, "temperature": 0.8, "top_p": 0.9}),
        (9, {"drafter": draft, "verify": refspec.verify.coupled}),
        (2, {"drafter": refspec.NgramDrafter(), "temperature": 0}),
        (3, {"drafter": lambda target: refspec.ModelDrafter(draft.language_model(target.sampling)), "gamma": 2}),
        (3, {"drafter": draft, "gamma": "auto", "temperature": 0}),
    ):
        asked: dict[str, Any] = {"max_new_tokens": 8, **options}
        together = refspec.generate_batch(target, PROMPTS, max_batch=max_batch, **asked)
        apart = alone(target, **asked)
        assert [(out.text, out.tokens) for out in together] == [(out.text, out.tokens) for out in apart]
        if options.get("gamma") != "auto":
            assert [out.rounds for out in together] == [out.rounds for out in apart]


def test_each_round_tells_how_many_rows_shared_its_pass(target: refspec.Model) -> None:
    outs = refspec.generate_batch(target, [(1, 2, 3), (4, 5), (6,)], max_new_tokens=3, max_batch=2, stop=())
    assert [[each.pass_rows for each in out.rounds] for out in outs] == [[5, 2, 2], [5, 2, 2], [1, 1, 1]]
    assert {each.pass_rows for each in refspec.generate(target, (1,), max_new_tokens=3).rounds} == {None}


def test_seeds_are_ones_own(target: refspec.Model) -> None:
    seeds = [5, 5, 7, 2]
    outs = refspec.generate_batch(target, PROMPTS, seeds=iter(seeds), max_new_tokens=8)
    assert [out.tokens for out in outs] == [out.tokens for out in alone(target, seeds, max_new_tokens=8)]
    twins = refspec.generate_batch(target, [PROMPTS[0]] * 2, max_new_tokens=20)
    assert twins[0].tokens != twins[1].tokens  # by default each has another seed


def test_a_stop_text_ends_its_text_and_no_other(target: refspec.Model) -> None:
    whole = refspec.generate_batch(target, PROMPTS, max_new_tokens=30)
    word = whole[0].text.split()[2]
    outs = refspec.generate_batch(target, PROMPTS, max_new_tokens=30, stop=[word], max_batch=2)
    assert [out.text for out in outs] == [out.text for out in alone(target, max_new_tokens=30, stop=[word])]
    assert outs[0].finish_reason == "stop"


def test_a_draft_is_named_as_for_one_text(target: refspec.Model) -> None:
    """By a model's name, or auto for the best that the package has."""
    for name in ("tiny-draft", "auto"):
        asked = {"drafter": name, "max_new_tokens": 6, "temperature": 0}
        outs = refspec.generate_batch(target, PROMPTS, **asked)
        assert [out.tokens for out in outs] == [out.tokens for out in alone(target, **asked)]


def test_a_stop_that_can_be_read_but_once_is_for_all_texts(target: refspec.Model) -> None:
    stop = range(1, 1024)  # nearly every token
    outs = refspec.generate_batch(target, PROMPTS, max_new_tokens=5, stop=iter(stop))
    assert {(len(out.tokens), out.finish_reason) for out in outs} == {(1, "stop")}


# --- what is wrong with one ---


def test_the_others_go_on(target: refspec.Model, draft: refspec.Model) -> None:
    prompts = ["ROMEO:", "", (1,) * 300, "JULIET:", (5000,), None, "LEAR:"]
    seeds = [0, 1, 2, -1, 4, 5, 6]
    outs = refspec.generate_batch(target, prompts, seeds=seeds, drafter=draft, max_new_tokens=6, max_batch=2)  # type: ignore[arg-type]
    kinds = [type(out.error) for out in outs]
    assert kinds == [type(None), BadArgument, ContextExceeded, BadArgument, BadArgument, BadArgument, type(None)]
    assert "the prompt is empty" in str(outs[1].error)
    assert "300 tokens" in str(outs[2].error)
    assert "seed is -1" in str(outs[3].error)
    assert "5000" in str(outs[4].error)
    for i in (0, 6):
        assert outs[i].tokens == refspec.generate(target, prompts[i], seed=i, drafter=draft, max_new_tokens=6).tokens
    assert (outs[1].finish_reason, outs[1].tokens, outs[1].stats.tokens) == ("error", (), 0)
    assert repr(outs[1]).startswith("Output(BadArgument(")


class Fails(refspec.NgramDrafter):
    """Breaks its contract in long texts."""

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        return None if len(tokens) > 9 else super().propose(tokens, gamma, chance)  # type: ignore[return-value]


def test_a_text_that_breaks_off_keeps_what_it_has(target: refspec.Model) -> None:
    outs = refspec.generate_batch(target, [(1, 2, 3), (1,) * 8], drafter=Fails, max_new_tokens=5, stop=())
    assert (outs[0].error, outs[0].finish_reason) == (None, "length")
    assert isinstance(outs[1].error, BrokenDrafter)
    assert (outs[1].finish_reason, len(outs[1].tokens)) == ("error", 2)


def test_logits_that_overflow_end_their_own_text(target: refspec.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of the text that has token 9 in it."""
    right = type(target.network).forward_packed

    def overflowing(self: Any, texts: Any) -> Any:
        logits, row = right(self, texts), 0
        for text in texts:
            logits[row : row + text.last] += np.inf if 9 in text.tokens else 0
            row += text.last
        return logits

    monkeypatch.setattr(type(target.network), "forward_packed", overflowing)
    outs = refspec.generate_batch(target, [(1, 2), (9,), (3,)], temperature=0, max_new_tokens=1, stop=())
    assert [type(out.error) for out in outs] == [type(None), BadProbabilities, type(None)]


# --- what is wrong with all ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max_batch is 0; it is a whole number, at least 1"),
        ({"max_batch": 2.5}, r"max_batch is 2\.5"),
        ({"seeds": [1]}, "there are 1 seeds for 4 prompts"),
        ({"temperature": -1}, "temperature is -1"),
        ({"gamma": -1}, "gamma is -1"),
        ({"max_new_tokens": -1}, "max_new_tokens is -1"),
        ({"drafter": 7}, "the drafter is 7"),
    ],
)
def test_a_bad_option_is_an_error_of_the_call(target: refspec.Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        refspec.generate_batch(target, PROMPTS, **options)


def test_what_no_prompt_can_help_is_an_error_of_the_call(target: refspec.Model) -> None:
    with pytest.raises(VocabularyMismatch):
        refspec.generate_batch(target, PROMPTS, drafter=refspec.TableLM({(): [0.5, 0.5]}))
    with pytest.raises(BadArgument, match="prompts is 'ROMEO:'; give a list of prompts"):
        refspec.generate_batch(target, "ROMEO:")
    with pytest.raises(TypeError, match="max_token"):
        refspec.generate_batch(target, PROMPTS, max_token=3)


def test_no_prompts_no_outputs(target: refspec.Model) -> None:
    assert refspec.generate_batch(target, []) == []


# --- whose is what ---


class Remembers:
    """A drafter with a state: what it drafts tells which texts it has seen."""

    def __init__(self) -> None:
        self.texts: set[tuple[int, ...]] = set()

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        self.texts.add(tokens[:1])
        return Draft((len(self.texts),) if gamma else ())


def test_a_drafter_that_is_given_as_an_object_is_copied_for_each_text(target: refspec.Model) -> None:
    drafter = Remembers()
    outs = refspec.generate_batch(target, [(1,), (2,), (3,)], drafter=drafter, max_new_tokens=6, stop=())
    assert {each.draft_tokens for out in outs for each in out.rounds} <= {(1,), ()}
    assert drafter.texts == set()


def test_a_model_behind_a_drafter_is_shared_and_its_cache_is_not(target: refspec.Model, draft: refspec.Model) -> None:
    model = draft.language_model()
    drafter = refspec.ModelDrafter(model)
    outs = refspec.generate_batch(target, PROMPTS, drafter=drafter, max_new_tokens=8)
    assert [out.tokens for out in outs] == [out.tokens for out in alone(target, drafter=draft, max_new_tokens=8)]
    assert model.cache.length == 0
    of_one_cache = refspec.generate_batch(target.language_model(), [(1, 2), (3, 4)], drafter=drafter, max_new_tokens=8)
    assert [out.tokens for out in of_one_cache] == [
        refspec.generate(target, prompt, seed=i, drafter=draft, stop=(), max_new_tokens=8).tokens
        for i, prompt in enumerate([(1, 2), (3, 4)])
    ]


class Lone(refspec.NgramDrafter):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("there is only one")


def test_a_drafter_that_cannot_be_copied_is_refused(target: refspec.Model) -> None:
    with pytest.raises(BadArgument, match=r"Lone cannot be copied for each text \(there is only one\); give its class"):
        refspec.generate_batch(target, PROMPTS, drafter=Lone())
    assert refspec.generate_batch(target, PROMPTS[:1], drafter=Lone, max_new_tokens=2)[0].error is None


def test_those_that_have_ended_are_let_go(target: refspec.Model) -> None:
    begin = [lambda n=n: refspec.stream(target, "ROMEO:", max_new_tokens=n, stop=()) for n in (2, 7, 2, 2)]
    batch = Batch(begin, max_batch=2)
    assert [(number, sorted(batch.runs)) for number, _ in batch] == [(0, [1]), (2, [1]), (3, [1]), (1, [])]
