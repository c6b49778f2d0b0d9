"""A text is a function of its prompt, its seed and the options: not of what its target, or its drafter, has read before (N11)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from speculators import write_speculator
from test_eagle import write_head

import refspec
from refspec.decoding.draft.held import held
from refspec.decoding.draft.several import Several
from refspec.errors import BadArgument
from refspec.models.drafts import load_draft

Make = Callable[[Path, Any], Any]  # from a folder of folders and a target to a drafter

KINDS: dict[str, Make] = {
    "none": lambda folder, target: None,
    "lookup": lambda folder, target: refspec.NgramDrafter(),
    "model": lambda folder, target: refspec.ModelDrafter(refspec.load(folder / "target").language_model()),
    "eagle": lambda folder, target: load_draft(folder / "eagle")(target),  # type: ignore[operator]
    "mlp": lambda folder, target: load_draft(folder / "mlp")(target),  # type: ignore[operator]
    "both": lambda folder, target: Several(refspec.NgramDrafter(), KINDS["eagle"](folder, target)),
    "in a list": lambda folder, target: Wrapped([Several(KINDS["eagle"](folder, target))]),
}


class Wrapped:
    """A stranger's drafter, which hands on what the first that it holds proposes."""

    state = None

    def __init__(self, own: list[Any]) -> None:
        self.own = own

    def propose(self, tokens: Any, gamma: int, chance: refspec.Chance) -> refspec.Draft:
        return self.own[0].propose(tokens, gamma, chance)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("apart")
    write_folder(path / "target", tokenizer=False)
    write_head(path / "eagle")
    write_speculator(path / "mlp", 32, 264)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> refspec.Model:
    return refspec.load(folder / "target")


prompts = st.lists(st.integers(0, 3), min_size=1, max_size=12).map(tuple)


@pytest.mark.parametrize("kind", KINDS)
@given(before=st.lists(prompts, min_size=1, max_size=2), prompt=prompts, seed=st.integers(0, 9))
@settings(max_examples=5, deadline=None)
def test_nothing_of_an_earlier_text_shows(kind: str, before: Any, prompt: Any, seed: int, folder: Path, model: Any) -> None:
    """With the very drafter, and with one that is made anew for the target; by `generate` and by `speculative`."""
    options: dict[str, Any] = {"gamma": 3, "max_new_tokens": 12}

    def texts(target: Any, drafter: Any, given: Any) -> tuple[Any, ...]:
        by_ids = refspec.speculative(target, drafter, given, chance=refspec.Seeded(seed), record=True, **options)
        by_hand = refspec.autoregressive(target, given, max_new_tokens=12, chance=refspec.Seeded(seed))
        run = refspec.generate(target, given, drafter=drafter, seed=seed, stop=(), **options)
        rows = [each.record.draft.probs.tolist() for each in by_ids.rounds if each.record and each.record.draft.probs is not None]
        return (
            by_ids.tokens,
            [each.drafted for each in by_ids.rounds],
            rows,
            by_hand,
            run.tokens,
            [each.drafted for each in run.rounds],
        )

    def fresh() -> tuple[Any, Any]:
        return (target := model.language_model()), KINDS[kind](folder, target)

    wanted = texts(*fresh(), prompt)
    target, drafter = fresh()
    for text in before:
        texts(target, drafter, text)
    assert texts(target, drafter, prompt) == wanted, "to the bit, the laws of the drafts too"
    assert texts(target, KINDS[kind](folder, target), prompt) == wanted


def test_a_stream_that_has_not_begun_takes_nothing_from_one_under_way(folder: Path, model: Any) -> None:
    lm = model.language_model()
    options: dict[str, Any] = {"drafter": folder / "eagle", "max_new_tokens": 20, "stop": ()}
    one = refspec.stream(lm, (1, 2), **options)
    other = refspec.stream(lm, (3, 4), **options)
    found = [[each.round.tokens for each in run] for run in (one, other)]
    alone = [[each.tokens for each in refspec.generate(model, prompt, **options).rounds] for prompt in ((1, 2), (3, 4))]
    assert found == alone


WRAPS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda head: head,
    "one of several": lambda head: Several(refspec.NgramDrafter(), head),
    "several of several": lambda head: Several(Several(refspec.NgramDrafter(), Several(head))),
    "a bet": lambda head: refspec.AdaptiveDrafter(head, refspec.Profile((1, 1.1), 0)),
    "a bet on several": lambda head: refspec.AdaptiveDrafter(Several(head), refspec.Profile((1, 1.1), 0)),
    "a stranger's": lambda head: Wrapped([refspec.NgramDrafter(), head]),
    "by a function": lambda head: lambda target: Several(head),
}


@pytest.mark.parametrize("kind", ["eagle", "mlp"])
@pytest.mark.parametrize("wrap", WRAPS)
def test_a_head_of_another_target_is_refused_however_deep_it_lies(kind: str, wrap: str, folder: Path, model: Any) -> None:
    """It would read what nobody writes, and draft nothing without a word."""
    target = model.language_model()
    drafter = WRAPS[wrap](KINDS[kind](folder, target))
    own = refspec.generate(target, (1, 2), drafter=drafter, max_new_tokens=6, stop=())
    assert len(own.tokens) == 6
    for other in (model, model.language_model()):
        with pytest.raises(BadArgument, match="this one is another's; give the head's folder"):
            refspec.generate(other, (1, 2), drafter=drafter, max_new_tokens=6)
        with pytest.raises(BadArgument, match="this one is another's; give the head's folder"):
            refspec.speculative(other, drafter, (1, 2), gamma=2, max_new_tokens=6, chance=refspec.Seeded(0))


def test_a_drafter_that_holds_itself_is_looked_at_once() -> None:
    drafter = Wrapped([refspec.NgramDrafter()])
    drafter.own.append(drafter)
    assert list(held(drafter)) == [drafter, drafter.own[0]]
