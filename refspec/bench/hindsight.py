"""How fast prompt lookup could be if it knew what is accepted before it drafts.

A round that drafts gamma tokens of which `agreed` come true costs v(gamma) and yields min(gamma, agreed) + 1. Over texts
that are known, the best choice of every gamma is found from their ends. What counts is what the benchmark counts: the first
round belongs to the prefill, but how many tokens it leaves to the others is a choice like any.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from refspec.decoding.chance import Seeded
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.lm import Tokens
from refspec.decoding.stats import ratio


class Place(NamedTuple):
    """Where a round may start: how many tokens lookup can propose there, and how many of these, from the first, come true."""

    proposed: int
    agreed: int


def places(prompt: Tokens, generated: Tokens, max_new_tokens: int, most: int) -> list[Place]:
    """At each token of `generated`, of drafts of up to `most` tokens that leave room for the round's own (N9)."""
    drafter, chance = NgramDrafter(), Seeded(0)
    found = []
    for i in range(len(generated)):
        proposed = drafter.propose(prompt + generated[:i], min(most, max_new_tokens - i - 1), chance).tokens
        pairs = zip(proposed, generated[i:], strict=False)
        agreed = next((n for n, (guess, token) in enumerate(pairs) if guess != token), min(len(proposed), len(generated) - i))
        found.append(Place(len(proposed), agreed))
    return found


def after_first(places: Sequence[Place], cost: Callable[[int], float]) -> list[tuple[int, float]]:
    """(tokens, least cost) of all rounds but the first, for each number of tokens that the first can yield.

    cost: of a round, by what it drafts. Drafting more than agrees is allowed: it pays where a longer draft is cheaper.
    """
    end = len(places)
    least: list[float] = [0] * (end + 1)
    for i in reversed(range(1, end)):
        proposed, agreed = places[i]
        least[i] = min(cost(gamma) + least[min(i + min(gamma, agreed) + 1, end)] for gamma in range(proposed + 1))
    yields = range(1, min(places[0].agreed + 1, end) + 1) if places else ()
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
