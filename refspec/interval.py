"""The law of float64 code, to the last bit: what each uniform that a generator can return would decide.

PCG64's `random()` is i / 2**53 with i uniform on [0, 2**53). A question of the loop splits that grid into intervals, one
for each answer, because its answer is monotone in u. Finding where they end, by bisection through the production
`accept_at` and `pick_at` themselves, gives each answer's exact probability: a count over 2**53. So

    law(program, chance=IntervalChance)

is the law of the very floating-point program, rounding included, and `float_bound` says how far from the law of its
rational twin that can be.
"""

from bisect import bisect_left, bisect_right
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.chance import accept_at, pick_at
from refspec.errors import BadArgument
from refspec.exact import Branch

GRID = 1 << 53  # the values that random() can return


class IntervalChance:
    """Chance over float64: every question is answered in each way that some uniform on the grid would answer it."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch

    def accept(self, p: Any, q: Any) -> bool:
        return self._branch.ask(lambda: accept_counts(float(p), float(q))) == 0

    def pick(self, weights: Array) -> int:
        return self._branch.ask(lambda: pick_counts(np.asarray(weights, np.float64).tobytes()))

    def race(self, key: int, weights: Array) -> int:
        raise BadArgument("the interval chance does not enumerate races, whose noise is no uniform; use exact.law on rationals")


@lru_cache(maxsize=100_000)
def accept_counts(p: float, q: float) -> tuple[int, int]:
    """How many values of u accept, and how many refuse."""
    accepted = bisect_left(range(GRID), True, key=lambda i: not accept_at(i / GRID, p, q))
    return accepted, GRID - accepted


@lru_cache(maxsize=100_000)
def pick_counts(weights: bytes) -> tuple[int, ...]:
    """For each index, how many values of u pick it. weights: the bytes of a float64 row."""
    row = np.frombuffer(weights)
    ends = [bisect_right(range(GRID), index, key=lambda i: pick_at(i / GRID, row)) for index in range(len(row))]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


def float_bound(vocab_size: int, draws: int) -> Fraction:
    """At most this total variation lies between the float loop's law and the rational one, for the token rule,
    sample-match and plain decoding over rows that sum to one within vocab_size rounding errors; draws bounds a path's.

    With e = 2**-53: a pick among v weights has v - 1 boundaries, and each is shifted by at most 2v e by the cumulative sum
    (v - 1 additions on either side of the comparison), the product u * total and the grid. An accept has one, shifted by
    2e. A residual's subtractions move e of its mass, and a row that sums to 1 + v e instead of 1 another 2v e. Summed over
    a draw and rounded up, that is 5 v**2 e.
    """
    return Fraction(5 * vocab_size**2 * draws, GRID)
