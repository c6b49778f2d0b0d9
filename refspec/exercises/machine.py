"""Exercises of lessons 6 to 9: attention, how much of a cache stays, the best gamma, prompt lookup."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding.lm import Tokens
from refspec.exercises.task import Task
from refspec.models.cached_lm import common_prefix
from refspec.proof import theory
from refspec.transformer.plain import attention as _many_heads
from refspec.transformer.plain import softmax

# --- 6: a transformer ---


def _attention(queries: Array, keys: Array, values: Array) -> Array:
    return _many_heads(queries[None], keys[None], values[None], queries.shape[1] ** -0.5)[0]


def _mistaken(queries: Array, keys: Array, values: Array, scale: Any = None, hides: Any = np.tri, axis: int = -1) -> Array:
    """The same with another scale, another mask, or the softmax along another axis."""
    n, e = queries.shape
    scores = queries @ keys.T * (e**-0.5 if scale is None else scale)
    scores = np.where(hides(n) > 0, scores, -1e30)
    return (softmax(scores) if axis == -1 else softmax(scores.T).T) @ values


def _masked_late(queries: Array, keys: Array, values: Array) -> Array:
    return softmax(queries @ keys.T * queries.shape[1] ** -0.5) * np.tri(len(queries)) @ values


def _matrices(n: int, e: int) -> tuple[Array, Array, Array]:
    """Small numbers that are no one's square or copy; no chance is needed."""
    numbers = np.sin(np.arange(3 * n * e) ** 2.0)
    queries, keys, values = numbers.reshape(3, n, e)
    return queries, keys, values


attention = Task(
    "attention",
    "queries keys values",
    (_matrices(3, 2), _matrices(4, 4)),
    right=_attention,
    wrong={
        "no mask: tokens look at those that come after them": lambda q, k, v: _mistaken(q, k, v, hides=lambda n: np.ones((n, n))),
        "scores that are not divided by the square root of the width": lambda q, k, v: _mistaken(q, k, v, scale=1),
        "the mask upside down: only what comes after is seen": lambda q, k, v: _mistaken(q, k, v, hides=lambda n: np.tri(n).T),
        "the softmax along the wrong axis: the weights of each token sum to one": lambda q, k, v: _mistaken(q, k, v, axis=0),
        "masking after the softmax: what is hidden has already taken its share": _masked_late,
    },
    exact=False,
)
rows_that_stay = Task(
    "rows_that_stay",
    "i",
    ((0,), (3,), (7,)),
    right=lambda i: i,
    wrong={
        "one row too many: row i itself has seen token i": lambda i: i + 1,
        "one row too few: row i - 1 has not seen token i": lambda i: i - 1,
        "none: but a token looks back only": lambda i: 0,
    },
)

# --- 7: the cache ---


def _keep(held: Tokens, tokens: Tokens, last: int) -> int:
    return min(common_prefix(held, tokens), len(tokens) - last)


keep = Task(
    "keep",
    "held tokens last",
    (
        ((5, 6, 7), (5, 6, 7, 8), 1),  # the text has grown
        ((5, 6, 7, 8, 9), (5, 6, 2), 1),  # two were rejected
        ((5, 6, 7), (5, 6, 7), 1),  # nothing new, but a row is asked for
        ((5, 6, 7, 8), (5, 6, 7, 8), 3),
        ((5, 6), (1, 2, 3), 2),  # another text
        ((), (4,), 1),
    ),
    right=_keep,
    wrong={
        "the common prefix alone: the rows that were asked for must be computed again, so at least `last` tokens are fed": (
            lambda held, tokens, last: common_prefix(held, tokens)
        ),
        "keeping all that fits, without looking whether it is the same text": (
            lambda held, tokens, last: min(len(held), len(tokens) - last)
        ),
        "keeping nothing: right, but then it is no cache": lambda held, tokens, last: 0,
        "one row too few": lambda held, tokens, last: max(_keep(held, tokens, last) - 1, 0),
    },
)
goes_wrong = Task(
    "goes_wrong",
    "",
    ((),),
    right=lambda: 0,
    wrong={
        "one rejected: [:-1] takes off the last row, as it should": lambda: 1,
        "all of four rejected: [:-4] takes off four rows, as it should": lambda: 4,
        "a count below zero, which there is not": lambda: -1,
    },
)

# --- 8: what speed costs ---


def _best(alpha: Any, c: Any, v: Sequence[Any]) -> int:
    return theory.best_gamma(alpha, c, v.__getitem__, len(v) - 1)


_FLAT, _STEEP, _STEP = (
    [1.0, 1.1, 1.15, 1.2, 1.2, 1.25, 1.6, 1.7, 1.8],
    [float(1 + 0.4 * gamma) for gamma in range(9)],
    [1.0, 1.5, 1.5, 1.5, 2.5],
)
best_gamma = Task(
    "best_gamma",
    "alpha c v",
    tuple((alpha, c, v) for alpha in (0.3, 0.6, 0.9) for c in (0.05, 0.3) for v in (_FLAT, _STEEP, _STEP)),
    right=_best,
    wrong={
        "drafting for free: c is left out": lambda alpha, c, v: _best(alpha, 0, v),
        "checking for free: v is taken as 1": lambda alpha, c, v: _best(alpha, c, [1.0] * len(v)),
        "the most tokens a round, whatever they cost": lambda alpha, c, v: len(v) - 1,
        "the best speed-up, where the gamma was asked for": (
            lambda alpha, c, v: theory.speed_up(alpha, _best(alpha, c, v), c, v.__getitem__)
        ),
    },
)
one_guess_pays = Task(
    "one_guess_pays",
    "alpha c v1",
    ((0.5, 0.1, 1.1), (0.5, 0.1, 1.45), (0.2, 0.3, 1.0), (0.9, 0.05, 1.8), (0.05, 0.1, 1.0)),
    right=lambda alpha, c, v1: 1 + alpha > c + v1,
    wrong={
        "checking for free: v1 is left out": lambda alpha, c, v1: alpha > c,
        "guessing for free: c is left out": lambda alpha, c, v1: 1 + alpha > v1,
        "forgetting the target's own token": lambda alpha, c, v1: alpha > c + v1,
    },
)

# --- 9: better guesses ---


def _lookup(tokens: Tokens, gamma: int, *, first: bool = False, itself: int = 1) -> Tokens:
    """What followed the last token where it stood before: most recently, or first."""
    places = [i for i in range(len(tokens) - itself) if tokens[i] == tokens[-1]]
    if not places:
        return ()
    at = places[0 if first else -1]
    return tuple(tokens[at + 1 : at + 1 + gamma])


lookup = Task(
    "lookup",
    "tokens gamma",
    (((1, 2, 3, 1), 2), ((1, 2, 1, 3, 1), 2), ((1, 2, 3), 2), ((7, 8, 9, 7), 1), ((4, 4), 3), ((5, 6, 7, 8, 5), 4), ((3,), 2)),
    right=_lookup,
    wrong={
        "finding the last token itself, behind which nothing stands": lambda tokens, gamma: _lookup(tokens, gamma, itself=0),
        "the first time it was said, not the most recent one": lambda tokens, gamma: _lookup(tokens, gamma, first=True),
        "more than gamma tokens": lambda tokens, gamma: _lookup(tokens, len(tokens)),
        "the found token as part of the guess": (
            lambda tokens, gamma: (tokens[-1], *_lookup(tokens, gamma))[:gamma] if _lookup(tokens, gamma) else ()
        ),
    },
    through=lambda guess: tuple(guess) if np.ndim(guess) == 1 else guess,
)
