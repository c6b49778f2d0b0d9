"""Arrays of draws that are not drawn yet, where MLX has arrays of its own: NumPy's, of objects that are asked one by one.

NumPy does the arithmetic, logarithms, comparisons and moves, as `undrawn.py` and `races.py` answer them. Here is what leads
there: the operators of `mx.array`, which know nothing but numbers, and the functions of `mlx.core` of the same names.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import numpy as np

from refspec.conformance.races import Clock
from refspec.conformance.undrawn import UndrawnUniform

OPERATORS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "radd": lambda a, b: np.add(b, a),
    "sub": np.subtract,
    "rsub": lambda a, b: np.subtract(b, a),
    "mul": np.multiply,
    "rmul": np.multiply,
    "truediv": np.divide,
    "rtruediv": lambda a, b: np.divide(b, a),
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
FUNCTIONS = (
    "add subtract multiply divide negative log log1p less less_equal greater greater_equal floor argmax argmin reshape squeeze "
    "expand_dims concatenate stack"
).split()


class Undrawn(np.ndarray[Any, Any]):
    """Numbers that are not drawn yet. What is asked of them comes as an array of MLX."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return made(getattr(ufunc, method)(*map(plain, inputs), **kwargs))

    def __getitem__(self, index: Any) -> Any:
        return made(plain(self)[plain(index)])

    def astype(self, *_: Any, **__: Any) -> Any:
        return self


def made(found: Any) -> Any:
    """As an array of MLX where all are numbers, else as Undrawn."""
    rows = np.asarray(found)
    if any(isinstance(entry, (UndrawnUniform, Clock)) for entry in rows.ravel()):
        return rows.view(Undrawn)
    return mx.array(rows.tolist(), mx.float32 if rows.dtype in (object, np.float64) else None)


def plain(value: Any) -> Any:
    """As NumPy takes it."""
    if isinstance(value, mx.array):
        return np.array(value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value)
    return value.view(np.ndarray) if isinstance(value, Undrawn) else value


@contextmanager
def led_here() -> Iterator[None]:
    """Within it operators and functions of MLX take what is undrawn."""
    before = {(mx.array, f"__{name}__"): getattr(mx.array, f"__{name}__") for name in OPERATORS}
    before |= {(mx, name): getattr(mx, name) for name in FUNCTIONS}
    try:
        for name, ufunc in OPERATORS.items():
            setattr(mx.array, f"__{name}__", _led(before[mx.array, f"__{name}__"], ufunc))
        for name in FUNCTIONS:
            setattr(mx, name, _led(before[mx, name], getattr(np, name)))
        yield
    finally:
        for (owner, name), function in before.items():
            setattr(owner, name, function)


def _led(theirs: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    def either(*args: Any, **kwargs: Any) -> Any:
        several = isinstance(args[0], (list, tuple))  # concatenate and stack
        if any(isinstance(each, (Undrawn, UndrawnUniform, Clock)) for each in (args[0] if several else args)):
            return made(ours([*map(plain, args[0])] if several else plain(args[0]), *map(plain, args[1:]), **kwargs))
        return theirs(*args, **kwargs)

    return either
