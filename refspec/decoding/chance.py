"""Randomness as an argument: the two questions the loop asks of chance, and two ways to answer them.

A rule asks `accept(p, q)`, true with probability min(1, p / q), and `pick(weights)`, an index with probability
proportional to its weight. Everything that decodes takes a `Chance`; nothing outside this file draws a random
number. That is what lets one loop run seeded, replayed from a tape, and along every branch at once.

`accept_at` and `pick_at` say what a single uniform u on [0, 1) decides (N2, N3); the classes only supply u.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, short
from refspec.errors import BadProbabilities, TapeExhausted
from refspec.numeric import number, whole


class Chance(Protocol):
    """What decoding asks of chance. Every call consumes exactly one uniform, also where its outcome is certain (N5)."""

    def accept(self, p: Any, q: Any) -> bool:
        """True with probability min(1, p / q)."""
        ...

    def pick(self, weights: Array) -> int:
        """An index, with probability weights[index] / sum(weights)."""
        ...

    def race(self, key: int, weights: Array) -> int:
        """The index whose clock rings first, E[index] / weights[index] with E independent Exp(1).

        The distribution is that of `pick`; the noise E belongs to the key, so that races of one key under other weights tend to
        agree (arXiv 2408.07978). It consumes no uniform of the sequence.
        """
        ...


def accept_at(u: float, p: Any, q: Any) -> bool:
    """N2: accept iff p >= q or u * q < p.

    A product and not a quotient: u = 0 never accepts p = 0 where q > 0, and p = q is accepted even where u * q
    would round up to p. The papers write the rejection as u > p / q (arXiv 2211.17192, Algorithm 1).

    >>> from refspec.decoding.chance import accept_at
    >>> accept_at(0.4, p=0.25, q=0.5), accept_at(0.5, p=0.25, q=0.5)
    (True, False)
    """
    return bool(p >= q or u * q < p)


def pick_at(u: float, weights: Array) -> int:
    """N3: inverse CDF in float64; the first index whose cumulative weight exceeds u * total.

    weights: [v], non-negative, need not sum to one. total is the *last cumulative value*: a sum computed apart
    differs by rounding and would run off the end. Raises BadProbabilities where there is nothing to pick from.

    >>> from refspec.decoding.chance import pick_at
    >>> pick_at(0.0, [1, 3]), pick_at(0.25, [1, 3])
    (0, 1)
    """
    weights = np.asarray(weights, dtype=np.float64)
    cumulative = np.cumsum(weights)
    total = cumulative[-1] if len(cumulative) else 0.0
    if not (0 < total < np.inf and weights.min() >= 0):
        raise BadProbabilities(
            f"cannot pick from {len(weights)} weights that sum to {total}; weights are finite, >= 0 and not all zero"
        )
    index = int(np.searchsorted(cumulative, u * total, side="right"))
    if index < len(weights):
        return index
    return int(np.flatnonzero(weights)[-1])  # u * total rounded up to total


def race_of(clocks: Array, weights: Array) -> int:
    """The winner of a race: clocks [v] of Exp(1), weights [v]; a zero weight never wins.

    >>> import numpy as np
    >>> from refspec.decoding.chance import race_of
    >>> race_of(np.array([1.0, 2.0]), [1, 3])
    1
    """
    weights = np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.any()):
        raise BadProbabilities(f"cannot race {len(weights)} weights; they are finite, >= 0 and not all zero")
    rings = np.full(len(weights), np.inf)
    # Over the heaviest weight, whose ring is then finite. A subnormal weight may ring at infinity: it is no winner either.
    with np.errstate(over="ignore"):
        np.divide(clocks, weights / weights.max(), out=rings, where=weights > 0)
    return int(rings.argmin())


def seeded_generator(seed: int) -> np.random.Generator:
    """PCG64(seed), whose `random()` is one draw (N3).

    >>> from refspec.decoding.chance import seeded_generator
    >>> seeded_generator(0).random() == seeded_generator(0).random()
    True
    """
    return np.random.Generator(np.random.PCG64(seed))


class Seeded:
    """Chance from a seed: PCG64(seed), one `random()` a draw; races from one generator a key. `u` is the last uniform.

    >>> import refspec
    >>> refspec.Seeded(1).pick([1, 3]) == refspec.Seeded(1).pick([1, 3])
    True
    """

    def __init__(self, seed: int) -> None:
        whole("seed", seed, 0)
        self._seed = seed
        self._generator = seeded_generator(seed)
        self.u: float | None = None

    def __repr__(self) -> str:
        return brief(self, short(self._seed), *([] if self.u is None else [f"u={self.u:.4f}"]))

    def accept(self, p: Any, q: Any) -> bool:
        return accept_at(self._draw(), p, q)

    def pick(self, weights: Array) -> int:
        return pick_at(self._draw(), weights)

    def race(self, key: int, weights: Array) -> int:
        # A spawn key, since a seed is padded with zeros: PCG64((seed, 0)) is PCG64(seed), the uniforms themselves.
        noise = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=(key,))))
        return race_of(noise.standard_exponential(len(weights)), weights)

    def _draw(self) -> float:
        self.u = float(self._generator.random())
        return self.u


class Tape:
    """Chance read from a list of uniforms, to replay a run or to reach a corner. Values may be left over.

    `position` is how many were read, `u` the last one. The first race of a key reads one value for each weight, later ones
    of that key none. Raises TapeExhausted when a draw finds none left.

    >>> import refspec
    >>> tape = refspec.Tape([0.9, 0.1])
    >>> tape.accept(0.25, 0.5), tape.pick([1, 3]), tape.position
    (False, 0, 2)
    """

    def __init__(self, values: Iterable[float]) -> None:
        self.values = tuple(values)
        for value in self.values:
            number("a value on the tape", value, lambda u: 0 <= u < 1, "a uniform, at least 0 and below 1")
        self.values = tuple(map(float, self.values))
        self.position = 0
        self._clocks: dict[int, Array] = {}
        self.u: float | None = None

    def __repr__(self) -> str:
        return brief(self, short(self.values), f"position={self.position}")

    def accept(self, p: Any, q: Any) -> bool:
        return accept_at(self._draw(), p, q)

    def pick(self, weights: Array) -> int:
        return pick_at(self._draw(), weights)

    def race(self, key: int, weights: Array) -> int:
        if key not in self._clocks:
            self._clocks[key] = -np.log1p(-np.array([self._draw() for _ in range(len(weights))]))
        return race_of(self._clocks[key], weights)

    def _draw(self) -> float:
        if self.position == len(self.values):
            raise TapeExhausted(f"the tape held {len(self.values)} uniforms and one more was asked for; write more on it")
        self.u = self.values[self.position]
        self.position += 1
        return self.u
