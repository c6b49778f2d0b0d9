"""Exercises of lessons 1, 2, 3 and 5: counting rounds, picking, overlap and residual, the chance of a text."""

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding import verify
from refspec.decoding.lm import LanguageModel, distribution
from refspec.decoding.round import Round
from refspec.exercises.course import DRAFT, TARGET
from refspec.exercises.task import Task
from refspec.models import sampling
from refspec.proof import theory


def _row(*weights: int) -> Array:
    return distribution([Fraction(each, sum(weights)) for each in weights])


# --- 1: counting ---

_ROUNDS = (
    (Round((5, 6, 7, 8), 2, 9), Round((4, 4, 4, 4), 4, 1), Round((3, 2, 1, 0), 0, 5)),
    (Round((5, 6), 1, 9), Round((), 0, 3)),
    (Round((5, 6, 7), 3, 9),),
)


def _tested(each: Round) -> int:
    return min(each.drafted, each.accepted + 1)


def _over(part: Any, whole: Any) -> Any:
    return lambda rounds: sum(map(part, rounds)) / sum(map(whole, rounds))


tokens_per_call = Task(
    "tokens_per_call",
    "rounds",
    tuple((each,) for each in _ROUNDS),
    right=lambda rounds: sum(len(each.tokens) for each in rounds) / len(rounds),
    wrong={
        "counting the kept guesses alone; the target adds a token of its own in every round": _over(
            lambda r: r.accepted, lambda r: 1
        ),
        "counting every drafted token as if it were kept": _over(lambda r: r.drafted + 1, lambda r: 1),
        "dividing the other way round: calls per token": _over(lambda r: 1, lambda r: len(r.tokens)),
    },
    exact=False,
)
acceptance_rate = Task(
    "acceptance_rate",
    "rounds",
    tuple((each,) for each in _ROUNDS),
    right=_over(lambda r: r.accepted, _tested),
    wrong={
        "dividing by all that was drafted; what lies behind a rejection was never tested": _over(
            lambda r: r.accepted, lambda r: r.drafted
        ),
        "dividing by the tokens of the text, where the target's own have no part": _over(
            lambda r: r.accepted, lambda r: len(r.tokens)
        ),
        "the share that was rejected": lambda rounds: 1 - sum(r.accepted for r in rounds) / sum(map(_tested, rounds)),
    },
    exact=False,
)

# --- 2: a model is a table of chances ---


def _pick(u: Any, weights: Any, *, strictly: bool = True, scaled: bool = True) -> int:
    total, level = (sum(weights) if scaled else 1), 0
    for i, weight in enumerate(weights):
        level += weight
        if (u * total < level) if strictly else (u * total <= level):
            return i
    return len(weights) - 1


_WEIGHTS = [1, 2, 1], [0, 3, 1], [2, 0, 2]
pick = Task(
    "pick",
    "u weights",
    tuple((Fraction(step, 16), list(weights)) for weights in _WEIGHTS for step in range(16)),
    right=_pick,
    wrong={
        "asking <= in place of <: the end of a step belongs to the next one, and a weight of 0 can then be picked at u = 0": (
            lambda u, weights: _pick(u, weights, strictly=False)
        ),
        "weights taken as if they summed to 1: multiply u by their sum": lambda u, weights: _pick(u, weights, scaled=False),
        "the largest weight, whatever u is": lambda u, weights: weights.index(max(weights)),
        "every token equally often, whatever its weight": lambda u, weights: int(u * len(weights)),
    },
)
_NARROW = tuple(
    (row, p) for row in (_row(3, 2, 1), _row(1, 2, 3), _row(4, 1, 2)) for p in (Fraction(2, 5), Fraction(3, 5), Fraction(9, 10))
)


def _kept(row: Any, p: Any, keep: Any) -> Array:
    order = sorted(range(len(row)), key=lambda i: -row[i])
    kept = np.array([keep(sum(row[j] for j in order[: order.index(i)]), row[i], p) for i in range(len(row))])
    survivors = row * kept
    return survivors / survivors.sum() if kept.any() else survivors


top_p = Task(
    "top_p",
    "row p",
    _NARROW,
    right=sampling.top_p,
    wrong={
        "leaving out the token that crosses p: it stays, since what lies above it is still below p": (
            lambda row, p: _kept(row, p, lambda above, own, p: above + own <= p)
        ),
        "forgetting to divide by what is left, so that the chances do not sum to 1": (
            lambda row, p: row * (sampling.top_p(row, p) > 0)
        ),
        "answering in sorted order: every token keeps its place": lambda row, p: np.sort(sampling.top_p(row, p))[::-1],
        "min-p: keeping what is at least p times as likely as the likeliest": lambda row, p: sampling.min_p(row, p),
    },
)

# --- 3: guess and check ---

_PAIRS = tuple(
    (_row(*p), _row(*q))
    for p, q in (((3, 2, 1), (1, 1, 2)), ((1, 3, 2), (1, 1, 1)), ((2, 1, 0), (1, 1, 1)), ((1, 5, 2), (4, 3, 1)))
)
acceptance = Task(
    "acceptance",
    "p q",
    _PAIRS,
    right=theory.token_acceptance,
    wrong={
        "the chance that two independent draws agree": theory.sample_match_acceptance,
        "the larger of the two at each token": lambda p, q: sum(np.maximum(p, q)),
        "the part that they do not share": lambda p, q: 1 - theory.token_acceptance(p, q),
        "the sum of all differences": lambda p, q: sum(abs(p - q)),
        "the mean of min(p, q); the guess has already chosen the token, so it is the sum": lambda p, q: (
            sum(np.minimum(p, q)) / len(p)
        ),
    },
)


def _normalised(weights: Any) -> Any:
    """Weights that are only picked from may have any sum."""
    row = np.asarray(weights)
    return row / row.sum() if row.ndim == 1 and row.min() >= 0 and row.any() else row


residual = Task(
    "residual",
    "p q",
    _PAIRS,
    right=verify.residual,
    wrong={
        "p itself: what p shares with q is then given out twice": lambda p, q: p,
        "the other way round: what q has too much of": lambda p, q: np.maximum(q - p, 0),
        "the size of the difference, where only what p has more of is left over": lambda p, q: abs(p - q),
        "p - q with its negative entries": lambda p, q: p - q,
    },
    through=_normalised,
)

# --- 5: from a round to a text ---


def _text_chance(model: LanguageModel, text: Sequence[int]) -> Any:
    return prod((model.probs(tuple(text[:i]))[0][token] for i, token in enumerate(text)), start=Fraction(1))


text_chance = Task(
    "text_chance",
    "model text",
    tuple((model, text) for model in (TARGET, DRAFT) for text in ((0, 1, 2), (2, 2, 0), (1,), (1, 0, 0))),
    right=_text_chance,
    wrong={
        "the first row for every token: a token's chance depends on those before it": (
            lambda model, text: prod((model.probs(())[0][token] for token in text), start=Fraction(1))
        ),
        "adding where chances of one thing after another multiply": (
            lambda model, text: sum(model.probs(tuple(text[:i]))[0][token] for i, token in enumerate(text))
        ),
        "looking at the row behind a token for that same token: tokens[: i + 1] in place of tokens[:i]": (
            lambda model, text: prod(
                (model.probs(tuple(text[: i + 1]))[0][token] for i, token in enumerate(text)), start=Fraction(1)
            )
        ),
    },
)
expected_tokens = Task(
    "expected_tokens",
    "alpha gamma",
    tuple((Fraction(a, b), gamma) for a, b in ((1, 2), (2, 3), (0, 1)) for gamma in (0, 1, 4)),
    right=lambda alpha, gamma: theory.expected_tokens([alpha] * gamma),
    wrong={
        "forgetting the token that the target adds in every round": lambda alpha, gamma: sum(
            alpha**i for i in range(1, gamma + 1)
        ),
        "as if guesses were kept one by one: a guess counts only if all before it were kept": lambda alpha, gamma: (
            1 + gamma * alpha
        ),
        "one guess too many": lambda alpha, gamma: sum(alpha**i for i in range(gamma + 2)),
    },
)

# --- 10: how far off ---

total_variation = Task(
    "total_variation",
    "a b",
    (*_PAIRS, (_row(4, 3, 1, 1), _row(1, 1, 4, 3))),  # of three tokens the largest difference is always half the sum
    right=lambda a, b: sum(abs(a - b)) / 2,
    wrong={
        "the whole sum: what one has too much of the other lacks, and both were counted": lambda a, b: sum(abs(a - b)),
        "the largest difference alone": lambda a, b: max(abs(a - b)),
        "differences with their signs, which cancel": lambda a, b: sum(a - b) / 2,
        "the part that they share": theory.token_acceptance,
    },
)
