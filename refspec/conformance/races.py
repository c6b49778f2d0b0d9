"""Exponential and Gumbel races, answered: -log u of an undrawn uniform is a clock, and the first of several wins by its rate.

Of independent clocks E_i / w_i, each E_i exponential with mean 1, clock i is first with probability w_i / sum(w). An engine
writes that as argmin of E / w, argmax of w / E, argmax of log(u) / w, or argmax of logits - log(-log u) (the Gumbel trick).
What is left when a race is over (by how much it was won, who came second) is not answered, and raises.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, NoReturn

import numpy as np

from refspec.conformance.casts import refuse_float
from refspec.conformance.undrawn import UndrawnUniform, as_fraction, by_torch, with_numbers
from refspec.errors import BadArgument

# What engines add inside a logarithm against log 0, or keep a uniform from 1 by. It shifts a law by about as much, two roundings
# of float32, and is taken for nothing.
EPSILON = Fraction(1, 2**22)


def log(value: Any) -> "Clock":
    """The logarithm of an undrawn uniform, or of a clock. Raises BadArgument where it is no clock that can be answered.

    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.races import log, race
    >>> answered_law(lambda generator: race([-log(generator.random()) / rate for rate in (1, 3)], largest=False))
    {0: Fraction(1, 4), 1: Fraction(3, 4)}
    """
    if isinstance(value, Clock):
        return value.log()
    if not isinstance(value, UndrawnUniform):
        raise BadArgument(f"the engine took the logarithm of a draw that had become a {type(value).__name__}")
    scale, shift = value.scale, value.shift
    if scale > 0 and abs(shift) <= EPSILON:  # scale * u
        return Clock(UndrawnUniform(value.drawn), "straight", Fraction(-1), _log(scale))
    if scale < 0 and abs(shift + scale) <= EPSILON:  # -scale * (1 - u)
        return Clock(UndrawnUniform(value.drawn, Fraction(-1), Fraction(1)), "straight", Fraction(-1), _log(-scale))
    raise BadArgument(f"the engine took the logarithm of {scale} * u + {shift}; that of c * u and of c * (1 - u) is answered")


@dataclass(frozen=True, eq=False)
class Clock:
    """A function of an exponential draw E = -log(uniform), for a uniform that is not drawn yet.

    form: "straight", factor * E + shift; "inverse", factor / E; "logarithm", factor * log(E) + shift.

    >>> import math
    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.races import log
    >>> laws = answered_law(lambda generator: log(generator.random()) < math.log(0.25))
    >>> float(round(laws[True], 12))
    0.25
    """

    uniform: UndrawnUniform
    form: str
    factor: Fraction
    shift: Fraction = Fraction(0)
    undrawn: ClassVar = True

    @with_numbers
    def __mul__(self, other: Any) -> "Clock":
        by = as_fraction(other)
        return replace(self, factor=self.factor * by, shift=self.shift * by)

    def __neg__(self) -> "Clock":
        return self * -1

    @with_numbers
    def __add__(self, other: Any) -> Any:
        if _is_infinite(other):  # a logit of -inf: it stays there whatever the clock says
            return other
        if self.form == "inverse" and other != 0:
            _refuse("an inverse clock plus a number")
        return replace(self, shift=self.shift + as_fraction(other))

    @with_numbers
    def __sub__(self, other: Any) -> Any:
        return self + -other

    @with_numbers
    def __rsub__(self, other: Any) -> Any:
        return -self + other

    __rmul__, __radd__ = __mul__, __add__

    @with_numbers
    def __truediv__(self, other: Any) -> Any:
        if other == 0 and self.form == "straight" and self.shift == 0:
            return math.copysign(math.inf, self.factor)
        return self * (1 / as_fraction(other))

    @with_numbers
    def __rtruediv__(self, other: Any) -> "Clock":
        if self.form != "straight" or abs(self.shift) > EPSILON:
            _refuse("a number divided by it")
        return Clock(self.uniform, "inverse", as_fraction(other) / self.factor)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return by_torch(func, args, kwargs)

    def log(self) -> "Clock":
        if self.form != "straight" or self.factor <= 0 or abs(self.shift) > EPSILON:
            _refuse("its logarithm")
        return Clock(self.uniform, "logarithm", Fraction(1), _log(self.factor))

    @with_numbers
    def __lt__(self, other: Any) -> bool:
        return self._compared(other) < 0

    @with_numbers
    def __gt__(self, other: Any) -> bool:
        return self._compared(other) > 0

    __le__, __ge__ = __lt__, __gt__  # a single point has no weight

    def _compared(self, other: Any) -> int:
        """-1, 0 or 1 where it is the smaller, the same or the larger."""
        if _is_infinite(other):
            return -1 if other > 0 else 1
        if isinstance(other, Clock):
            return self._raced(other)
        if self.form != "straight" or self.factor == 0:
            _refuse("a comparison with a number")
        until = (as_fraction(other) - self.shift) / self.factor  # the clock itself is compared with this
        before = until > 0 and bool(self.uniform > math.exp(-until))
        return -1 if before == (self.factor > 0) else 1

    def _raced(self, other: "Clock") -> int:
        """Who is first of the two. The winner stays in the race, which is how the first of several is found pair by pair."""
        first_is_largest = self.form == "inverse" or self.factor < 0
        weights = _weights([self, other] if first_is_largest else [-self, -other])
        if not any(weights):
            return 0
        first = self.uniform.drawn.branch.ask(lambda: weights)
        won, lost = (each.uniform.drawn for each in ((self, other) if first == 0 else (other, self)))
        won.pace *= weights[first] / sum(weights)
        lost.raced = True
        return 1 if first_is_largest == (first == 0) else -1

    def _refused(self, *_: Any) -> NoReturn:
        _refuse("a number of its own")

    def __float__(self) -> float:
        refuse_float()

    def __format__(self, spec: str) -> str:
        return "undrawn"

    __int__ = __bool__ = __index__ = __eq__ = __ne__ = __hash__ = __pow__ = __floor__ = __abs__ = exp = sqrt = _refused


def race(row: Sequence[Any], *, largest: bool) -> int:
    """Who wins: the index of the largest (or smallest) of clocks of one form, each with a draw of its own.

    A number in the row is infinite and never wins. Raises BadArgument for anything else.

    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.races import log, race
    >>> answered_law(lambda generator: race([0.25 / -log(generator.random()), 0.75 / -log(generator.random())], largest=True))
    {0: Fraction(1, 4), 1: Fraction(3, 4)}
    """
    return ranked(row, 1, largest=largest)[0]


def ranked(row: Sequence[Any], count: int, *, largest: bool) -> list[int]:
    """The first so many, in order: as one race after another, since a clock that has not rung has forgotten how long it ran.

    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.races import log, ranked
    >>> laws = answered_law(lambda generator: tuple(ranked([-log(generator.random()) / w for w in (1, 1, 2)], 2, largest=False)))
    >>> laws[2, 0]
    Fraction(1, 4)
    """
    turned = [entry if largest else -entry for entry in row]
    clocks = [entry for entry in turned if isinstance(entry, Clock)]
    if not clocks or any(entry != -math.inf for entry in turned if not isinstance(entry, Clock)):
        _refuse("a race against anything but other clocks")
    given = iter(_weights(clocks))
    weights = [next(given) if isinstance(entry, Clock) else Fraction(0) for entry in turned]
    winners: list[int] = []
    while len(winners) < count:
        if any(weights):
            winners.append(clocks[0].uniform.drawn.branch.ask(lambda: tuple(weights)))
            weights[winners[-1]] = Fraction(0)
        else:  # those that never win, which are equal
            winners.append(next(i for i in range(len(row)) if i not in winners))
    for clock in clocks:
        clock.uniform.drawn.raced = True
    return winners


def _weights(clocks: Sequence[Clock]) -> list[Fraction]:
    """How likely each is to be the largest, up to a common factor."""
    drawn = [clock.uniform.drawn for clock in clocks]
    if len(set(map(id, drawn))) < len(drawn) or not all(each.fresh for each in drawn):
        _refuse("a race with a draw that was used before")
    return [weight / each.pace for weight, each in zip(_rates(clocks), drawn, strict=True)]


def _rates(clocks: Sequence[Clock]) -> list[Fraction]:
    form, shift, factor = clocks[0].form, clocks[0].shift, clocks[0].factor
    if any(clock.form != form for clock in clocks):
        _refuse("a race of unlike clocks")
    if form == "straight" and all(clock.factor < 0 and clock.shift == shift for clock in clocks):
        return [-1 / clock.factor for clock in clocks]
    if form == "inverse" and all(clock.factor >= 0 for clock in clocks):
        return [clock.factor for clock in clocks]
    if form == "logarithm" and all(clock.factor == factor < 0 for clock in clocks):
        highest = max(clock.shift for clock in clocks)
        return [Fraction(math.exp((highest - clock.shift) / factor)) for clock in clocks]
    _refuse("a race that is none: the first of E / rate, or logits plus Gumbel noise, is answered")


def _log(number: Fraction) -> Fraction:
    return Fraction(math.log(number))


def _is_infinite(number: Any) -> bool:
    return isinstance(number, (float, np.floating)) and math.isinf(number)


def _refuse(what: str) -> NoReturn:
    raise BadArgument(
        f"the engine made of an exponential or Gumbel draw {what}; refspec/conformance/races.py says what is answered"
    )
