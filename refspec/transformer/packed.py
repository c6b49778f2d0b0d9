"""Several texts in one pass, packed and not padded: their new tokens laid end to end, [n1 + n2 + ..., d].

Orca calls it selective batching (Yu et al., OSDI 2022). Whatever works row by row, the linear layers above all, sees one matrix
and reads each weight once for everybody: that is what a batch saves. Attention takes each text with its own cache. So there is
no padding, no mask over other people's rows and no shared length; a text among others is computed as it is alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from refspec.arrays import Array
from refspec.brief import by_fields
from refspec.transformer.cache import KVCache

Attention = Callable[[Array, Array, Array, Array | None, float], Array]


@dataclass(frozen=True)
class NewTokens:
    """tokens [n] of one text, behind those that its cache holds. last: how many of their rows, from the end, are looked at.

    positions [n] and mask [n, n] or [n, m] default to a plain continuation of the cache; a tree of tokens brings its own, in
    which each token sees at least itself.
    """

    tokens: Array
    cache: KVCache
    last: int = 1
    positions: Array | None = None
    mask: Array | None = None

    __repr__ = by_fields


class Packed:
    """The texts of one pass. tokens, positions: [n], of all texts. looked_at: the rows that reach the head."""

    def __init__(self, texts: Sequence[NewTokens]) -> None:
        self.texts = texts
        ends = list(accumulate(len(text.tokens) for text in texts))
        self.rows = [slice(end - len(text.tokens), end) for text, end in zip(texts, ends, strict=True)]
        self.tokens = np.concatenate([text.tokens for text in texts])
        self.positions = np.concatenate([positions(text) for text in texts])
        self.looked_at = np.concatenate([np.arange(end - text.last, end) for text, end in zip(texts, ends, strict=True)])
        self._kept = any(text.cache.features is not None for text in texts)
        for text in texts:
            text.cache.reserve(len(text.tokens))

    def attend(self, layer: int, queries: Array, keys: Array, values: Array, attention: Attention, scale: float) -> Array:
        """queries [h, n, e], keys and values [g, n, e] of all texts -> [h, n, e]: each text over its own cache and new tokens"""

        def over(text: NewTokens, queries: Array, keys: Array, values: Array) -> Array:
            return attention(queries, *text.cache.write(layer, keys, values), text.mask, scale)

        if len(self.texts) == 1:
            return over(self.texts[0], queries, keys, values)
        parts = zip(self.texts, self.rows, strict=True)
        return np.concatenate([over(text, queries[:, rows], keys[:, rows], values[:, rows]) for text, rows in parts], axis=1)

    @property
    def needed(self) -> Array | slice:
        """The rows of which the last norm is taken: those looked at, or all where a cache keeps features."""
        return slice(None) if self._kept else self.looked_at

    def keep(self, features: Array) -> Array:
        """features of the rows `needed` [n, d] -> of those looked at [last, d]; each cache that keeps features gets its own"""
        if not self._kept:
            return features
        for text, rows in zip(self.texts, self.rows, strict=True):
            text.cache.write_features(features[rows])
        return features[self.looked_at]

    def advance(self) -> None:
        """The pass is done: what it wrote counts."""
        for text in self.texts:
            text.cache.advance(len(text.tokens))


def positions(text: NewTokens) -> Array:
    """[n]

    >>> import numpy as np
    >>> from refspec.transformer.cache import KVCache
    >>> from refspec.transformer.packed import NewTokens, positions
    >>> cache = KVCache(1, 1, 1, np.float32)
    >>> cache.advance(3)
    >>> positions(NewTokens(np.array([7, 8]), cache)).tolist()
    [3, 4]
    """
    n, past = len(text.tokens), text.cache.length
    return np.arange(past, past + n) if text.positions is None else text.positions
