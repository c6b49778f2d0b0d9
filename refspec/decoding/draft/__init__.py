"""What a drafter is, and what it proposes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from refspec.arrays import Array
from refspec.brief import by_fields, short
from refspec.decoding.chance import Chance
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.optional import optional, says
from refspec.decoding.question import Asking
from refspec.errors import BadArgument, BrokenDrafter


@dataclass(frozen=True)
class Draft:
    """n drafted tokens and the distributions they were drawn from (N6).

    tokens: n ids. probs: [n, v], row i the distribution tokens[i] was drawn from, sampling options applied, given the text, the
    tokens before it and all that the drafter goes by; None where nothing was drawn and every row is a point mass. start: the
    absolute position of tokens[0]; the loop fills it in.

    >>> import numpy as np
    >>> import refspec
    >>> draft = refspec.Draft((1,), np.array([[0.25, 0.75]]))
    >>> draft.row(0, like=np.zeros(2)).tolist()
    [0.25, 0.75]
    >>> refspec.Draft((1,)).row(0, like=np.zeros(2)).tolist()
    [0.0, 1.0]
    """

    tokens: Tokens
    probs: Array | None = None
    start: int | None = None

    __repr__ = by_fields

    def row(self, i: int, like: Array) -> Array:
        """q at position i, [v], in the number type of the target's row `like`.

        Raises BrokenDrafter where q gives the drafted token probability 0: then q is not the distribution it was drawn from (N2).
        """
        token = self.tokens[i]
        if self.probs is None:
            point_mass = np.zeros_like(like)
            point_mass[token] = 1
            return point_mass
        draft_row: Array = self.probs[i]
        if not draft_row[token] > 0:
            raise BrokenDrafter(
                f"drafted token {token} at position {i} has draft probability {draft_row[token]}; "
                "a drafter must return the distribution each token was drawn from"
            )
        return draft_row


class Drafter(Protocol):
    """Guesses what comes next. May return fewer than gamma tokens, or none, and draws only from `chance`.

    It may go by the text, by earlier rounds and by the tokens it has drawn and shows, not by a draw that it does not show
    (N6). One that calls `chance.race` says `races = True`. It races some positions again, so that it may remember of a draft
    what the text shows, but nothing of the tokens behind the rejected one, not even how many they were. So it may have no
    `learn(tokens, target_probs)`, which the loop calls after each pass, refused tokens included.

    `state`, where it has one, is a hashable that says all it carries from round to round; see `refspec.draft.state`. A drafter
    with a model may also have `asking`, the same as a generator that yields each `Question` to its model, so that the drafts
    of many texts share its passes; see `drafting`.
    """

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft: ...


def is_drafter(given: object) -> bool:
    """Whether it can propose: an object, not its class.

    >>> import refspec
    >>> from refspec.decoding.draft import is_drafter
    >>> is_drafter(refspec.NgramDrafter()), is_drafter(refspec.NgramDrafter), is_drafter("tiny-draft")
    (True, False, False)
    """
    return not isinstance(given, type) and callable(getattr(given, "propose", None))


def require_drafter(given: object, allowed: str = "an object with `propose`, such as refspec.NgramDrafter()") -> None:
    """Raises BadArgument for what is no drafter. allowed: what is one.

    >>> from refspec.decoding.draft import require_drafter
    >>> require_drafter("tiny-draft")
    Traceback (most recent call last):
    refspec.errors.BadArgument: the drafter is 'tiny-draft'; give an object with `propose`, such as refspec.NgramDrafter()
    """
    if not is_drafter(given):
        raise BadArgument(f"the drafter is {short(given)}; give {allowed}")


GoOn = Callable[[Sequence[float]], bool]  # given the chance of each guess so far to be accepted: does one more pay?


def drafting(drafter: Drafter, tokens: Tokens, gamma: int, chance: Chance, go_on: GoOn | None = None) -> Asking[Draft]:
    """What the drafter proposes, by `asking` where it has that, its questions passed on to whoever drives.

    go_on: a drafter that can tell how sure it is of each guess asks this before each, in place of counting to gamma:
    `asking_while`. A class below the one that wrote `asking` may propose otherwise: then its `propose` is what counts.

    >>> import refspec
    >>> from refspec.decoding.question import at_once
    >>> drafter = refspec.ModelDrafter(refspec.TableLM({(): [0.5, 0.5]}))
    >>> at_once(refspec.draft.drafting(drafter, (0,), 2, refspec.Tape([0.1, 0.9]))).tokens
    (0, 1)
    """
    if go_on is not None and says(drafter, "asking_while", beside="propose"):
        return (yield from drafter.asking_while(tokens, gamma, chance, go_on))  # type: ignore[attr-defined]
    if says(drafter, "asking", beside="propose"):
        return (yield from drafter.asking(tokens, gamma, chance))  # type: ignore[attr-defined]
    return drafter.propose(tokens, gamma, chance)


def cost_of(drafter: Drafter, tokens: Tokens) -> float | None:
    """What one drafted token costs, in plain decode steps, as the drafter says; None where it says nothing.

    >>> import refspec
    >>> from refspec.decoding.draft import cost_of
    >>> cost_of(refspec.NgramDrafter(), (1, 2))
    """
    cost = optional(drafter, "cost")
    return cost(tokens) if cost else None


def positions_left(language_model: LanguageModel, tokens: Tokens, gamma: int) -> int:
    """How many of gamma tokens a draft model has positions for.

    >>> import refspec
    >>> from refspec.draft import positions_left
    >>> positions_left(refspec.load("tiny-draft"), (0,) * 255, gamma=4)
    1
    """
    context: int | None = optional(language_model, "context")
    return gamma if context is None else max(0, min(gamma, context - len(tokens)))
