"""How a function is checked: run on every case beside the right one, and beside those that make a known mistake."""

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from refspec.errors import RefspecError

CLOSE = 1e-9  # what float64 sums of a few numbers near one may differ by, and a wrong formula does not


@dataclass(frozen=True)
class Report:
    """What a check says of an answer. True where it passed.

    >>> from refspec.exercises import Report
    >>> Report(False, "not yet."), bool(Report(True, "well done."))
    (✗ not yet., True)
    """

    passed: bool
    text: str

    def __repr__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.text}"

    def __bool__(self) -> bool:
        return self.passed


class Trouble(Exception):
    """An answer that gave no answer: what it did instead, in one line."""


@dataclass(frozen=True)
class Task:
    """An exercise: cases, the right function, and by what they do wrong the known wrong ones.

    asks: the names of the arguments, as the exercise has them, with blanks between.
    exact: whether 0.5833 is wrong where the answer is 7/12. through: what an answer is put through before it is compared.

    >>> from refspec.exercises import Task
    >>> double = Task("double", "x", ((1,), (3,)), right=lambda x: 2 * x, wrong={"the square": lambda x: x * x})
    >>> double(lambda x: x + x), double(lambda x: x ** 2)
    (✓ right on 2 of 2 cases., ✗ For x = 1 you say 1; it is 2. That is what comes of: the square.)
    """

    name: str
    asks: str
    cases: tuple[tuple[Any, ...], ...]
    right: Callable[..., Any]
    wrong: Mapping[str, Callable[..., Any]]
    exact: bool = True
    through: Callable[[Any], Any] = lambda answer: answer

    def __call__(self, answer: Callable[..., Any]) -> Report:
        if not callable(answer):
            return not_a_function(self.name, answer)
        try:
            given = [self.seen(attempt(answer, *case)) for case in self.cases]
        except Trouble as trouble:
            return Report(False, str(trouble))
        due = [self.through(self.right(*deepcopy(case))) for case in self.cases]
        off = [i for i, pair in enumerate(zip(given, due, strict=True)) if not self.same(*pair)]
        if not off:
            return Report(True, f"right on {len(due)} of {len(due)} cases.")
        first = off[0]
        where = ", ".join(f"{name} = {said(value)}" for name, value in zip(self.asks.split(), self.cases[first], strict=True))
        text = f"For {where} you say {said(given[first])}; it is {said(due[first])}."
        if all(near(*pair) for pair in zip(given, due, strict=True)):
            return Report(
                False, f"{text} Close, but not exact: somewhere a float came in. Fractions stay fractions under + - * /."
            )
        return Report(False, text + self.diagnosis(given))

    def seen(self, answer: Any) -> Any:
        try:
            return self.through(answer)
        except Exception:
            raise Trouble(f"your function answered {said(answer)}, which is nothing like what was asked for.") from None

    def same(self, given: Any, due: Any) -> bool:
        return equal(given, due) if self.exact else near(given, due)

    def diagnosis(self, given: Sequence[Any]) -> str:
        """Which known mistake gives all of these answers."""
        for mistake, function in self.wrong.items():
            theirs = [self.through(function(*deepcopy(case))) for case in self.cases]
            if all(near(*pair) for pair in zip(given, theirs, strict=True)):
                return f" That is what comes of: {mistake}."
        return ""


def not_a_function(name: str, answer: Any) -> Report:
    return Report(
        False, f"give the function itself, {name}(your_function); this is {said(answer)}, of type {type(answer).__name__}."
    )


def attempt(answer: Callable[..., Any], *case: Any) -> Any:
    """What it answers, on a copy of the case. Raises Trouble where it raises, or returns nothing."""
    try:
        given = answer(*deepcopy(case))
    except Exception as error:
        raise Trouble(blame(answer, error)) from None
    if given is None or given is NotImplemented or given is Ellipsis:
        raise Trouble(f"your function returned {given}: it is not written yet, or a `return` is missing.")
    return given


def blame(answer: Callable[..., Any], error: Exception) -> str:
    """One line on what went wrong in somebody's function, and in which of its lines.

    >>> from refspec.exercises.task import blame
    >>> blame(len, ValueError("too long"))
    'your function raised ValueError: too long.'
    """
    code = getattr(inspect.unwrap(answer), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if code is not None and frame.filename == code.co_filename]
    at = f" (line {lines[-1]} of its cell)" if lines else ""
    first = (str(error).splitlines() or [""])[0].rstrip(".")
    # ours say what was given and what to do; of others the kind tells as much as the text
    what = "was stopped" if isinstance(error, RefspecError) else f"raised {type(error).__name__}"
    return f"your function {what}{at}: {first}." if first else f"your function {what}{at}."


def entries(value: Any) -> Any:
    """Arrays and lists as tuples, so that they compare by what they hold."""
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(np.asarray(value, dtype=object)) > 0:
        return tuple(entries(each) for each in value)
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0 else value


def equal(given: Any, due: Any) -> bool:
    return bool(entries(given) == entries(due)) and not holds_float(given, due)


def holds_float(given: Any, due: Any) -> bool:
    """Whether a float, which happens to be equal, stands where a fraction should."""
    a, b = entries(given), entries(due)
    if isinstance(b, tuple):
        return any(holds_float(*pair) for pair in zip(a, b, strict=True))
    return isinstance(a, float) and not isinstance(b, float)


def near(given: Any, due: Any) -> bool:
    try:
        a, b = np.asarray(given, dtype=np.float64), np.asarray(due, dtype=np.float64)
    except (TypeError, ValueError):
        return bool(entries(given) == entries(due))
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=CLOSE))


def said(value: Any) -> str:
    """A value as a person would write it down.

    >>> from fractions import Fraction
    >>> from refspec.exercises.task import said
    >>> said([Fraction(1, 2), 0.25]), said(7)
    ('1/2 0.25', '7')
    """
    value = entries(value)
    if isinstance(value, tuple):
        return " ".join(said(each) for each in value) if not any(isinstance(each, tuple) for each in value) else repr_of(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return repr(value) if isinstance(value, str) else str(value)


def repr_of(rows: tuple[Any, ...]) -> str:
    return "[" + "; ".join(said(row) for row in rows) + "]"
