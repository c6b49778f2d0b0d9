"""Where weights lie that are laid out anew: side by side in large blocks of memory.

Linux backs large allocations of NumPy's with huge pages, and those below 4 MB with pages of 4 KB, whose addresses the processor
has to look up again and again while it streams: a pass through SmolLM2 took 1.15 times as long without.
"""

import math
from threading import Lock
from typing import Any

import numpy as np

from refspec.arrays import Array

BLOCK = 64 << 20  # bytes; what is never touched takes no memory
CACHE_LINE = 64


class Shelf:
    """The block that is being filled. A block lives as long as an array in it."""

    def __init__(self) -> None:
        self._free = np.zeros(0, np.uint8)
        self._lock = Lock()

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        taken = -(-size // CACHE_LINE) * CACHE_LINE
        with self._lock:
            if taken > len(self._free):
                self._free = np.zeros(max(taken, BLOCK), np.uint8)
            room, self._free = self._free[:size], self._free[taken:]
        return room.view(dtype).reshape(shape)


SHELF = Shelf()
