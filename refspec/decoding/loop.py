"""The loop: speculative decoding as in arXiv 2211.17192, Algorithm 1.

Draft, score, verify, keep; then again. There is no special case for the prompt, for full acceptance or for an empty
draft: a `LanguageModel` scores whatever it is shown, and the rule always ends a round with one token of the target's.
The same lines run on float64 rows and on rows of Fractions.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from refspec.arrays import Array
from refspec.decoding import verify as rules
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, Drafter, checked
from refspec.decoding.lm import LanguageModel, Tokens, require_laws, require_same_vocabulary
from refspec.errors import BadArgument, BadProbabilities, BrokenRule


@dataclass(frozen=True)
class Tested:
    """One question a rule asked of chance: accept(p, q), the uniform that answered it (where known), the answer."""

    p: Any
    q: Any
    u: float | None
    accepted: bool


@dataclass(frozen=True)
class Record:
    """What a round looked at, kept on request: the draft and its laws, the target's rows [n + 1, v], and each test."""

    draft: Draft
    target_probs: Array
    tested: tuple[Tested, ...]


@dataclass(frozen=True)
class Round:
    """One round. It emitted draft_tokens[:accepted] + (token,).

    exact: False where an inexact rule decided it, so that the text does not have the target's law.
    A round cut by a stop token keeps that form: `token` is the stop token, `draft_tokens` the accepted ones before it.
    cut: what was drafted from an accepted stop token on, that token first; empty where the stop token was not drafted (N9).
    """

    draft_tokens: Tokens
    accepted: int
    token: int
    exact: bool = True
    record: Record | None = None
    cut: Tokens = ()

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
    """The generated ids, without the prompt, and the rounds they came in."""

    tokens: Tokens
    rounds: tuple[Round, ...]


def speculative(
    target: LanguageModel,
    drafter: Drafter,
    prompt: Sequence[int],
    *,
    gamma: int,
    max_new_tokens: int,
    stop: Collection[int] = (),
    chance: Chance,
    verify: rules.Rule = rules.token,
    record: bool = False,
) -> Generation:
    """Decode with a drafter: the law of the tokens is the target's own, as `autoregressive` has it.

    gamma: drafted tokens a round, >= 0. stop: ids that end the text. record: keep each round's rows and tests.
    """
    kept = tuple(
        rounds(
            target,
            drafter,
            prompt,
            gamma=gamma,
            max_new_tokens=max_new_tokens,
            stop=stop,
            chance=chance,
            verify=verify,
            record=record,
        )
    )
    return Generation(tuple(token for each in kept for token in each.tokens), kept)


def rounds(
    target: LanguageModel,
    drafter: Drafter,
    prompt: Sequence[int],
    *,
    gamma: int,
    max_new_tokens: int,
    stop: Collection[int] = (),
    chance: Chance,
    verify: rules.Rule = rules.token,
    record: bool = False,
) -> Iterator[Round]:
    """The loop itself, a round at a time. Quoted: the steps of arXiv 2211.17192, Algorithm 1 (SpeculativeDecodingStep)."""
    if gamma < 0:
        raise BadArgument(f"gamma is {gamma}; it is the number of drafted tokens a round, at least 0")
    if max_new_tokens < 0:
        raise BadArgument(f"max_new_tokens is {max_new_tokens}; it is at least 0")
    if hasattr(drafter, "language_model"):
        require_same_vocabulary(target, drafter.language_model)
    if getattr(verify, "looks_ahead", False) and getattr(drafter, "races", False):
        raise BadArgument(
            f"{getattr(verify, '__name__', 'this')} verification does not keep the target's law behind {type(drafter).__name__}, "
            "which races (N6); take a ModelDrafter, or the token or the coupled rule"
        )

    tokens = tuple(prompt)
    end = len(tokens) + max_new_tokens
    while len(tokens) < end:
        # "Sample gamma guesses from M_q": one place fewer than is free, since the round's own token needs one (N9)
        room = min(gamma, end - len(tokens) - 1)
        draft = checked(drafter.propose(tokens, room, chance), tokens, room, target.vocab_size)

        # "Run M_p in parallel": the text, and the text with every prefix of the draft, in one call
        target_probs = target.probs(tokens + draft.tokens, last=len(draft.tokens) + 1)
        shape = len(draft.tokens) + 1, target.vocab_size
        require_laws(target_probs, shape, len(tokens), "target", BadProbabilities)

        # "Determine the number of accepted guesses n", "adjust the distribution from M_p if needed", and draw from it
        witness = Witness(chance) if record else chance
        verdict = verify(draft, target_probs, witness)
        if not (0 <= verdict.accepted <= len(draft.tokens) and 0 <= verdict.token < target.vocab_size):
            raise BrokenRule(f"the rule answered {verdict} to a draft of {len(draft.tokens)} tokens")

        # "Return one token from M_p, and n tokens from M_q"
        emitted = (*draft.tokens[: verdict.accepted], verdict.token)
        kept = until_stop(emitted, stop)
        shown = len(draft.tokens) if kept == emitted else len(kept) - 1
        tokens += kept
        yield Round(
            draft.tokens[:shown],
            len(kept) - 1,
            kept[-1],
            verdict.exact,
            Record(draft, target_probs, tuple(witness.tested)) if isinstance(witness, Witness) else None,
            cut=draft.tokens[shown:],
        )
        if kept[-1] in stop:
            return


def until_stop(tokens: Tokens, stop: Collection[int]) -> Tokens:
    """The tokens up to the first stop token, which is kept (N9)."""
    for i, token in enumerate(tokens):
        if token in stop:
            return tokens[: i + 1]
    return tokens


class Witness:
    """A Chance that writes down every test another one answers."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self.tested: list[Tested] = []

    def accept(self, p: Any, q: Any) -> bool:
        accepted = self._chance.accept(p, q)
        self.tested.append(Tested(p, q, getattr(self._chance, "u", None), accepted))
        return accepted

    def pick(self, weights: Array) -> int:
        return self._chance.pick(weights)

    def race(self, key: int, weights: Array) -> int:
        return self._chance.race(key, weights)
