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

`row_invariant` asks for more: the same bits for a row whoever its neighbours are, so that checking a draft gives the
very numbers that decoding gives. `Rows` and `WidePanels` then go row by row however many there are, and `Panels` give
the no-copy product no numbers of rows but those that were seen to agree when the weight was laid out. What is left to
trust the BLAS with is that one call gives the same bits wherever its operands lie in memory.
"""

import ctypes
import math
from dataclasses import dataclass
from functools import cache
from threading import Lock
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


def linear(weight: Array, *, row_invariant: bool = False, kernel: str | None = None) -> Linear:
    """weight [out, in] -> the layout for this BLAS, or for the one named `kernel`."""
    out, width = weight.shape
    has_no_copy = (kernel or blas_kernel()).lower() in NO_COPY_KERNELS and weight.dtype == np.float32
    if has_no_copy and (not row_invariant or counts_agree(width)):
        return Panels.of(weight, row_invariant)
    if out >= 2 * width and out % WidePanels.WIDTH == 0:
        return WidePanels.of(weight, row_invariant)
    return Rows.of(weight, row_invariant)


@dataclass(frozen=True)
class Rows:
    """weight: [out, in], contiguous."""

    weight: Array
    row_invariant: bool = False

    BLOCK_BYTES = 4 << 20  # of weights that the rows share: well inside a last-level cache

    @classmethod
    def of(cls, weight: Array, row_invariant: bool = False) -> "Rows":
        return cls(np.ascontiguousarray(weight), row_invariant)

    @property
    def shape(self) -> tuple[int, int]:
        return self.weight.shape[0], self.weight.shape[1]

    def __call__(self, x: Array) -> Array:
        n = len(x)
        if n > ROW_BY_ROW and not self.row_invariant:
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
    row_invariant: bool = False

    WIDTH = 3072

    @classmethod
    def of(cls, weight: Array, row_invariant: bool = False) -> "WidePanels":
        return cls(to_panels(weight, cls.WIDTH), row_invariant)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.weight) * self.WIDTH, self.weight.shape[1]

    def __call__(self, x: Array) -> Array:
        n = len(x)
        y = np.empty((n, len(self.weight), self.WIDTH), x.dtype)
        if n > ROW_BY_ROW and not self.row_invariant:
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
    row_invariant: bool = False

    WIDTH = 32
    BOUND = 1_000_000  # rows * in * WIDTH up to which OpenBLAS does not pack; beyond it the product is 3 to 5 times slower
    TRIED = 16  # rows up to which `row_invariant` has the product tried, and uses it
    MANY = 96  # rows from which the ordinary product is worth a copy of the weight, a BLOCK of panels at a time
    BLOCK = 96

    @classmethod
    def of(cls, weight: Array, row_invariant: bool = False) -> "Panels":
        return cls(to_panels(weight, cls.WIDTH), len(weight), row_invariant)

    @property
    def shape(self) -> tuple[int, int]:
        return self.out, self.weight.shape[1]

    def __call__(self, x: Array) -> Array:
        n, width = x.shape
        y = np.empty((n, len(self.weight), self.WIDTH), x.dtype)
        if n >= self.MANY and not self.row_invariant:
            for start in range(0, len(self.weight), self.BLOCK):
                block = self.weight[start : start + self.BLOCK]
                y[:, start : start + self.BLOCK] = (x @ from_panels(block)).reshape(n, -1, self.WIDTH)
        else:
            most = most_rows(width, self.row_invariant)
            for start in range(0, n, most):
                y[start : start + most] = no_copy(x[start : start + most], self.weight, most).transpose(1, 0, 2)
        return y.reshape(n, -1)[:, : self.out]

    def take(self, ids: Array) -> Array:
        return self.weight[ids // self.WIDTH, :, ids % self.WIDTH]


def no_copy(x: Array, panels: Array, most: int) -> Array:
    """x [n, in], n <= most, panels [k, in, width] -> [k, n, width]"""
    return np.matmul(padded(x, min(kernel_rows(len(x)), most) - len(x)), panels)[:, : len(x)]


def kernel_rows(n: int) -> int:
    """How many rows to give the no-copy product for n: it is as fast for 6 as for 3, and slower for 3 or 5 than for 6.

    Never one, which NumPy would give to the matrix-vector routine, and that walks a panel the slow way.
    """
    return 2 if n <= 2 else 6 if n <= 6 else n + n % 2


def most_rows(width: int, row_invariant: bool) -> int:
    """How many rows of `width` numbers to give the no-copy product at once, an even number; few enough to try them all."""
    within = max(2, Panels.BOUND // (width * Panels.WIDTH) // 2 * 2)
    return min(within, Panels.TRIED) if row_invariant else within


def counts_agree(width: int) -> bool:
    """Whether the no-copy product gives a row of `width` numbers the same bits in every place of every number of rows.

    On the kernels named above it does, since it adds up each row by itself; but nobody promises that, and other kernels
    give the fifth of six rows another order of additions than the first. So it is tried, on numbers that have to be
    rounded, and with the shapes that will be used.
    """
    most = most_rows(width, row_invariant=True)
    numbers = np.cos(np.arange((most + Panels.WIDTH) * width)).astype(np.float32)
    x, panel = numbers[: most * width].reshape(most, width), numbers[most * width :].reshape(1, width, -1)
    alone = np.concatenate([no_copy(x[i : i + 1], panel, most) for i in range(most)], axis=1)
    return all(np.array_equal(no_copy(x[:n], panel, most), alone[:, :n]) for n in range(1, most + 1))


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
    panels = SHELF.zeros((-(-out // width), inputs, width), weight.dtype)
    for i, panel in enumerate(panels):
        rows = weight[i * width : (i + 1) * width]
        panel[:, : len(rows)] = rows.T
    return panels


class Shelf:
    """Room for weights that are laid out anew, side by side in blocks of BLOCK bytes.

    Linux backs large allocations of NumPy's with huge pages, and small ones with pages of 4 KB, whose addresses the processor
    has to look up again and again while it streams: a matrix of 2 MB was read 1.2 to 1.6 times as fast from a large block.
    """

    BLOCK = 64 << 20
    ALIGNED = 64  # bytes, a cache line

    def __init__(self) -> None:
        self._free = np.zeros(0, np.uint8)
        self._lock = Lock()

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        taken = -(-size // self.ALIGNED) * self.ALIGNED
        with self._lock:
            if taken > len(self._free):
                self._free = np.zeros(max(taken, self.BLOCK), np.uint8)
            room, self._free = self._free[:size], self._free[taken:]
        return room.view(dtype).reshape(shape)


SHELF = Shelf()


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
