"""One list of parameters, written once."""

from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Given = TypeVar("Given")
Result = TypeVar("Result")


def fed_by(first: Callable[Parameters, Given]) -> Callable[[Callable[[Given], Result]], Callable[Parameters, Result]]:
    """Decorate a function of what `first` returns: it then takes what `first` takes, and `help` shows those parameters.

    >>> from refspec.compose import fed_by
    >>> def read(text: str, base: int = 10) -> int:
    ...     return int(text, base)
    >>> @fed_by(read)
    ... def twice(number: int) -> int:
    ...     "The double of what is written."
    ...     return 2 * number
    >>> twice("11", base=2)
    6
    """

    def decorate(then: Callable[[Given], Result]) -> Callable[Parameters, Result]:
        def composed(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
            return then(first(*args, **options))

        update_wrapper(composed, then)
        returned = signature(then).return_annotation
        composed.__signature__ = signature(first).replace(return_annotation=returned)  # type: ignore[attr-defined]
        return composed

    return decorate
