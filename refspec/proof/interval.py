"""The exact distribution of float64 code, to the last bit: what each uniform that a generator can return would decide.

PCG64's `random()` is i / 2**53 with i uniform on [0, 2**53). A question of the loop splits that grid into intervals, one
for each answer, because its answer is monotone in u. Finding where they end, by bisection through the production
`accept_at` and `pick_at` themselves, gives each answer's exact probability: a count over 2**53. So

    law(program, chance=IntervalChance)

is the distribution of the very floating-point program, rounding included, and `float_bound` says how far from that of its
rational twin that can be.
"""

from bisect import bisect_left, bisect_right
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding.chance import accept_at, pick_at
from refspec.errors import BadArgument
from refspec.proof.exact import Branch

GRID = 1 << 53  # the values that random() can return


class IntervalChance:
    """Chance over float64: every question is answered in each way that some uniform on the grid would answer it.

    >>> from fractions import Fraction
    >>> import refspec
    >>> from refspec.proof.interval import IntervalChance
    >>> found = refspec.law(lambda chance: chance.accept(0.1, 0.3), chance=IntervalChance)
    >>> found[True] - Fraction(1, 3)
    Fraction(1, 27021597764222976)
    """

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
    """How many values of u accept, and how many reject.

    >>> from refspec.proof.interval import accept_counts
    >>> accepted, rejected = accept_counts(0.25, 0.5)
    >>> accepted / 2**53, rejected / 2**53
    (0.5, 0.5)
    """
    accepted = bisect_left(range(GRID), True, key=lambda i: not accept_at(i / GRID, p, q))
    return accepted, GRID - accepted


@lru_cache(maxsize=100_000)
def pick_counts(weights: bytes) -> tuple[int, ...]:
    """For each index, how many values of u pick it. weights: the bytes of a float64 row.

    >>> import numpy as np
    >>> from refspec.proof.interval import pick_counts
    >>> [count / 2**53 for count in pick_counts(np.array([0.25, 0.75]).tobytes())]
    [0.25, 0.75]
    """
    row = np.frombuffer(weights)
    ends = [bisect_right(range(GRID), index, key=lambda i: pick_at(i / GRID, row)) for index in range(len(row))]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


def float_bound(vocab_size: int, draws: int) -> Fraction:
    """At most this total variation lies between the float64 loop's distribution and the rational one of the same rows, each over
    its sum, for the token rule, sample-match and plain decoding; draws bounds a path's.

    With e = 2**-53: the mass that a pick gives an index differs from weight / total by one addition, one product u * total at
    either end and the grid, 3e in all, and total from the sum by v e. Summed and halved, a pick moves 2v e. An accept moves 2e,
    and the rows, each within 2v e of summing to one (`lm.slack`), another 4v e. After a rejection the two rows move the residual
    by 4v e of the mass that gets there, and its subtractions by e. The worst round drafts one token and rejects it:
    12v + 3 in three draws, so at most 5v e a draw.

    At SmolLM2's vocabulary of 49,152 that is 3e-11 a draw. Counted, a pick from a softmax is 8e-13 away
    (`pytest -m nightly tests/test_rows.py`).

    >>> from refspec.proof.interval import float_bound
    >>> float(float_bound(vocab_size=49_152, draws=1))
    2.7284841053187847e-11
    """
    return Fraction(5 * vocab_size * draws, GRID)
