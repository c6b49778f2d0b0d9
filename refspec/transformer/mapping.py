"""Numbers that lie in a file, without reading it: its pages come when they are looked at, and other processes share them."""

import math
import mmap
from pathlib import Path

import numpy as np

from refspec.arrays import Array


def mapped(file: Path, dtype: str, shape: tuple[int, ...], start: int) -> Array:
    """The array that begins at byte `start`. It cannot be written to, and the file must not be while it is used."""
    if not math.prod(shape):
        return np.zeros(shape, dtype)  # nothing cannot be mapped
    return np.asarray(np.memmap(file, dtype, "r", start, shape))


def let_go(array: Array) -> None:
    """Its pages need not stay in memory, if it is mapped: they were looked at, and come back by themselves if they are again."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)
