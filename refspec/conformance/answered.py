"""Generators that answer instead of drawing: an engine's unmodified code runs along every branch, and its law is exact.

`random()` gives a uniform that is not drawn yet. Arithmetic on it stays affine; a comparison asks which side it lies on, and
from then on it lies there. Any other use raises, by name. A single point has no weight, so this cannot tell `<` from `<=`.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import Any, NoReturn, TypeVar, cast

import numpy as np

from refspec.errors import BadArgument
from refspec.proof.exact import Branch, law

Outcome = TypeVar("Outcome", bound=Hashable)


class _Drawn:
    """What is known of one uniform so far: it lies in [low, high), or has run a race (`races.py`)."""

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self._low, self._high = Fraction(0), Fraction(1)
        self.raced = False

    @property
    def fresh(self) -> bool:
        return self._low == 0 and self._high == 1 and not self.raced

    def below(self, threshold: Fraction) -> bool:
        if self.raced:
            raise BadArgument("the engine asked a draw for more after it had run a race; what is left of it is not answered")
        cut = min(max(threshold, self._low), self._high)
        below = self.branch.ask(lambda: (cut - self._low, self._high - cut)) == 0
        if below:
            self._high = cut
        else:
            self._low = cut
        return below


class UndrawnUniform:
    """scale * u + shift, for a uniform u of which only comparisons tell anything.

    >>> from refspec.conformance.answered import answered_law
    >>> answered_law(lambda generator: 1 - generator.random() < 0.25)
    {False: Fraction(3, 4), True: Fraction(1, 4)}
    """

    __array_ufunc__ = None  # NumPy's scalars leave arithmetic to this class, and its functions refuse it

    def __init__(self, drawn: _Drawn, scale: Fraction = Fraction(1), shift: Fraction = Fraction(0)) -> None:
        self.drawn, self.scale, self.shift = drawn, scale, shift

    def __mul__(self, other: Any) -> "UndrawnUniform":
        by = as_fraction(other)
        return UndrawnUniform(self.drawn, self.scale * by, self.shift * by)

    def __truediv__(self, other: Any) -> "UndrawnUniform":
        return self * (1 / as_fraction(other))

    def __add__(self, other: Any) -> "UndrawnUniform":
        return UndrawnUniform(self.drawn, self.scale, self.shift + as_fraction(other))

    def __neg__(self) -> "UndrawnUniform":
        return self * -1

    def __sub__(self, other: Any) -> "UndrawnUniform":
        return self + -as_fraction(other)

    def __rsub__(self, other: Any) -> "UndrawnUniform":
        return -self + other

    __rmul__, __radd__ = __mul__, __add__

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, UndrawnUniform):
            return self._less(other) < other.shift
        if _infinite(other):
            return bool(other > 0)
        threshold = as_fraction(other)
        if self.scale == 0:
            return self.shift < threshold
        cut = (threshold - self.shift) / self.scale
        return self.drawn.below(cut) == (self.scale > 0)

    def __gt__(self, other: Any) -> bool:
        if isinstance(other, UndrawnUniform):
            return self._less(other) > other.shift
        if self.scale == 0:
            return bool(other < 0) if _infinite(other) else self.shift > as_fraction(other)
        return not self < other

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def _less(self, other: "UndrawnUniform") -> "UndrawnUniform":
        """Without other's multiple of the uniform, which has to be the same one: NumPy's searchsorted compares u with itself."""
        if other.drawn is not self.drawn:
            refused()
        return UndrawnUniform(self.drawn, self.scale - other.scale, self.shift)

    def _refuse(self, *_: Any) -> NoReturn:
        refused()

    __float__ = __int__ = __bool__ = __index__ = __eq__ = __ne__ = __hash__ = __round__ = __pow__ = _refuse


def refused() -> NoReturn:
    raise BadArgument(
        "the engine used an undrawn uniform for something other than + - * / by a number or a comparison with one; "
        "what is answered is written in refspec/conformance/answered.py"
    )


def _infinite(number: Any) -> bool:
    if not isinstance(number, (int, float, np.number, Fraction)):
        refused()
    return math.isinf(number)


def as_fraction(number: Any) -> Fraction:
    if _infinite(number) or math.isnan(number):
        raise BadArgument(f"the engine combined a uniform with {number}; thresholds and factors are finite")
    return number if isinstance(number, Fraction) else Fraction(number.item() if isinstance(number, np.generic) else number)


class AnsweredGenerator:
    """In the place of a NumPy Generator: random, choice with p, choices with weights. branch: for the draws of other libraries.

    >>> from refspec.conformance.answered import answered_law
    >>> answered_law(lambda generator: int(generator.choice(2, p=[0.25, 0.75])))
    {0: Fraction(1, 4), 1: Fraction(3, 4)}
    """

    def __init__(self, branch: Branch) -> None:
        self.branch = branch

    def random(self, size: int | None = None) -> Any:
        if size is None:
            return UndrawnUniform(_Drawn(self.branch))
        return np.array([self.random() for _ in range(size)], dtype=object)

    def choice(self, a: Any, *, p: Any = None) -> Any:
        ids = range(a) if isinstance(a, (int, np.integer)) else a
        return ids[self._weighed([1] * len(ids) if p is None else p)]

    def choices(self, population: Sequence[Any], weights: Any = None, *, k: int = 1) -> list[Any]:
        return [self.choice(population, p=weights) for _ in range(k)]

    def _weighed(self, weights: Any) -> int:
        return self.branch.ask(lambda: [as_fraction(weight) for weight in weights])

    def __getattr__(self, name: str) -> NoReturn:
        raise BadArgument(f"the engine drew with {name}(); what can be answered is random(), choice(p=...) and choices(weights)")


def answered_law(program: Callable[[Any], Outcome], *, max_paths: int = 100_000) -> dict[Outcome, Fraction]:
    """{outcome: probability} of a program that draws from the generator it is given, over every branch.

    Raises EnumerationLimit beyond max_paths runs, BadArgument for a draw that cannot be answered.

    >>> from refspec.conformance.answered import answered_law
    >>> answered_law(lambda generator: generator.random() * 0.5 < 0.125)
    {True: Fraction(1, 4), False: Fraction(3, 4)}
    """
    return law(cast(Any, program), chance=cast(Any, AnsweredGenerator), max_paths=max_paths)
