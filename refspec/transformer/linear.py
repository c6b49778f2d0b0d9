"""y = x W^T for a few rows of x: where all the time goes, and where speculation is won or lost.

Plain: `x @ weights[f"{name}.weight"].T`, in `linear` of `llama` (plain.py).

Every forward pass reads every weight once, so checking five tokens could cost what making one costs. With an ordinary product
it does not: for a handful of rows BLAS first copies the weight. What avoids that depends on the machine's BLAS kernel:

`Rows` [out, in], as the file has it, for OpenBLAS's AVX-512 kernels. They multiply small operands without a copy, and 32 rows
    of the weight are small enough: one `np.matmul` over a view of the weight as blocks of 32, shared by two cores.
`Panels` [panels, in, 32], for the same kernels on AMD's processors, where that view takes twice as long as a copy of its blocks
    that lies in the order in which the kernel reads it.
`Columns` [in, out], transposed, for all others. Up to ROW_BY_ROW rows are multiplied one by one, so that only the first
    waits for memory; more are padded to a multiple of 8, whose kernel is faster than that of the odd ones.

The choice is a fixed rule on kernel, maker, shape and rows, never a timing (N11). docs/performance.md has the measurements.

`row_invariant` asks for the same bits for a row whoever its neighbours are, so that checking a draft gives the very numbers
that decoding gives. `Columns` then go row by row however many there are; the others are only used where the product over blocks
was seen to give each row the same bits in every number of rows that it is used for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from refspec.arrays import Array
from refspec.transformer.blas import blas_kernel, blas_threads, has_no_copy, made_by_amd
from refspec.transformer.cores import HELPER
from refspec.transformer.mapping import let_go
from refspec.transformer.shelf import SHELF


class Linear(Protocol):
    def __call__(self, x: Array) -> Array:
        """x [n, in] -> [n, out]"""
        ...

    def rows(self, which: Array) -> Array:
        """which [k] -> [k, in], a copy of these rows of the weight"""
        ...


def linear(weight: Array, *, row_invariant: bool = False, kernel: str | None = None, amd: bool | None = None) -> Linear:
    """weight [out, in] -> its product, in the layout for this machine, or for the BLAS kernel and the maker that are named."""
    if has_no_copy(kernel or blas_kernel()) and weight.dtype == np.float32:
        panels = made_by_amd() if amd is None else amd
        if not row_invariant or counts_agree(by_panels if panels else by_blocks, *weight.shape):
            return Panels.of(weight, row_invariant) if panels else Rows(np.ascontiguousarray(weight), row_invariant)
    return Columns(transposed(weight), len(weight), row_invariant)


@dataclass(frozen=True)
class Rows:
    """weight: [out, in], contiguous."""

    weight: Array
    row_invariant: bool = False

    FEW = 36  # rows up to which OpenBLAS copies nothing (rows * BLOCK <= 1200, its pull request 3335)
    TRIED = 16  # the same where all have been tried

    def __call__(self, x: Array) -> Array:
        n = len(x)
        if not self.row_invariant:
            return by_blocks(x, self.weight) if 2 <= n <= self.FEW else x @ self.weight.T
        x = padded(x, 2)  # a single row would go to the matrix-vector routine
        return np.concatenate([by_blocks(x[i : i + self.TRIED], self.weight) for i in range(0, len(x), self.TRIED)])[:n]

    def rows(self, which: Array) -> Array:
        return self.weight[which]


BLOCK = 32  # rows of the weight in a block
TURN = 32  # blocks that a core takes at a time, some 2 MB
SHARED = 2 << 20  # bytes of weight from which two cores are worth their meeting, which costs some 0.1 ms


def by_blocks(x: Array, weight: Array) -> Array:
    """x [n, in], weight [out, in] -> [n, out], a few blocks at a time and by two cores"""
    x = np.ascontiguousarray(x)  # rows that lie column by column would go another way, with other bits
    n, (out, width) = len(x), weight.shape
    y = np.empty((n, out), np.float32)
    whole = out - out % BLOCK
    np.matmul(x, weight[whole:].T, out=y[:, whole:])
    shared(x, weight[:whole].reshape(-1, BLOCK, width).transpose(0, 2, 1), y[:, :whole])  # a view
    return y


def shared(x: Array, blocks: Array, y: Array) -> None:
    """x [n, in], blocks [k, in, BLOCK] -> y [n, k * BLOCK], by two cores"""
    into = y.reshape(len(x), -1, BLOCK).transpose(1, 0, 2)

    def multiply(turn: int) -> None:
        part = slice(turn * TURN, (turn + 1) * TURN)
        np.matmul(x, blocks[part], out=into[part])

    HELPER.share(multiply, -(-len(blocks) // TURN), alone=blocks.nbytes < SHARED or blas_threads() == 1)


def counts_agree(multiply: Callable[[Array, Array], Array], out: int, width: int) -> bool:
    """Whether `multiply` gives a row of `width` numbers the same bits in every place of every number of rows.

    Nobody promises that: other kernels add up the fifth of six rows in another order than the first. So it is tried, on numbers
    that have to be rounded, and with the shapes that will be used: a block, and what is left over after the last one.
    """
    numbers = np.cos(np.arange((Rows.TRIED + BLOCK + out % BLOCK) * width)).astype(np.float32).reshape(-1, width)
    x, weight = numbers[: Rows.TRIED], numbers[Rows.TRIED :]
    pairs = np.concatenate([multiply(x[i : i + 2], weight) for i in range(0, len(x), 2)])
    return all(np.array_equal(multiply(x[:n], weight), pairs[:n]) for n in range(2, len(x) + 1, 2))


@dataclass(frozen=True)
class Panels:
    """weight: [panels, in, BLOCK], the blocks of `Rows` as a copy; zeros beyond `out`."""

    weight: Array
    out: int
    row_invariant: bool = False

    SMALL = 1_000_000  # rows * in * BLOCK up to which OpenBLAS copies nothing; beyond it the product is 3 to 5 times slower
    MANY = 96  # rows from which the ordinary product is worth a copy of the weight, so many panels of it at a time

    @classmethod
    def of(cls, weight: Array, row_invariant: bool = False) -> "Panels":
        return cls(transposed(weight, BLOCK), len(weight), row_invariant)

    def __call__(self, x: Array) -> Array:
        n, width = x.shape
        if n >= self.MANY and not self.row_invariant:
            parts = [self.weight[i : i + self.MANY] for i in range(0, len(self.weight), self.MANY)]
            return np.concatenate([x @ side_by_side(part) for part in parts], axis=1)[:, : self.out]
        most = max(2, self.SMALL // (width * BLOCK) // 2 * 2)
        if self.row_invariant:
            most = min(most, Rows.TRIED)
        return np.concatenate([through_panels(x[i : i + most], self.weight) for i in range(0, n, most)])[:, : self.out]

    def rows(self, which: Array) -> Array:
        return of_panels(self.weight, which)


def through_panels(x: Array, panels: Array) -> Array:
    """x [n, in], panels [k, in, BLOCK] -> [n, k * BLOCK]"""
    n = len(x)
    x = padded(np.ascontiguousarray(x), 6 if 2 < n < 6 else 2)  # three rows take longer than six; one, the matrix-vector routine
    y = np.empty((len(x), len(panels) * BLOCK), np.float32)
    shared(x, panels, y)
    return y[:n]


def by_panels(x: Array, weight: Array) -> Array:
    """x [n, in], weight [out, in] -> [n, out], as `Panels` have it"""
    return through_panels(x, transposed(weight, BLOCK))[:, : len(weight)]


def side_by_side(panels: Array) -> Array:
    """panels [k, in, BLOCK] -> [in, k * BLOCK], a copy"""
    k, inputs, _ = panels.shape
    flat = np.empty((inputs, k, BLOCK), panels.dtype)
    for i, panel in enumerate(panels):  # one by one, which reads memory in order; a single transposing copy takes twice as long
        flat[:, i] = panel
    return flat.reshape(inputs, -1)


@dataclass(frozen=True)
class Columns:
    """weight: [panels, in, width], the columns of W^T; zeros beyond `out`."""

    weight: Array
    out: int
    row_invariant: bool = False

    WIDEST = 3072  # columns in a panel, so that what it gives for a row stays in the first-level cache
    ROW_BY_ROW = 4  # rows; from the fifth on, the product that packs the weight is the faster one

    def __call__(self, x: Array) -> Array:
        n = len(x)
        if n <= self.ROW_BY_ROW or self.row_invariant:
            rows = np.ascontiguousarray(x)[:, None]  # a matrix-vector product each; a row with gaps would go another way
            y = np.matmul(rows, self.weight[:, None])[:, :, 0]  # [panels, n, width]
        else:
            y = np.matmul(padded(x, 8), self.weight)[:, :n]
        return y.transpose(1, 0, 2).reshape(n, -1)[:, : self.out]

    def rows(self, which: Array) -> Array:
        return of_panels(self.weight, which)


def of_panels(panels: Array, which: Array) -> Array:
    """panels [panels, in, width] of W^T -> rows [k, in] of W"""
    width = panels.shape[2]
    return panels[which // width, :, which % width]


def transposed(weight: Array, width: int | None = None) -> Array:
    """weight [out, in] -> [panels, in, width]: W^T in panels filled up with zeros; without a width, those of `Columns`"""
    out, inputs = weight.shape
    width = width or -(-out // -(-out // Columns.WIDEST))
    panels = SHELF.zeros((-(-out // width), inputs, width), weight.dtype)
    for i, panel in enumerate(panels):
        rows = weight[i * width : (i + 1) * width]
        panel[:, : len(rows)] = rows.T
        if i % -(-Columns.WIDEST // width) == 0:
            let_go(rows)
    return panels


def padded(x: Array, multiple: int) -> Array:
    """x [n, in] -> the same with rows of zeros after it, up to a multiple of rows"""
    rows = -len(x) % multiple
    return np.concatenate([x, np.zeros((rows, x.shape[1]), x.dtype)]) if rows else x
