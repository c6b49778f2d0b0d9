"""A uniform that is not drawn yet: arithmetic on it stays affine, and a comparison asks on which side it lies.

From then on it lies there. Any other use raises, by name. A single point has no weight, so this cannot tell `<` from `<=`.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from refspec.conformance.casts import refuse_float
from refspec.errors import BadArgument
from refspec.proof.exact import Branch

MOST_WHOLE = 10_000  # whole numbers that an undrawn one may be rounded down to


class Drawn:
    """What is known of one uniform so far: it lies in [low, high), or has run a race (`races.py`).

    pace: how it stands after the races that it won: -log of it is pace times an exponential that nothing is known of.
    """

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self._low, self._high = Fraction(0), Fraction(1)
        self.raced, self.pace = False, Fraction(1)

    @property
    def fresh(self) -> bool:
        return self._low == 0 and self._high == 1 and not self.raced

    def below(self, threshold: Fraction) -> bool:
        if self.raced or self.pace != 1:
            raise BadArgument("the engine asked a draw for more after it had run a race; what is left of it is not answered")
        cut = min(max(threshold, self._low), self._high)
        below = self.branch.ask(lambda: (cut - self._low, self._high - cut)) == 0
        if below:
            self._high = cut
        else:
            self._low = cut
        return below


def with_numbers(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A method of an undrawn number, for other numbers. Arrays and tensors are left to ask it about each of theirs."""

    def asked(self: Any, other: Any) -> Any:
        known = isinstance(other, (int, float, Fraction, np.number, type(self)))
        return method(self, other) if known else NotImplemented

    return asked


def by_torch(func: Any, args: Any, kwargs: Any) -> Any:
    """What a function of torch gives that was handed an undrawn number."""
    from refspec.conformance.torch_undrawn import answer

    return answer(func, args, kwargs or {})


class UndrawnUniform:
    """scale * u + shift, for a uniform u of which only comparisons tell anything.

    >>> from refspec.conformance.answered import answered_law
    >>> answered_law(lambda generator: 1 - generator.random() < 0.25)
    {False: Fraction(3, 4), True: Fraction(1, 4)}
    """

    undrawn = True

    def __init__(self, drawn: Drawn, scale: Fraction = Fraction(1), shift: Fraction = Fraction(0)) -> None:
        self.drawn, self.scale, self.shift = drawn, scale, shift

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return by_torch(func, args, kwargs)

    @with_numbers
    def __mul__(self, other: Any) -> "UndrawnUniform":
        by = as_fraction(other)
        return UndrawnUniform(self.drawn, self.scale * by, self.shift * by)

    @with_numbers
    def __truediv__(self, other: Any) -> "UndrawnUniform":
        return self * (1 / as_fraction(other))

    @with_numbers
    def __add__(self, other: Any) -> "UndrawnUniform":
        return UndrawnUniform(self.drawn, self.scale, self.shift + as_fraction(other))

    def __neg__(self) -> "UndrawnUniform":
        return self * -1

    @with_numbers
    def __sub__(self, other: Any) -> "UndrawnUniform":
        return self + -as_fraction(other)

    @with_numbers
    def __rsub__(self, other: Any) -> "UndrawnUniform":
        return -self + other

    __rmul__, __radd__ = __mul__, __add__

    @with_numbers
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

    @with_numbers
    def __gt__(self, other: Any) -> bool:
        if isinstance(other, UndrawnUniform):
            return self._less(other) > other.shift
        if self.scale == 0:
            return bool(other < 0) if _infinite(other) else self.shift > as_fraction(other)
        return not self < other

    @with_numbers
    def __le__(self, other: Any) -> bool:
        return not self > other

    @with_numbers
    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __floor__(self) -> int:
        low, high = sorted((self.shift, self.shift + self.scale))
        if high - low > MOST_WHOLE:
            refused()
        below = (n for n in range(math.floor(low), math.ceil(high) - 1) if self < n + 1)
        return next(below, max(math.floor(low), math.ceil(high) - 1))

    def __int__(self) -> int:
        return -math.floor(-self) if self < 0 else math.floor(self)

    __trunc__ = __int__

    def log(self) -> Any:
        """NumPy asks the entries of an array for this."""
        from refspec.conformance.races import log

        return log(self)

    def log1p(self) -> Any:
        return (1 + self).log()

    def _less(self, other: "UndrawnUniform") -> "UndrawnUniform":
        """Without other's multiple of the uniform, which has to be the same one: NumPy's searchsorted compares u with itself."""
        if other.drawn is not self.drawn:
            refused()
        return UndrawnUniform(self.drawn, self.scale - other.scale, self.shift)

    def _refuse(self, *_: Any) -> NoReturn:
        refused()

    def __float__(self) -> float:
        refuse_float()

    def __format__(self, spec: str) -> str:
        return "undrawn"  # of a line that an engine logs

    __bool__ = __index__ = __eq__ = __ne__ = __hash__ = __round__ = __pow__ = __rpow__ = __rtruediv__ = _refuse
    __abs__ = __mod__ = __floordiv__ = exp = sqrt = square = log2 = log10 = _refuse


def refused() -> NoReturn:
    raise BadArgument(
        "the engine used an undrawn uniform for something other than + - * / by a number or a comparison with one; "
        "what is answered is written in refspec/conformance/undrawn.py"
    )


def _infinite(number: Any) -> bool:
    if not isinstance(number, (int, float, np.number, Fraction)):
        refused()
    return isinstance(number, (float, np.floating)) and math.isinf(number)


def as_fraction(number: Any) -> Fraction:
    if isinstance(number, Fraction):
        return number
    if _infinite(number) or math.isnan(number):
        raise BadArgument(f"the engine combined a uniform with {number}; thresholds and factors are finite")
    return Fraction(number.item() if isinstance(number, np.generic) else number)
