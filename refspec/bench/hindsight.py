"""How fast given drafts could be if one knew what is accepted before one drafts.

A round that drafts gamma tokens of which `agreed` come true costs v(gamma), and what the guesses cost, and yields min(gamma,
agreed) + 1. Over texts that are known, the best choice of every drafter and gamma is found from their ends. What counts is what
the benchmark counts: the first round belongs to the prefill, but how many tokens it leaves to the others is a choice like any.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from refspec.decoding.chance import Seeded
from refspec.decoding.draft import Drafter
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.lm import Tokens
from refspec.decoding.stats import ratio


class Place(NamedTuple):
    """Where a round may start: how many tokens a drafter proposes there, and how many of these, from the first, come true."""

    proposed: int
    agreed: int


class Way(NamedTuple):
    """One drafter: its places in a text, and what a round costs, by what it drafts."""

    places: Sequence[Place]
    cost: Callable[[int], float]


def places(prompt: Tokens, generated: Tokens, max_new_tokens: int, most: int, drafter: Drafter | None = None) -> list[Place]:
    """At each token of `generated`, of drafts of up to `most` tokens that leave room for the round's own (N9).

    drafter: whose drafts, if they use no chance or the text is greedy; by default prompt lookup's.
    """
    drafter, chance = drafter or NgramDrafter(), Seeded(0)
    found = []
    for i in range(len(generated)):
        proposed = drafter.propose(prompt + generated[:i], min(most, max_new_tokens - i - 1), chance).tokens
        pairs = zip(proposed, generated[i:], strict=False)
        agreed = next((n for n, (guess, token) in enumerate(pairs) if guess != token), min(len(proposed), len(generated) - i))
        found.append(Place(len(proposed), agreed))
    return found


def after_first(*ways: Way) -> list[tuple[int, float]]:
    """(tokens, least cost) of all rounds but the first, for each number of tokens that the first can yield.

    ways: of one text, from which each round takes the best. Drafting more than agrees is allowed: it pays where a longer draft
    is cheaper.
    """
    end = min(len(way.places) for way in ways)
    least: list[float] = [0] * (end + 1)
    for i in reversed(range(1, end)):
        least[i] = min(
            way.cost(gamma) + least[min(i + min(gamma, way.places[i].agreed) + 1, end)]
            for way in ways
            for gamma in range(way.places[i].proposed + 1)
        )
    yields = range(1, min(max(way.places[0].agreed for way in ways) + 1, end) + 1) if end else ()
    return [(end - first, least[first]) for first in yields]


def best_rate(texts: Sequence[Sequence[tuple[int, float]]]) -> float | None:
    """The greatest sum of tokens over sum of costs, with one (tokens, cost) of each text; None where nothing costs.

    Dinkelbach 1967 (Management Science 13(7)): at the best rate no other choice has more tokens - rate * cost.
    """
    rate: float | None = None
    while True:
        chosen = [max(choices, key=lambda choice: choice[0] - (rate or 0) * choice[1]) for choices in texts if choices]
        better = ratio(sum(tokens for tokens, _ in chosen), sum(cost for _, cost in chosen))
        if better is None or (rate is not None and better <= rate):
            return rate
        rate = better
