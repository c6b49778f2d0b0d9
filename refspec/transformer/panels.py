"""The product that verifies several rows at the cost of one: panels for OpenBLAS's no-copy kernels."""

from dataclasses import dataclass

import numpy as np

from refspec.arrays import Array
from refspec.transformer.shelf import to_panels


@dataclass(frozen=True)
class Panels:
    """weight: [panels, in, WIDTH], the last panel filled up with zeros beyond `out`."""

    weight: Array
    out: int
    row_invariant: bool = False

    WIDTH = 32
    BOUND = 1_000_000  # rows * in * WIDTH up to which OpenBLAS does not pack; beyond it the product is 3 to 5 times slower
    TRIED = 16  # rows up to which `row_invariant` has the product tried, and uses it
    MANY = 96  # rows from which the ordinary product is worth a copy of the weight

    @classmethod
    def of(cls, weight: Array, row_invariant: bool = False) -> "Panels":
        return cls(to_panels(weight, cls.WIDTH), len(weight), row_invariant)

    @property
    def shape(self) -> tuple[int, int]:
        return self.out, self.weight.shape[1]

    def __call__(self, x: Array) -> Array:
        many = len(x) >= self.MANY and not self.row_invariant
        y = packed(x, self.weight) if many else no_copy(x, self.weight, most_rows(x.shape[1], self.row_invariant))
        return y[:, : self.out]

    def take(self, ids: Array) -> Array:
        return self.weight[ids // self.WIDTH, :, ids % self.WIDTH]


def no_copy(x: Array, panels: Array, most: int) -> Array:
    """x [n, in], panels [k, in, width] -> [n, k * width], `most` rows at a time"""
    n = len(x)
    last = n % most or most  # rows of the last time
    x = padded(x, min(kernel_rows(last), most) - last)
    y = np.empty((len(x), len(panels), panels.shape[-1]), x.dtype)
    for start in range(0, n, most):
        rows = slice(start, start + most)
        np.matmul(x[rows], panels, out=y[rows].transpose(1, 0, 2))
    return y[:n].reshape(n, -1)


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
    alone = np.concatenate([no_copy(x[i : i + 1], panel, most) for i in range(most)])
    return all(np.array_equal(no_copy(x[:n], panel, most), alone[:n]) for n in range(1, most + 1))


def packed(x: Array, panels: Array) -> Array:
    """x [n, in], panels [k, in, width] -> [n, k * width]: the ordinary product, with a copy of BLOCK panels at a time"""
    k, _, width = panels.shape
    y = np.empty((len(x), k * width), x.dtype)
    for start in range(0, k, BLOCK):
        columns = slice(start * width, (start + BLOCK) * width)
        np.matmul(x, from_panels(panels[start : start + BLOCK]), out=y[:, columns])
    return y


BLOCK = 96


def from_panels(panels: Array) -> Array:
    """panels [k, in, width] -> [in, k * width], a copy"""
    k, inputs, width = panels.shape
    flat = np.empty((inputs, k, width), panels.dtype)
    for i, panel in enumerate(panels):  # one by one, which reads memory in order; a single transposing copy takes twice as long
        flat[:, i] = panel
    return flat.reshape(inputs, -1)


def padded(x: Array, rows: int) -> Array:
    """x [n, in] -> [n + rows, in], with rows of zeros"""
    return np.concatenate([x, np.zeros((rows, x.shape[1]), x.dtype)]) if rows else x
