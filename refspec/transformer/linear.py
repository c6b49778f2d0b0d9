"""y = x W^T for a few rows of x: where all the time goes, and where speculation is won or lost.

Plain: `x @ weights[f"{name}.weight"].T`, in `linear` of `llama` (plain.py).

Every forward pass reads every weight once, so checking five tokens could cost what making one costs. With an ordinary product
it does not: for a handful of rows BLAS first copies the weight. What avoids that depends on the machine's BLAS kernel:

`Rows` [out, in], as the file has it, for OpenBLAS's AVX-512 kernels. They multiply small operands without a copy, and 32 rows
    of the weight are small enough: one `np.matmul` over a view of the weight as blocks of 32, shared by two cores.
`Columns` [in, out], transposed, for all others. Up to ROW_BY_ROW rows are multiplied one by one, so that only the first
    waits for memory; more are padded to a multiple of 8, whose kernel is faster than that of the odd ones.

The choice is a fixed rule on kernel, shape and rows, never a timing (N11). docs/performance.md has the measurements.

`row_invariant` asks for the same bits for a row whoever its neighbours are, so that checking a draft gives the very numbers
that decoding gives. `Columns` then go row by row however many there are; `Rows` are only used where the product over blocks
was seen to give each row the same bits in every number of rows that it is used for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refspec.arrays import Array
from refspec.transformer.blas import blas_kernel, blas_threads, has_no_copy
from refspec.transformer.cores import HELPER
from refspec.transformer.mapping import let_go

Linear = Callable[[Array], Array]  # x [n, in] -> [n, out]


def linear(weight: Array, *, row_invariant: bool = False, kernel: str | None = None) -> Linear:
    """weight [out, in] -> its product, in the layout for this BLAS, or for the one named `kernel`."""
    no_copy = has_no_copy(kernel or blas_kernel()) and weight.dtype == np.float32
    if no_copy and (not row_invariant or counts_agree(*weight.shape)):
        return Rows(np.ascontiguousarray(weight), row_invariant)
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
    blocks = weight[:whole].reshape(-1, BLOCK, width).transpose(0, 2, 1)  # a view
    into = y[:, :whole].reshape(n, -1, BLOCK).transpose(1, 0, 2)

    def multiply(turn: int) -> None:
        part = slice(turn * TURN, (turn + 1) * TURN)
        np.matmul(x, blocks[part], out=into[part])

    HELPER.share(multiply, -(-len(blocks) // TURN), alone=weight.nbytes < SHARED or blas_threads() == 1)
    return y


def counts_agree(out: int, width: int) -> bool:
    """Whether `by_blocks` gives a row of `width` numbers the same bits in every place of every number of rows.

    Nobody promises that: other kernels add up the fifth of six rows in another order than the first. So it is tried, on numbers
    that have to be rounded, and with the shapes that will be used: a block, and what is left over after the last one.
    """
    numbers = np.cos(np.arange((Rows.TRIED + BLOCK + out % BLOCK) * width)).astype(np.float32).reshape(-1, width)
    x, weight = numbers[: Rows.TRIED], numbers[Rows.TRIED :]
    pairs = np.concatenate([by_blocks(x[i : i + 2], weight) for i in range(0, len(x), 2)])
    return all(np.array_equal(by_blocks(x[:n], weight), pairs[:n]) for n in range(2, len(x) + 1, 2))


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


def transposed(weight: Array) -> Array:
    """weight [out, in] -> [panels, in, width]: W^T in panels of equal width"""
    out, inputs = weight.shape
    width = -(-out // -(-out // Columns.WIDEST))
    panels = np.zeros((-(-out // width), inputs, width), weight.dtype)
    for i, panel in enumerate(panels):
        rows = weight[i * width : (i + 1) * width]
        panel[:, : len(rows)] = rows.T
        let_go(rows)
    return panels


def padded(x: Array, multiple: int) -> Array:
    """x [n, in] -> the same with rows of zeros after it, up to a multiple of rows"""
    rows = -len(x) % multiple
    return np.concatenate([x, np.zeros((rows, x.shape[1]), x.dtype)]) if rows else x
