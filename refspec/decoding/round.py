"""What one round of the loop was: what it drafted, what it emitted and, where that was asked for, everything it looked at."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

from refspec.arrays import Array
from refspec.brief import brief, by_fields, counted, short
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import Rule, Verdict


@dataclass(frozen=True)
class Round:
    """One round. It emitted draft_tokens[:accepted] + (token,).

    A round cut by a stop token keeps that form (N9): `token` is the stop token, `draft_tokens` the accepted ones before it.
    cut: what was drafted from an accepted stop token on, that token first; empty where the stop token was not drafted. The
    token that completes a stop text is a stop token as well.
    record: what was looked at, with `record=True`. pass_rows: in a batch, how many rows the pass had that scored it, those of
    other texts included.

    >>> import refspec
    >>> made = refspec.Round(draft_tokens=(5, 6, 7), accepted=2, token=9)
    >>> made.tokens, made.drafted
    ((5, 6, 9), 3)
    """

    draft_tokens: Tokens
    accepted: int
    token: int
    record: "Record | None" = None
    cut: Tokens = ()
    pass_rows: int | None = field(default=None, compare=False)

    __repr__ = by_fields

    @property
    def drafted(self) -> int:
        """How many tokens were drafted, without those cut off."""
        return len(self.draft_tokens)

    @property
    def tokens(self) -> Tokens:
        """What the round emitted."""
        return (*self.draft_tokens[: self.accepted], self.token)


@dataclass(frozen=True)
class Generation:
    """The generated ids, without the prompt, and the rounds they came in.

    >>> import refspec
    >>> coin = refspec.TableLM({(): [0.5, 0.5]})
    >>> out = refspec.speculative(coin, None, (), gamma=0, max_new_tokens=2, chance=refspec.Tape([0.1, 0.9]))
    >>> out.tokens, len(out.rounds)
    ((0, 1), 2)
    """

    tokens: Tokens
    rounds: tuple[Round, ...]

    def __repr__(self) -> str:
        return brief(self, short(self.tokens), f"{counted(len(self.tokens), 'token')} in {counted(len(self.rounds), 'round')}")


@dataclass(frozen=True)
class Tested:
    """One question a rule asked of chance: accept(p, q), the uniform that answered it (where known), the answer."""

    p: Any
    q: Any
    u: float | None
    accepted: bool

    __repr__ = by_fields


@dataclass(frozen=True)
class Picked:
    """One token that a rule drew: from which weights [v], by which uniform (None where unknown, as in a race), and which."""

    weights: Array
    u: float | None
    token: int

    __repr__ = by_fields


@dataclass(frozen=True)
class Record:
    """What a round looked at: the draft and its distributions, the target's rows [n + 1, v], each test, the rule's answer.

    picked: what the rule drew, in order. Behind a rejection, its weights are the residual.
    """

    draft: Draft
    target_probs: Array
    tested: tuple[Tested, ...]
    verdict: Verdict
    picked: tuple[Picked, ...] = ()

    def __repr__(self) -> str:
        drafted, tested, v = len(self.draft.tokens), len(self.tested), self.target_probs.shape[-1]
        return brief(self, f"{drafted:,} drafted", f"{tested:,} tested", f"{v:,} tokens in the vocabulary")


def role(found: Round) -> str:
    """What the last token of a round is."""
    if found.cut:
        return "accepted"  # a drafted stop token
    if not found.drafted:
        return "plain"
    return "bonus" if found.accepted == found.drafted else "corrected"


def up_to_stop(draft: Draft, verdict: Verdict, stop: Collection[int]) -> Round:
    """The round that a verdict ends; where it accepts a stop token, up to that one (N9)."""
    whole = Round(draft.tokens, verdict.accepted, verdict.token, verdict.record)
    return next((up_to(whole, i) for i, token in enumerate(whole.tokens) if token in stop), whole)


def up_to(found: Round, i: int) -> Round:
    """The round, cut behind the i-th of its tokens, as N9 has it.

    >>> import refspec
    >>> from refspec.decoding.round import up_to
    >>> up_to(refspec.Round(draft_tokens=(5, 6, 7), accepted=2, token=9), 1)
    Round(draft_tokens=(5,), accepted=1, token=6, cut=(6, 7))
    """
    if i == len(found.tokens) - 1:
        return found
    drafted = found.draft_tokens + found.cut
    return replace(found, draft_tokens=drafted[:i], accepted=i, token=drafted[i], cut=drafted[i:])


def recorded(verify: Rule) -> Rule:
    """The same rule, whose verdicts carry a `Record` of what it looked at."""

    @wraps(verify)  # with the claim that the rule makes
    def rule(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        witness = Witness(chance)
        verdict = verify(draft, target_probs, witness)
        return replace(verdict, record=Record(draft, target_probs, tuple(witness.tested), verdict, tuple(witness.picked)))

    return rule


class Witness:
    """A Chance that writes down every test another one answers, and every token it draws."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self.tested: list[Tested] = []
        self.picked: list[Picked] = []

    def accept(self, p: Any, q: Any) -> bool:
        accepted = self._chance.accept(p, q)
        self.tested.append(Tested(p, q, getattr(self._chance, "u", None), accepted))
        return accepted

    def pick(self, weights: Array) -> int:
        token = self._chance.pick(weights)
        self.picked.append(Picked(weights, getattr(self._chance, "u", None), token))
        return token

    def race(self, key: int, weights: Array) -> int:
        token = self._chance.race(key, weights)
        self.picked.append(Picked(weights, None, token))
        return token
