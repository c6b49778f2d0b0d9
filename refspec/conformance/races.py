"""Exponential and Gumbel races, answered: -log u of an undrawn uniform is a clock, and the first of several wins by its rate.

Of independent clocks E_i / w_i, each E_i exponential with mean 1, clock i is first with probability w_i / sum(w). An engine
writes that as argmin of E / w, argmax of w / E, argmax of log(u) / w, or argmax of logits - log(-log u) (the Gumbel trick).
What is left when a race is over (by how much it was won, who came second) is not answered, and raises.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NoReturn

from refspec.conformance.answered import UndrawnUniform, as_fraction
from refspec.errors import BadArgument

# What engines add inside a logarithm against log 0. It shifts a law by about as much, and is taken for nothing.
EPSILON = Fraction(1, 10**9)


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
    if scale > 0 and 0 <= shift <= EPSILON:  # scale * u
        return Clock(UndrawnUniform(value.drawn), "straight", Fraction(-1), _log(scale))
    if scale < 0 and 0 <= shift + scale <= EPSILON:  # -scale * (1 - u)
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

    def __mul__(self, other: Any) -> "Clock":
        by = as_fraction(other)
        return replace(self, factor=self.factor * by, shift=self.shift * by)

    def __neg__(self) -> "Clock":
        return self * -1

    def __add__(self, other: Any) -> Any:
        if _is_infinite(other):  # a logit of -inf: it stays there whatever the clock says
            return other
        if self.form == "inverse" and other != 0:
            _refuse("an inverse clock plus a number")
        return replace(self, shift=self.shift + as_fraction(other))

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    __rmul__, __radd__ = __mul__, __add__

    def __truediv__(self, other: Any) -> Any:
        if other == 0 and self.form == "straight" and self.shift == 0:
            return math.copysign(math.inf, self.factor)
        return self * (1 / as_fraction(other))

    def __rtruediv__(self, other: Any) -> "Clock":
        if self.form != "straight" or abs(self.shift) > EPSILON:
            _refuse("a number divided by it")
        return Clock(self.uniform, "inverse", as_fraction(other) / self.factor)

    def log(self) -> "Clock":
        if self.form != "straight" or self.factor <= 0 or not 0 <= self.shift <= EPSILON:
            _refuse("its logarithm")
        return Clock(self.uniform, "logarithm", Fraction(1), _log(self.factor))

    def __lt__(self, other: Any) -> bool:
        if self.form != "straight" or self.factor == 0:
            _refuse("a comparison with a number")
        if _is_infinite(other):
            return bool(other > 0)
        until = (as_fraction(other) - self.shift) / self.factor  # the clock itself is compared with this
        before = until > 0 and bool(self.uniform > math.exp(-until))
        return before == (self.factor > 0)

    def __ge__(self, other: Any) -> bool:
        return not self < other

    __le__, __gt__ = __lt__, __ge__  # a single point has no weight

    def _refused(self, *_: Any) -> NoReturn:
        _refuse("a number of its own")

    __float__ = __int__ = __bool__ = __index__ = __eq__ = __ne__ = __hash__ = __pow__ = _refused


def race(row: Sequence[Any], *, largest: bool) -> int:
    """Who wins: the index of the largest (or smallest) of clocks of one form, each with a draw of its own.

    A number in the row is infinite and never wins. Raises BadArgument for anything else.

    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.races import log, race
    >>> answered_law(lambda generator: race([0.25 / -log(generator.random()), 0.75 / -log(generator.random())], largest=True))
    {0: Fraction(1, 4), 1: Fraction(3, 4)}
    """
    turned = [entry if largest else -entry for entry in row]
    clocks = [entry for entry in turned if isinstance(entry, Clock)]
    if not clocks or any(entry != -math.inf for entry in turned if not isinstance(entry, Clock)):
        _refuse("a race against anything but other clocks")
    drawn = [clock.uniform.drawn for clock in clocks]
    if len(set(map(id, drawn))) < len(drawn) or not all(each.fresh for each in drawn):
        _refuse("a race with a draw that was used before")
    weights = iter(_weights(clocks))
    winner = drawn[0].branch.ask(lambda: [next(weights) if isinstance(entry, Clock) else Fraction(0) for entry in turned])
    for each in drawn:
        each.raced = True
    return winner


def _weights(clocks: Sequence[Clock]) -> list[Fraction]:
    """How likely each is to be the largest, up to a common factor."""
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
    return isinstance(number, float) and math.isinf(number)


def _refuse(what: str) -> NoReturn:
    raise BadArgument(
        f"the engine made of an exponential or Gumbel draw {what}; refspec/conformance/races.py says what is answered"
    )
