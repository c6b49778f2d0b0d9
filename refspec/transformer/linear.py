"""y = x W^T for a few rows of x: where all the time goes, and where speculation is won or lost.

Plain: `x @ weights[f"{name}.weight"].T`, in `linear` of `llama` (plain.py). Here its layout is chosen once, at loading.

A decoder reads every weight once for each forward pass, so checking five tokens could cost what making one costs. An
ordinary matrix product does not have that property: for a handful of rows BLAS first copies the weight into packed
buffers, and the second row doubles the time. The trick is another layout of the weight; which one depends on the machine's
BLAS kernel and on the shape:

`Panels` (panels.py) [panels, in, width], width 32: OpenBLAS's AVX-512 kernels have a product for small operands that
    copies nothing. One `np.matmul` runs it panel by panel, for as many rows as keep rows * in * width within its bound.
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

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from refspec.arrays import Array
from refspec.transformer.blas import blas_kernel, has_no_copy
from refspec.transformer.panels import Panels, counts_agree, padded
from refspec.transformer.shelf import to_panels

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
    panels = has_no_copy(kernel or blas_kernel()) and weight.dtype == np.float32
    if panels and (not row_invariant or counts_agree(width)):
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
