"""The loop as a conversation: what it asks, in which order, and that a drafter of one's own is heard by its `propose`."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import refspec
from refspec.decoding.draft import Draft, drafting
from refspec.decoding.loop import rounds, steps
from refspec.decoding.question import Question, answered, at_once

TARGET = refspec.TableLM({(): [0.5, 0.3, 0.2], (0,): [0.1, 0.6, 0.3]})
DRAFT = refspec.TableLM({(): [0.2, 0.5, 0.3], (0,): [0.3, 0.3, 0.4]})


def conversation(drafter: Any, **options: Any) -> list[Any]:
    coming = steps(TARGET, drafter, (0,), chance=refspec.Seeded(0), **options)
    found, rows = [], None
    while True:
        try:
            found.append(coming.send(rows))
        except StopIteration:
            return found
        rows = found[-1].answer() if isinstance(found[-1], Question) else None


def test_a_round_asks_for_each_drafted_token_and_then_once_for_all() -> None:
    talk = conversation(refspec.ModelDrafter(DRAFT), gamma=2, max_new_tokens=3)
    asked = [(each.language_model, len(each.tokens), each.last) for each in talk[:3]]
    assert asked == [(DRAFT, 1, 1), (DRAFT, 2, 1), (TARGET, 3, 3)]
    assert isinstance(talk[3], refspec.Round)
    assert [each for each in talk if isinstance(each, refspec.Round)] == list(
        rounds(TARGET, refspec.ModelDrafter(DRAFT), (0,), gamma=2, max_new_tokens=3, chance=refspec.Seeded(0))
    )


def test_a_bet_passes_the_questions_of_its_drafter_on() -> None:
    profile = refspec.Profile(verify=(1, 1, 1), draft=0)
    talk = conversation(refspec.AdaptiveDrafter(refspec.ModelDrafter(DRAFT), profile), gamma=2, max_new_tokens=3)
    assert [each.language_model for each in talk[:3]] == [DRAFT, DRAFT, TARGET]


class Dropped(refspec.ModelDrafter):
    """Written when there was only `propose`."""

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        draft = super().propose(tokens, gamma, chance)
        return Draft(draft.tokens[:1], draft.probs[:1])


class Askew(Dropped):
    def asking(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Any:
        yield Question(TARGET, tokens)
        return Draft((2,))


def test_what_a_class_wrote_last_is_what_counts() -> None:
    def drafted(drafter: Any) -> tuple[int, ...]:
        return at_once(drafting(drafter, (0,), 2, refspec.Tape([0.1, 0.9, 0.9]))).tokens

    whole = drafted(refspec.ModelDrafter(DRAFT))
    assert len(whole) == 2
    assert drafted(Dropped(DRAFT)) == whole[:1]
    assert drafted(Askew(DRAFT)) == (2,)
    by_hand = refspec.ModelDrafter(DRAFT)
    by_hand.propose = lambda tokens, gamma, chance: Draft((1,))  # type: ignore[method-assign]
    assert drafted(by_hand) == (1,)


def test_what_asks_at_once_is_what_proposes() -> None:
    for drafter in (refspec.ModelDrafter(DRAFT, Fraction(1, 3)), refspec.CoupledDrafter(DRAFT)):
        proposed = drafter.propose((0, 1), 4, refspec.Seeded(3))
        asked = at_once(drafter.asking((0, 1), 4, refspec.Seeded(3)))
        assert proposed.tokens == asked.tokens
        assert np.array_equal(proposed.probs, asked.probs)


class Exhausted:
    """A model that is broken in the one way that a generator could take for its end."""

    vocab_size = 3

    def probs(self, tokens: tuple[int, ...], last: int = 1) -> Any:
        raise StopIteration


def test_no_error_of_a_model_is_taken_for_the_end_of_the_text() -> None:
    coming = answered(steps(Exhausted(), refspec.ModelDrafter(DRAFT), (0,), gamma=0, max_new_tokens=3, chance=refspec.Seeded(0)))
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(coming)
