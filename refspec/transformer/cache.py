"""The key/value cache: what a decoder remembers of the tokens it has seen, and the only object here that changes.

The trick of the cache: a token's keys and values depend on itself and those before it only, so they are computed once and kept.
What it costs is memory, and that rejected tokens must be forgotten (`rollback`). Plain: `logits` computes them again, for all
tokens, in each call (plain.py).
"""

from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief
from refspec.errors import CacheRange


class KVCache:
    """N10: rows [:length] are the keys and values of exactly tokens[:length]; what lies beyond is scratch.

    features, where a draft head asked for them (`keep_features`): rows [:length] [d] are what the head of the network saw.
    keys and values: [layers, g, capacity, e], allocated once and doubled by `reserve`. A forward pass reserves rows,
    writes each layer's new rows past `length`, and advances `length` once at its end: a pass that is interrupted,
    between any two bytecodes, has changed nothing that counts.
    """

    def __init__(self, layers: int, kv_heads: int, head_width: int, dtype: Any, capacity: int = 256) -> None:
        self.keys: Array = np.zeros((layers, kv_heads, capacity, head_width), dtype)
        self.values: Array = np.zeros((layers, kv_heads, capacity, head_width), dtype)
        self.features: Array | None = None
        self.length = 0

    def __repr__(self) -> str:
        layers, heads, _, width = self.keys.shape
        held = f"{self.length:,} of {self.capacity:,} positions"
        return brief(self, held, f"{layers} layers x {heads} heads x {width}", str(self.keys.dtype))

    @property
    def capacity(self) -> int:
        return self.keys.shape[2]

    def reserve(self, n: int) -> None:
        """Allocate n rows past `length`, by doubling."""
        capacity = self.capacity
        while capacity < self.length + n:
            capacity = max(1, 2 * capacity)
        if capacity > self.capacity:
            # one array at a time, so that never more than one exists twice; and the keys last, whose size is the
            # capacity: an interrupt in between leaves values with more rows than are counted on, and nothing else
            if self.features is not None:
                self.features = self._grown(self.features[None, None], capacity)[0, 0]
            self.values = self._grown(self.values, capacity)
            self.keys = self._grown(self.keys, capacity)

    def _grown(self, rows: Array, capacity: int) -> Array:
        layers, heads, _, width = rows.shape
        grown = np.zeros((layers, heads, capacity, width), rows.dtype)
        grown[:, :, : self.length] = rows[:, :, : self.length]
        return grown

    def write(self, layer: int, keys: Array, values: Array) -> tuple[Array, Array]:
        """Put keys and values [g, n, e] of n new tokens past `length`; return the layer's [g, length + n, e], as views.

        Raises CacheRange where the capacity is too small.
        """
        end = self.length + keys.shape[1]
        if end > self.capacity:
            raise CacheRange(f"writing rows {self.length} to {end} of a cache with a capacity of {self.capacity}; reserve first")
        self.keys[layer, :, self.length : end] = keys
        self.values[layer, :, self.length : end] = values
        return self.keys[layer, :, :end], self.values[layer, :, :end]

    def keep_features(self, width: int) -> None:
        """Keep features [d] from now on. What was read before has none, and is forgotten."""
        if self.features is None:
            self.rollback(0)
            self.features = np.zeros((self.capacity, width), self.keys.dtype)

    def write_features(self, features: Array) -> None:
        """Put the features [n, d] of the new tokens past `length`, if they are kept."""
        if self.features is not None:
            self.features[self.length : self.length + len(features)] = features

    def advance(self, n: int) -> None:
        """The n rows written past `length` count from now on."""
        if not 0 <= n <= self.capacity - self.length:
            raise CacheRange(f"advancing by {n} from {self.length} in a cache with a capacity of {self.capacity}")
        self.length += n

    def rollback(self, length: int) -> None:
        """Forget all but the first `length` tokens. Absolute, so that nothing is ever "the last 0 rows"."""
        if not 0 <= length <= self.length:
            raise CacheRange(f"rollback to {length} of a cache that holds {self.length} tokens; 0 to {self.length} is allowed")
        self.length = length
