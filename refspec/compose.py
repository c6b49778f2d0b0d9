"""One list of parameters, written once."""

from collections.abc import Callable
from functools import update_wrapper
from inspect import getdoc, signature
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Given = TypeVar("Given")
Result = TypeVar("Result")


def fed_by(first: Callable[Parameters, Given]) -> Callable[[Callable[[Given], Result]], Callable[Parameters, Result]]:
    """Decorate a function of what `first` returns: it then takes what `first` takes.

    `help` shows those parameters, and what `first` says of them.

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
        shown = signature(first).replace(return_annotation=signature(then).return_annotation)

        def composed(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
            try:
                shown.bind(*args, **options)
            except TypeError as error:  # in the name that was called, and not in that of `first`
                raise TypeError(f"{then.__name__}() {error}") from None
            return then(first(*args, **options))

        update_wrapper(composed, then)
        composed.__signature__ = shown  # type: ignore[attr-defined]
        composed.__doc__ = f"{getdoc(then)}\n\nAs `{first.__name__}`:\n\n{getdoc(first)}"
        return composed

    return decorate
