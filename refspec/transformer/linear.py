"""y = x W^T for a few rows of x: where all the time goes, and where speculation is won or lost.

A decoder reads every weight once for each forward pass, so checking five tokens could cost what making one costs. An
ordinary matrix product does not have that property: for a handful of rows BLAS first copies the weight into packed
buffers, and the second row doubles the time. What helps depends on the machine's BLAS kernel and on the shape:

`Panels` [panels, in, width], width 32: OpenBLAS's AVX-512 kernels have a product for small operands that copies
    nothing. One `np.matmul` runs it panel by panel, for as many rows as keep rows * in * width within its bound.
`WidePanels` [panels, in, width], width 3072: elsewhere, for weights with many more outputs than inputs. Up to
    ROW_BY_ROW rows are multiplied one by one while a panel is in the last-level cache, so that only the first waits
    for memory; more are padded to a multiple of 8, whose kernel is faster than that of the odd ones.
`Rows` [out, in], the layout of the file: the same for all other shapes.

The choice is a fixed rule on the BLAS kernel, the shape and the rows, and never a timing: the same input gives the
same bits in every run on one machine (N11).
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np

from refspec.arrays import Array

# OpenBLAS kernels that have the no-copy product for small operands (AVX-512; AMD Zen 4 and later report one of these).
NO_COPY_KERNELS = ("skylakex", "cooperlake", "sapphirerapids")

ROW_BY_ROW = 4  # rows; from the fifth on, the product that packs the weight is the faster one


class Linear(Protocol):
    """A weight [out, in] in the layout that suits its machine. Only this one copy of it is kept."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def __call__(self, x: Array) -> Array:
        """x [n, in] -> [n, out]"""
        ...

    def take(self, ids: Array) -> Array:
        """ids [n] -> [n, in]: rows of the weight, for an embedding that is tied to the head"""
        ...


def linear(weight: Array, kernel: str | None = None) -> Linear:
    """weight [out, in] -> the layout for this BLAS, or for the one named `kernel`."""
    out, width = weight.shape
    if (kernel or blas_kernel()).lower() in NO_COPY_KERNELS and weight.dtype == np.float32:
        return Panels.of(weight)
    if out >= 2 * width and out % WidePanels.WIDTH == 0:
        return WidePanels.of(weight)
    return Rows.of(weight)


@dataclass(frozen=True)
class Rows:
    """weight: [out, in], contiguous."""

    weight: Array

    BLOCK_BYTES = 4 << 20  # of weights that the rows share: well inside a last-level cache

    @classmethod
    def of(cls, weight: Array) -> "Rows":
        return cls(np.ascontiguousarray(weight))

    @property
    def shape(self) -> tuple[int, int]:
        return self.weight.shape[0], self.weight.shape[1]

    def __call__(self, x: Array) -> Array:
        n = len(x)
        if n > ROW_BY_ROW:
            return (padded(x, -n % 8) @ self.weight.T)[:n]
        out, width = self.shape
        y = np.empty((n, out), x.dtype)
        step = max(1, self.BLOCK_BYTES // (width * self.weight.itemsize))
        for start in range(0, out, step):
            block = self.weight[start : start + step]
            for row in range(n):
                np.matmul(block, x[row], out=y[row, start : start + step])
        return y

    def take(self, ids: Array) -> Array:
        return self.weight[ids]


@dataclass(frozen=True)
class WidePanels:
    """weight: [panels, in, WIDTH]; WIDTH divides out."""

    weight: Array

    WIDTH = 3072

    @classmethod
    def of(cls, weight: Array) -> "WidePanels":
        return cls(to_panels(weight, cls.WIDTH))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.weight) * self.WIDTH, self.weight.shape[1]

    def __call__(self, x: Array) -> Array:
        n = len(x)
        y = np.empty((n, len(self.weight), self.WIDTH), x.dtype)
        if n > ROW_BY_ROW:
            rows = padded(x, -n % 8)
            for i, panel in enumerate(self.weight):
                y[:, i] = (rows @ panel)[:n]
        else:
            for i, panel in enumerate(self.weight):
                for row in range(n):
                    np.matmul(x[row], panel, out=y[row, i])
        return y.reshape(n, -1)

    def take(self, ids: Array) -> Array:
        return self.weight[ids // self.WIDTH, :, ids % self.WIDTH]


@dataclass(frozen=True)
class Panels:
    """weight: [panels, in, WIDTH], the last panel filled up with zeros beyond `out`."""

    weight: Array
    out: int

    WIDTH = 32
    BOUND = 1_000_000  # rows * in * WIDTH up to which OpenBLAS does not pack; beyond it the product is 3 to 5 times slower
    MANY = 96  # rows from which the ordinary product is worth a copy of the weight, a BLOCK of panels at a time
    BLOCK = 96

    @classmethod
    def of(cls, weight: Array) -> "Panels":
        return cls(to_panels(weight, cls.WIDTH), len(weight))

    @property
    def shape(self) -> tuple[int, int]:
        return self.out, self.weight.shape[1]

    def __call__(self, x: Array) -> Array:
        n, width = x.shape
        y = np.empty((n, len(self.weight), self.WIDTH), x.dtype)
        if n >= self.MANY:
            for start in range(0, len(self.weight), self.BLOCK):
                block = self.weight[start : start + self.BLOCK]
                y[:, start : start + self.BLOCK] = (x @ from_panels(block)).reshape(n, -1, self.WIDTH)
        else:
            most = max(2, self.BOUND // (width * self.WIDTH))
            for start in range(0, n, most):
                rows = x[start : start + most]
                product = np.matmul(padded(rows, kernel_rows(len(rows)) - len(rows)), self.weight)
                y[start : start + most] = product[:, : len(rows)].transpose(1, 0, 2)
        return y.reshape(n, -1)[:, : self.out]

    def take(self, ids: Array) -> Array:
        return self.weight[ids // self.WIDTH, :, ids % self.WIDTH]


def kernel_rows(n: int) -> int:
    """How many rows to give the no-copy product for n: it is as fast for 6 as for 3, and slower for 3 or 5 than for 6.

    Never one, which NumPy would give to the matrix-vector routine, and that walks a panel the slow way.
    """
    return 2 if n <= 2 else 6 if n <= 6 else n + n % 2


def from_panels(panels: Array) -> Array:
    """panels [k, in, width] -> [in, k * width], a copy"""
    k, inputs, width = panels.shape
    flat = np.empty((inputs, k, width), panels.dtype)
    for i, panel in enumerate(panels):  # one by one, which reads memory in order; a single transposing copy takes twice as long
        flat[:, i] = panel
    return flat.reshape(inputs, -1)


def to_panels(weight: Array, width: int) -> Array:
    """weight [out, in] -> [panels, in, width]: columns of W^T side by side, the last panel filled up with zeros"""
    out, inputs = weight.shape
    panels = np.zeros((-(-out // width), inputs, width), weight.dtype)
    for i, panel in enumerate(panels):
        rows = weight[i * width : (i + 1) * width]
        panel[:, : len(rows)] = rows.T
    return panels


def padded(x: Array, rows: int) -> Array:
    """x [n, in] -> [n + rows, in], with rows of zeros"""
    return np.concatenate([x, np.zeros((rows, x.shape[1]), x.dtype)]) if rows else x


@cache
def blas_kernel() -> str:
    """The name of the kernel that NumPy's OpenBLAS runs, such as "SkylakeX" or "Haswell"; "unknown" for another BLAS."""
    name = _openblas("get_corename", ctypes.c_char_p)
    return name.decode() if isinstance(name, bytes) else "unknown"


def blas_threads() -> int | None:
    """How many threads NumPy's OpenBLAS uses; None for another BLAS."""
    threads = _openblas("get_num_threads", ctypes.c_int)
    return threads if isinstance(threads, int) else None


def _openblas(function: str, result: Any) -> Any:
    """Call a function of the OpenBLAS inside NumPy's wheel, whose names carry a prefix and a suffix; None without it."""
    from numpy.linalg import _umath_linalg

    try:
        library = ctypes.CDLL(_umath_linalg.__file__)  # it is linked against that BLAS, so its handle finds the name
        call = getattr(library, f"scipy_openblas_{function}64_")
    except (OSError, AttributeError):
        return None
    call.restype = result
    return call()
