"""Check a rule exactly on randomly drawn models: enumerate the production loop on each, and compare with plain decoding.

This proves nothing of the models that were not drawn; `docs/exactness.md` has the proofs. Every number is a Fraction: a largest
difference of 0 is the integer zero, not a small float.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from refspec.decoding import verify
from refspec.decoding.chance import Chance, Seeded
from refspec.decoding.draft import Drafter
from refspec.decoding.draft.coupled import CoupledDrafter
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.lm import LanguageModel, TableLM, Tokens
from refspec.decoding.loop import rounds
from refspec.errors import BadArgument, CannotMerge
from refspec.numeric import whole
from refspec.proof import theory
from refspec.proof.exact import Rounds, law, sequence_law, total_variation

# The acceptance of one drafted token as theory.py has it, by rule; a mutant promises what the real rule does.
PREDICTED: dict[str, Callable[[Any, Any], Any]] = {
    "token": theory.token_acceptance,
    "block": theory.token_acceptance,
    "sample-match": theory.sample_match_acceptance,
    "coupled": theory.coupled_acceptance,
    "inexact-lenience": lambda p, q: theory.lenience_acceptance(p, q, Fraction(1, 2)),
}


@dataclass(frozen=True)
class Claim:
    """What is to be checked: that this rule, in this loop behind such a drafter, keeps the target's distribution.

    name: what it is called. promises: the rule whose acceptance it should have. drafter: makes one of the draft model.
    """

    name: str
    promises: str
    rule: verify.Rule
    rounds: Rounds
    drafter: Callable[[LanguageModel], Drafter]


@dataclass(frozen=True)
class Finding:
    """One model: sizes, the two comparisons, and how long the enumeration took."""

    model: int
    paths: int
    outcomes: int
    largest_difference: Fraction
    total_variation: Fraction
    acceptance_measured: Fraction
    acceptance_predicted: Fraction | None
    seconds: float


def claim_of(rule: str) -> Claim:
    """The production code under the rule of this name, behind the drafter that the rule is for."""
    return Claim(rule, rule, verify.RULES[rule], rounds, CoupledDrafter if rule == "coupled" else ModelDrafter)


def survey(claim: Claim, *, vocab: int, gamma: int, horizon: int, models: int, seed: int) -> Iterator[Finding]:
    """One finding for each of so many randomly drawn pairs of models, as it comes.

    vocab: tokens in the vocabulary. gamma: drafted tokens a round. horizon: tokens of text. seed: of the models. Raises
    BadArgument for a size that is out of range or too large, EnumerationLimit for an enumeration that has too many paths.

    >>> from refspec.proof.survey import claim_of, survey
    >>> (found,) = survey(claim_of("token"), vocab=2, gamma=1, horizon=2, models=1, seed=0)
    >>> found.outcomes, found.largest_difference, found.acceptance_measured == found.acceptance_predicted
    (3, Fraction(0, 1), True)
    """
    for name, value, least in (("vocab", vocab, 1), ("gamma", gamma, 0), ("horizon", horizon, 1), ("models", models, 1)):
        whole(name, value, least)
    if horizon > 100 or vocab ** (horizon + 1) > 100_000:
        raise BadArgument(
            f"horizon is {horizon} with a vocabulary of {vocab}: rows too many to enumerate; vocabulary ** (horizon + 1) is at "
            "most 100,000, and the horizon at most 100"
        )
    chance = Seeded(seed)
    for model in range(1, models + 1):
        target, draft = random_table(chance, vocab, horizon), random_table(chance, vocab, horizon)
        drafter = claim.drafter(draft)
        paths = 0

        def counted(*args: Any, **options: Any) -> Any:
            nonlocal paths
            paths += 1
            return claim.rounds(*args, **options)

        started = time.perf_counter()
        found = text_distribution(replace(claim, rounds=counted), target, drafter, gamma, horizon)
        seconds = time.perf_counter() - started
        wanted = plain_distribution(target, horizon)
        predicted = PREDICTED.get(claim.promises)
        yield Finding(
            model,
            paths,
            len(found),
            max(abs(found.get(text, Fraction(0)) - wanted.get(text, Fraction(0))) for text in found.keys() | wanted.keys()),
            total_variation(found, wanted),
            acceptance(claim, target, drafter),
            None if predicted is None else predicted(target.probs(())[0], draft.probs(())[0]),
            seconds,
        )


def text_distribution(claim: Claim, target: LanguageModel, drafter: Drafter, gamma: int, horizon: int) -> dict[Tokens, Fraction]:
    """The distribution of whole texts: round by round, or, where rounds tell each other more than the text, run by run."""
    options: dict[str, Any] = {"gamma": gamma, "max_new_tokens": horizon, "verify": claim.rule}
    try:
        return sequence_law(target, drafter, rounds=claim.rounds, max_paths=10_000_000, **options)
    except CannotMerge:

        def run(chance: Chance) -> Tokens:
            found = claim.rounds(target, drafter, (), stop=(), chance=chance, **options)
            return tuple(token for each in found for token in each.tokens)

        return law(run, max_paths=10_000_000)


def plain_distribution(target: LanguageModel, horizon: int) -> dict[tuple[int, ...], Fraction]:
    """The distribution of plain decoding, as the product of its conditionals."""
    texts: dict[tuple[int, ...], Fraction] = {(): Fraction(1)}
    for _ in range(horizon):
        texts = {
            (*text, token): weight * p for text, weight in texts.items() for token, p in enumerate(target.probs(text)[0]) if p
        }
    return texts


def acceptance(claim: Claim, target: LanguageModel, drafter: Drafter) -> Fraction:
    """P(the first drafted token is accepted), by enumerating a round that drafts one."""

    def first(chance: Chance) -> int:
        return next(
            iter(claim.rounds(target, drafter, (), gamma=1, max_new_tokens=2, stop=(), chance=chance, verify=claim.rule))
        ).accepted

    return law(first).get(1, Fraction(0))


def random_table(chance: Chance, vocab_size: int, horizon: int) -> TableLM:
    """A model with a row of its own for every context: integer weights from 0 to 4, at least one of them positive."""

    def row() -> list[Fraction]:
        weights = [chance.pick(np.ones(5)) for _ in range(vocab_size)]
        weights[chance.pick(np.ones(vocab_size))] += 1
        return [Fraction(weight, sum(weights)) for weight in weights]

    return TableLM({context: row() for length in range(horizon + 1) for context in product(range(vocab_size), repeat=length)})
