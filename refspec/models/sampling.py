"""From logits to the distribution that is sampled: temperature, then top-k, top-p and min-p (N8).

Only the first step leaves the rationals: the others act on probabilities and renormalise, so they run on rows of
Fractions as they do on float64. They mean what Hugging Face transformers' processors mean; where probabilities are equal,
which there is left open, the lowest id ranks first.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.errors import BadProbabilities
from refspec.numeric import number, whole


@dataclass(frozen=True)
class Sampling:
    """How a row of logits becomes a distribution. temperature 0 is the argmax, None switches a filter off.

    Raises BadArgument for temperature < 0 or NaN, top_k < 1, top_p outside (0, 1], min_p outside [0, 1].

    >>> import numpy as np
    >>> from refspec.models.sampling import Sampling
    >>> Sampling(temperature=0)(np.array([[1.0, 3.0, 2.0]])).tolist()
    [[0.0, 1.0, 0.0]]
    >>> Sampling(top_k=1)(np.array([[1.0, 3.0, 2.0]])).tolist()
    [[0.0, 1.0, 0.0]]
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        finite = "a finite number, at least 0 (0 takes the most likely token)"
        number("temperature", self.temperature, lambda t: 0 <= t <= sys.float_info.max, finite)
        or_none = ", or None to keep every token"
        if self.top_k is not None:
            whole("top_k", self.top_k, 1, or_none)
        if self.top_p is not None:
            number("top_p", self.top_p, lambda p: 0 < p <= 1, f"a number above 0 and at most 1{or_none}")
        if self.min_p is not None:
            number("min_p", self.min_p, lambda p: 0 <= p <= 1, f"a number between 0 and 1{or_none}")

    def __call__(self, logits: Array) -> Array:
        """logits [n, v] -> float64 probabilities [n, v]"""
        probs = with_temperature(logits, self.temperature)
        if self.temperature == 0:
            return probs  # one-hot already: no filter can change it
        for row in probs:
            if self.top_k is not None:
                row[:] = top_k(row, self.top_k)
            if self.top_p is not None:
                row[:] = top_p(row, self.top_p)
            if self.min_p is not None:
                row[:] = min_p(row, self.min_p)
        return probs


def with_temperature(logits: Array, temperature: float) -> Array:
    """logits [n, v] -> [n, v]: softmax(logits / temperature) in float64; N7: at 0, one-hot at the lowest index of the maximum.

    -inf is a token of probability 0. Raises BadProbabilities for NaN, +inf, or a row of nothing but -inf.

    >>> import numpy as np
    >>> from refspec.models.sampling import with_temperature
    >>> with_temperature(np.log([[1.0, 3.0]]), temperature=1).round(3).tolist()
    [[0.25, 0.75]]
    >>> with_temperature(np.log([[1.0, 3.0]]), temperature=0.5).round(3).tolist()
    [[0.1, 0.9]]
    """
    winners = logits.argmax(axis=-1)[..., None]  # the first of equals, or the first NaN
    best = np.take_along_axis(logits, winners, axis=-1)
    if not np.isfinite(best).all():
        raise BadProbabilities("a row of logits holds NaN or +inf, or nothing but -inf; there is no distribution to draw from")
    if temperature == 0:
        one_hot = np.zeros(logits.shape)
        np.put_along_axis(one_hot, winners, 1, axis=-1)
        return one_hot
    probs, v = np.empty(logits.shape), logits.shape[-1]
    with np.errstate(over="ignore"):  # a temperature near 0 sends a difference to -inf, which is what it should become
        for weights, row, most in zip(probs.reshape(-1, v), logits.reshape(-1, v), best.ravel(), strict=True):
            # in place and row by row: the temporaries of several rows are fresh memory each time, and four times as slow
            np.subtract(row, most, out=weights, dtype=np.float64)
            weights /= temperature
            np.exp(weights, out=weights)
            weights /= weights.sum()
    return probs


def top_k(row: Array, k: int) -> Array:
    """row [v] -> [v]: the k most likely tokens, and whatever ties with the k-th.

    >>> import numpy as np
    >>> from refspec.models.sampling import top_k
    >>> top_k(np.array([0.5, 0.25, 0.25]), 1).tolist(), top_k(np.array([0.5, 0.25, 0.25]), 2).tolist()
    ([1.0, 0.0, 0.0], [0.5, 0.25, 0.25])
    """
    if k >= len(row):
        return row
    kth = np.partition(row, len(row) - k)[len(row) - k]
    return normalised(row, row >= kth)


def top_p(row: Array, p: Any) -> Array:
    """row [v] -> [v]: keep a token iff the mass ranked above it is below p. Equal probabilities rank lowest id first.

    >>> import numpy as np
    >>> from refspec.models.sampling import top_p
    >>> top_p(np.array([0.375, 0.375, 0.25]), 0.5).tolist()
    [0.5, 0.5, 0.0]
    """
    if p >= 1:
        return row  # whatever a rounded cumulative sum would say
    # Only what may be kept is sorted: tokens of at most (1 - p) / 2v weigh less than 1 - p together, so p lies above them.
    likely = np.flatnonzero(row > (1 - p) / (2 * len(row)))
    order = likely[np.argsort(-row[likely], kind="stable")]
    above = np.cumsum(row[order]) - row[order]
    kept = np.zeros(len(row), bool)
    kept[order] = above < p
    return normalised(row, kept)


def min_p(row: Array, p: Any) -> Array:
    """row [v] -> [v]: keep what is at least p times as likely as the most likely token (arXiv 2407.01082).

    >>> import numpy as np
    >>> from refspec.models.sampling import min_p
    >>> min_p(np.array([0.5, 0.5, 0.125]), 0.5).tolist()
    [0.5, 0.5, 0.0]
    """
    return normalised(row, row >= p * row.max())


def normalised(row: Array, kept: Array) -> Array:
    """row [v], kept [v] -> [v]: the distribution given that the token is one of the kept.

    >>> import numpy as np
    >>> from refspec.models.sampling import normalised
    >>> normalised(np.array([0.25, 0.25, 0.5]), np.array([True, True, False])).tolist()
    [0.5, 0.5, 0.0]
    """
    survivors = row * kept
    return survivors / survivors.sum()
