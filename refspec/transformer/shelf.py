"""Where weights lie that are laid out anew: as panels, in large blocks of memory."""

import math
from threading import Lock
from typing import Any

import numpy as np

from refspec.arrays import Array


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


def to_panels(weight: Array, width: int) -> Array:
    """weight [out, in] -> [panels, in, width]: columns of W^T side by side, the last panel filled up with zeros"""
    out, inputs = weight.shape
    panels = SHELF.zeros((-(-out // width), inputs, width), weight.dtype)
    for i, panel in enumerate(panels):
        rows = weight[i * width : (i + 1) * width]
        panel[:, : len(rows)] = rows.T
    return panels
