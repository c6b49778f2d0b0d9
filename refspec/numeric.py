"""The one place that looks at a number which a person gave: whether it is one of the right kind, and in range."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from refspec.brief import short
from refspec.errors import BadArgument


def whole(name: str, value: Any, least: int, more: str = "") -> None:
    """Raises BadArgument unless it is a whole number of Python or NumPy, at least `least`. more: what else the message says.

    >>> from refspec.numeric import whole
    >>> whole("gamma", 4, 0)
    >>> whole("seed", 1.0, 0)
    Traceback (most recent call last):
    ...
    refspec.errors.BadArgument: seed is 1.0; it is a whole number, at least 0
    """
    if not (isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least):
        raise BadArgument(f"{name} is {short(value)}; it is a whole number, at least {least}{more}")


def number(name: str, value: Any, fits: Callable[[Any], bool], allowed: str) -> None:
    """Raises BadArgument unless it is a real number of Python or NumPy, or a Fraction, that fits. allowed: which ones do.

    >>> from refspec.numeric import number
    >>> number("top_p", 0.5, lambda p: 0 < p <= 1, "a number above 0 and at most 1")
    >>> number("top_p", "high", lambda p: 0 < p <= 1, "a number above 0 and at most 1")
    Traceback (most recent call last):
    ...
    refspec.errors.BadArgument: top_p is 'high'; it is a number above 0 and at most 1
    """
    if not (isinstance(value, Real) and not isinstance(value, bool) and fits(value)):
        raise BadArgument(f"{name} is {short(value)}; it is {allowed}")
