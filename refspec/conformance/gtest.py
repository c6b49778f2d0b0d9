"""The G-test with a bound that holds for any number of samples.

G = 2 n KL(observed || expected). Its usual chi-square tail is a limit, and says nothing reliable at 1e-9 where counts are
small. Agrawal, "Finite-Sample Concentration of the Multinomial in Relative Entropy" (arXiv 1904.02291), has for k cells

    P(n KL >= x) <= exp(-x) (e x / (k - 1))^(k - 1),   x > k - 1,

for every n and every expected law. So cells need no least count, and nothing is approximated.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any


def tail(x: float, cells: int) -> float:
    """The bound on P(n KL >= x).

    >>> from refspec.conformance.gtest import tail
    >>> tail(0.5, cells=3), tail(40, cells=3) < 1e-13
    (1.0, True)
    """
    k = cells - 1
    if k == 0 or x <= k:
        return 1.0 if x <= k else 0.0
    return math.exp(-x + k * (1 + math.log(x / k)))


@lru_cache(maxsize=1000)
def threshold(alpha: float, cells: int) -> float:
    """The least x whose bound is alpha or less.

    >>> from refspec.conformance.gtest import tail, threshold
    >>> 0.99e-9 < tail(threshold(1e-9, cells=9), cells=9) <= 1e-9
    True
    """
    low, high = float(cells - 1), cells + 1.0
    while tail(high, cells) > alpha:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if tail(middle, cells) <= alpha else (middle, high)
    return high


def divergence(counts: Mapping[Hashable, int], expected: Mapping[Hashable, Fraction]) -> float:
    """n KL(observed || expected) in nats; infinite where something came that cannot.

    >>> from fractions import Fraction
    >>> from refspec.conformance.gtest import divergence
    >>> divergence({0: 50, 1: 50}, {0: Fraction(1, 2), 1: Fraction(1, 2)})
    0.0
    """
    n = sum(counts.values())
    if any(count and not expected.get(cell) for cell, count in counts.items()):
        return math.inf
    return sum(count * math.log(count / (n * expected[cell])) for cell, count in counts.items() if count)


def detectable(n: int, cells: int, alpha: float) -> float:
    """A total variation that the test finds with probability 0.95 at least, whatever the law that is so far away.

    Let A be the cells that the other law favours: it gives A the expected probability plus TV. What is observed of A is less
    than that by sqrt(ln 20 / 2n) at most, with this probability (Hoeffding), and by Pinsker n KL >= 2 n (observed - expected)^2.

    >>> from refspec.conformance.gtest import detectable
    >>> round(detectable(20_000, cells=9, alpha=1e-11), 3)
    0.043
    """
    return min(1.0, blindness(cells, alpha) / math.sqrt(n))


def blindness(cells: int, alpha: float) -> float:
    """What `detectable` is of n runs, times sqrt(n).

    >>> from refspec.conformance.gtest import blindness
    >>> round(blindness(cells=2, alpha=1e-11), 1), round(blindness(cells=81, alpha=1e-11), 1)
    (5.1, 10.2)
    """
    return math.sqrt(threshold(alpha, cells) / 2) + math.sqrt(math.log(20) / 2)


Cell = Callable[[tuple[int, ...]], Hashable]


@dataclass(frozen=True)
class View:
    """A way to look at a text: all of it, one position, two positions. name: as a finding says it."""

    name: str
    of: Cell


def views(length: int) -> Sequence[View]:
    """All of the text, each position, each pair of positions; a position behind the end is a cell of its own.

    >>> from refspec.conformance.gtest import views
    >>> [view.name for view in views(2)]
    ['whole texts', 'token 1', 'token 2', 'tokens 1 and 2']
    """

    def at(*places: int) -> Cell:
        return lambda text: tuple(text[i] if i < len(text) else None for i in places)

    ones = [View(f"token {i + 1}", at(i)) for i in range(length)]
    twos = [View(f"tokens {i + 1} and {j + 1}", at(i, j)) for i in range(length) for j in range(i + 1, length)]
    return [View("whole texts", lambda text: text), *ones, *twos]


def seen_as(view: View, weights: Mapping[tuple[int, ...], Any]) -> dict[Hashable, Any]:
    """Counts or probabilities of texts, by the cells of a view.

    >>> from refspec.conformance.gtest import seen_as, views
    >>> seen_as(views(2)[1], {(0, 0): 3, (0, 1): 4, (1, 0): 5})
    {(0,): 7, (1,): 5}
    """
    cells: defaultdict[Hashable, Any] = defaultdict(int)
    for text, weight in weights.items():
        cells[view.of(text)] += weight
    return dict(cells)
