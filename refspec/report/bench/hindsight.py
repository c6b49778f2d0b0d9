"""How fast prompt lookup could be if it knew what is accepted before it drafts.

A round that drafts gamma tokens where a of them would be accepted costs v(gamma) and yields min(gamma, a) + 1. Over a text
that is known, the cheapest sequence of rounds is found from its end: no choice of gammas, however clever, is faster.
"""

from collections.abc import Callable, Sequence

from refspec.chance import Seeded
from refspec.draft.ngram import NgramDrafter
from refspec.lm import Tokens


def agreements(prompt: Tokens, generated: Tokens, most: int) -> list[int]:
    """At each token of `generated` but the first: how many of up to `most` that lookup proposes there are what follows.

    The first token comes with the prefill.
    """
    drafter, chance = NgramDrafter(), Seeded(0)
    found = []
    for i in range(1, len(generated)):
        proposed = drafter.propose(prompt + generated[:i], most, chance).tokens
        pairs = zip(proposed, generated[i:], strict=False)
        found.append(
            next((n for n, (guess, token) in enumerate(pairs) if guess != token), min(len(proposed), len(generated) - i))
        )
    return found


def least_cost(agreements: Sequence[int], cost: Callable[[int], float], most: int) -> float:
    """Of emitting a token for each of the agreements, in the units of cost(gamma), which is what a round costs.

    gamma runs from 0 to `most`, and leaves room for the round's own token. More than agree is allowed: it is never worth it
    unless the measured cost falls somewhere.
    """
    end = len(agreements)
    least = [0.0] * (end + 1)
    for i in reversed(range(end)):
        gammas = range(min(most, end - i - 1) + 1)
        least[i] = min(cost(gamma) + least[i + min(gamma, agreements[i]) + 1] for gamma in gammas)
    return least[0]
