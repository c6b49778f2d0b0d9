"""What a type of numbers rounds: `plain.py`, unchanged, on arrays each of whose operations rounds its result to that type.

float32 is NumPy's own. It has no bfloat16, and adds up products of float16 slowly, so those two are numbers of float32 of which
each result is rounded: a product of matrices once, behind its additions, as engines have it. Left out: the range. What is too
large for float16 stays finite here.

>>> import numpy as np
>>> from refspec.transformer.rounding import TYPES
>>> x = TYPES["bfloat16"].of(np.array([1.0, 1 / 3]))
>>> (x + 3).tolist()
[4.0, 3.328125]
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refspec.arrays import Array


@dataclass(frozen=True)
class Type:
    """name: as PyTorch calls it. unit: the most that one rounding moves a number of size 1. of: numbers as of this type."""

    name: str
    unit: float
    of: Callable[[Array], Array]


class Rounded(np.ndarray[Any, Any]):
    """Numbers of float32, rounded to `bits` after each operation. `np.where` forgets it, and so the softmax is float32's."""

    __array_priority__ = 1.0  # a concatenation with others is of this kind
    bits: int  # of the significand, the leading one included

    @classmethod
    def of(cls, x: Array) -> Array:
        return rounded(np.asarray(x, np.float32), cls.bits).view(cls)

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *given: Any, out: Any = None, **options: Any) -> Any:
        result = getattr(ufunc, method)(*(np.asarray(each) if isinstance(each, Rounded) else each for each in given), **options)
        if getattr(result, "dtype", None) in (np.float32, np.float64):
            result = self.of(result)
        if out is None:
            return result
        np.asarray(out[0])[...] = result
        return out[0]


class Bfloat16(Rounded):
    bits = 8


class Float16(Rounded):
    bits = 11


def rounded(x: Array, bits: int) -> Array:
    """x of float32 to the nearest number with so many binary digits, of two as near to the even one.

    >>> import numpy as np
    >>> from refspec.transformer.rounding import rounded
    >>> rounded(np.float32([257, 258, 259, np.inf]), bits=8).tolist()
    [256.0, 258.0, 260.0, inf]
    """
    digits, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(digits, bits)), exponent - bits)


TYPES = {
    each.name: each
    for each in (
        Type("float64", 2.0**-53, lambda x: x.astype(np.float64)),
        Type("float32", 2.0**-24, lambda x: x.astype(np.float32)),
        Type("bfloat16", 2.0**-8, Bfloat16.of),
        Type("float16", 2.0**-11, Float16.of),
    )
}
