"""`float(u)`, where u is not drawn yet: Python takes nothing but a number for an answer, so that the name has to lead elsewhere.

Many engines cast each uniform. An adapter puts `Float` in the place of the name, in the module of the engine that does it:

    engine.sampling.float = Float

There it gives back what is undrawn as it is. Of anything else it makes a float as before, and `isinstance` knows no difference.
"""

import sys
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from refspec.errors import BadArgument

LIBRARIES = ("refspec", "torch", "numpy", "mlx")  # which ask on behalf of the engine


class _Kind(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, float)


class Float(float, metaclass=_Kind):
    """`float`, but for a number that is not drawn yet.

    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.casts import Float
    >>> answered_law(lambda generator: Float(generator.random()) < 0.25)
    {True: Fraction(1, 4), False: Fraction(3, 4)}
    >>> Float("0.5"), isinstance(0.5, Float), type(Float(1))
    (0.5, True, <class 'float'>)
    """

    dtype = np.dtype(np.float64)  # what NumPy asks of a type that is none of its own

    def __new__(cls, value: Any = 0.0) -> Any:
        held = value.item() if hasattr(value, "item") else value
        return held if getattr(held, "undrawn", False) else float(held)


def of_a_library(frame: FrameType) -> bool:
    """Whether code runs there that is neither the engine's nor an adapter's."""
    name = str(frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] in LIBRARIES and ".adapters" not in name


def refuse_float() -> NoReturn:
    """Raises BadArgument, which names the module that called `float`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and of_a_library(frame):
        frame = frame.f_back
    module = frame.f_globals.get("__name__", "the engine's module")
    raise BadArgument(
        f"the engine called float() on an undrawn uniform (in {module}, line {frame.f_lineno}); in the adapter, import that "
        f"module and set its name: {module}.float = refspec.conformance.casts.Float"
    )
