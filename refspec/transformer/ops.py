"""The operations that both families are made of, each a few lines of NumPy.

Axes, here and everywhere: n new tokens, m cached and new, d model width, h heads, g key/value heads, e head width,
v vocabulary. There is no batch axis in the reference path. Numbers keep the type they came in.

Tricks, and the plain line that each replaces, in the function of the same name in plain.py:

- `layer_norm`, `rms_norm`: `np.vecdot` squares and adds in one step. Plain: `x.var(...)`, `(x * x).mean(...)`.
- `gelu`: x * x * x. Plain: `x**3`, which is thirty times slower.
- `exact_gelu`: none; it is the plain one.
- `silu`: tanh(x / 2), in place, which cannot overflow. Plain: `x / (1 + np.exp(-x))`.
- `rotate`: the sum in place, and `sin` carries the minus sign. Plain: `np.concatenate([-second, first], axis=-1) * sin`.
- `attention`: the heads of a group end to end, so that no key is repeated; keys times queries, so that the keys are read once, in
  order; the division of the softmax last, on e numbers a row; QUERIES rows at a time, without the keys that none of them may
  see; a stretch of keys at a time, which OpenBLAS multiplies without a copy. Plain: `queries @ keys.transpose(0, 2, 1) * scale`,
  then `softmax(scores) @ values`.
- `causal`: no mask for one new token, none larger than QUERIES, and each made once. Plain:
  `np.where(np.tri(n, dtype=bool), scores, -np.inf)`.
"""

import math
from collections.abc import Iterator
from functools import cache

import numpy as np

from refspec.arrays import Array


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """x [n, d] -> [n, d]

    >>> import numpy as np
    >>> from refspec.transformer.ops import layer_norm
    >>> layer_norm(np.array([[1.0, 3.0]]), weight=np.ones(2), bias=np.zeros(2), eps=0.0).tolist()
    [[-1.0, 1.0]]
    """
    d = x.dtype.type(x.shape[-1])  # sums over d, since `mean` takes twice as long on a few rows
    centred = x - x.sum(axis=-1, keepdims=True) / d
    variance = np.vecdot(centred, centred)[..., None] / d
    variance += 0 * variance  # an overflow becomes NaN, which the logits show; x / inf would be a silent 0
    return centred / np.sqrt(variance + x.dtype.type(eps)) * weight + bias


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """x [..., d] -> [..., d] (arXiv 1910.07467)

    >>> import numpy as np
    >>> from refspec.transformer.ops import rms_norm
    >>> rms_norm(np.array([[3.0, 4.0]]), weight=np.ones(2), eps=0.0).round(3).tolist()
    [[0.849, 1.131]]
    """
    mean_square = np.vecdot(x, x)[..., None] / x.dtype.type(x.shape[-1])
    mean_square += 0 * mean_square  # as above
    return x / np.sqrt(mean_square + x.dtype.type(eps)) * weight


def gelu(x: Array) -> Array:
    """x [n, d] -> [n, d]: the tanh form, "gelu_new" (arXiv 1606.08415, section 2)

    >>> import numpy as np
    >>> from refspec.transformer.ops import gelu
    >>> gelu(np.array([[-1.0, 0.0, 1.0]])).round(3).tolist()
    [[-0.159, 0.0, 0.841]]
    """
    # x * x * x: NumPy's power is thirty times slower
    inner = x.dtype.type(np.sqrt(2 / np.pi)) * (x + x.dtype.type(0.044715) * (x * x * x))
    return x.dtype.type(0.5) * x * (1 + np.tanh(inner))


def exact_gelu(x: Array) -> Array:
    """x [n, d] -> [n, d]: x times the normal distribution function, "gelu" (arXiv 1606.08415, section 2)

    NumPy has no erf, so Python's is called number by number, for some 0.1 us each.

    >>> import numpy as np
    >>> from refspec.transformer.ops import exact_gelu
    >>> exact_gelu(np.array([[-1.0, 0.0, 1.0]])).round(3).tolist()
    [[-0.159, 0.0, 0.841]]
    """
    erf = np.fromiter(map(math.erf, (x * math.sqrt(0.5)).ravel().tolist()), x.dtype, x.size).reshape(x.shape)
    return x.dtype.type(0.5) * x * (1 + erf)


def silu(x: Array) -> Array:
    """x [n, d] -> [n, d]: x * sigmoid(x)

    >>> import numpy as np
    >>> from refspec.transformer.ops import silu
    >>> silu(np.array([[-1.0, 0.0, 1.0]])).round(3).tolist()
    [[-0.269, 0.0, 0.731]]
    """
    # tanh(x / 2) says the same as the logistic function and overflows nowhere
    half = x * x.dtype.type(0.5)
    gate = np.tanh(half)
    gate += 1
    gate *= half  # in place: at this size a temporary costs as much as the sum in it
    return gate


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """x [h, n, e], cos and sin [n, e] -> [h, n, e]: rotary positions, halves not pairs (arXiv 2104.09864)

    Each number of the first half rotates with its partner in the second; `sin` is negative in the first half.

    >>> import numpy as np
    >>> from refspec.transformer.ops import rotate
    >>> rotate(np.array([[[1.0, 2.0]]]), cos=np.zeros((1, 2)), sin=np.array([[-1.0, 1.0]])).tolist()
    [[[-2.0, 1.0]]]
    """
    first, second = halves(x)
    rotated = np.concatenate([second, first], axis=-1)
    rotated *= sin
    rotated += x * cos
    return rotated


def halves(x: Array) -> tuple[Array, Array]:
    """x [..., d] -> two of [..., d / 2]

    >>> import numpy as np
    >>> from refspec.transformer.ops import halves
    >>> [half.tolist() for half in halves(np.arange(4))]
    [[0, 1], [2, 3]]
    """
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


@cache
def causal(n: int) -> Array | None:
    """[n, n], True where a new token may look among the new: at itself and those before. None for one, which may look at all.

    Made once, since every layer of every pass asks for it; whoever has it changes nothing in it.

    >>> from refspec.transformer.ops import causal
    >>> causal(2).tolist(), causal(1)
    ([[True, False], [True, True]], None)
    """
    return None if n == 1 else np.tri(n, dtype=bool)


def split_heads(x: Array, heads: int) -> Array:
    """x [n, d] -> [h, n, e], with d = h * e

    >>> import numpy as np
    >>> from refspec.transformer.ops import split_heads
    >>> split_heads(np.arange(4).reshape(1, 4), 2).tolist()
    [[[0, 1]], [[2, 3]]]
    """
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def merge_heads(x: Array) -> Array:
    """x [h, n, e] -> [n, d], with d = h * e

    >>> import numpy as np
    >>> from refspec.transformer.ops import merge_heads
    >>> merge_heads(np.array([[[0, 1]], [[2, 3]]])).tolist()
    [[0, 1, 2, 3]]
    """
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


QUERIES = 64  # rows of attention at a time, so that their scores stay in a cache near the core
SMALL = 1_000_000  # rows * keys * e up to which OpenBLAS copies nothing; beyond it eight rows took half as long again (AVX-512)


def attention(queries: Array, keys: Array, values: Array, mask: Array | None, scale: float) -> Array:
    """queries [h, n, e], keys and values [g, m, e], mask [n, k] -> [h, n, e]

    Scaled dot-product attention (arXiv 1706.03762, section 3.2.1), with g groups of h / g heads that share keys and
    values (arXiv 2305.13245). The heads of a group are laid end to end, so one product serves them all. The mask is of the
    last k keys; those before them may be seen by all. None is plain text: the queries are of the last n keys, and each sees
    its own and those before.

    >>> import numpy as np
    >>> from refspec.transformer.ops import attention
    >>> ones, values = np.ones((1, 2, 1)), np.array([[[1.0], [3.0]]])
    >>> attention(ones, ones, values, mask=None, scale=1.0).tolist()
    [[[1.0], [2.0]]]
    """
    h, n, e = queries.shape
    g, m, _ = keys.shape
    if n > QUERIES:
        return np.concatenate([attention(*part, scale) for part in parts(queries, keys, values, mask)], axis=1)
    mask = causal(n) if mask is None else mask
    shared = (queries * queries.dtype.type(scale)).reshape(g, -1, e)
    rows = shared.shape[1]
    stretch = max(1, SMALL // (rows * e))
    stretches = [slice(start, start + stretch) for start in range(0, m, stretch)]
    scores = np.empty((g, rows, m), queries.dtype)
    for some in stretches:
        # keys first: a long [m, e] times a narrow [e, rows] reads the keys once, and is up to three times as fast
        scores[..., some] = (keys[:, some] @ shared.transpose(0, 2, 1)).transpose(0, 2, 1)
    if mask is not None:
        np.copyto(scores.reshape(h, n, m)[..., m - mask.shape[1] :], -np.inf, where=~mask)
    # a softmax, but for its division: that comes last, where there are e numbers a row and not m
    scores -= scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores, out=scores)
    attended = sum(weights[..., some] @ values[:, some] for some in stretches)
    return (attended / weights.sum(axis=-1, keepdims=True)).reshape(h, n, e)


def parts(queries: Array, keys: Array, values: Array, mask: Array | None) -> Iterator[tuple[Array, Array, Array, Array | None]]:
    """QUERIES rows at a time, with the keys up to the last that one of them may see: those behind it would weigh nothing.

    >>> import numpy as np
    >>> from refspec.transformer.ops import parts
    >>> x = np.ones((1, 100, 1))
    >>> [keys.shape for _, keys, _, _ in parts(x, x, x, mask=None)]
    [(1, 64, 1), (1, 100, 1)]
    """
    n, m = queries.shape[1], keys.shape[1]
    for start in range(0, n, QUERIES):
        rows = slice(start, min(start + QUERIES, n))
        if mask is None:
            end, part = m - n + rows.stop, None  # plain text again, that ends with these rows
        else:
            seen = int(np.flatnonzero(mask[rows].any(axis=0))[-1]) + 1
            end, part = m - mask.shape[1] + seen, mask[rows, :seen]
        yield queries[:, rows], keys[:, :end], values[:, :end], part


def attention_by_row(queries: Array, keys: Array, values: Array, mask: Array | None, scale: float) -> Array:
    """The same, each row alone with exactly the keys it may see: bitwise what it finds when it is decoded by itself.

    >>> import numpy as np
    >>> from refspec.transformer.ops import attention_by_row
    >>> ones, values = np.ones((1, 2, 1)), np.array([[[1.0], [3.0]]])
    >>> attention_by_row(ones, ones, values, mask=None, scale=1.0).tolist()
    [[[1.0], [2.0]]]
    """
    attended = np.empty(queries.shape, queries.dtype)
    n, m = queries.shape[1], keys.shape[1]
    for row in range(n):
        alone = queries[:, row : row + 1].copy()  # so that its strides do not tell how many there were
        if mask is None:
            seen = keys[:, : m - n + row + 1], values[:, : m - n + row + 1]
        else:
            seen = allowed(keys, mask[row]), allowed(values, mask[row])
        attended[:, row : row + 1] = attention(alone, *seen, None, scale)
    return attended


def allowed(x: Array, mask: Array) -> Array:
    """x [g, m, e], mask [k] of the last k -> [g, seen, e]: a view where only the last are hidden, as they are without a tree

    >>> import numpy as np
    >>> from refspec.transformer.ops import allowed
    >>> allowed(np.array([[[1.0], [2.0], [3.0]]]), mask=np.array([True, False])).tolist()
    [[[1.0], [2.0]]]
    """
    free, seen = x.shape[1] - len(mask), np.flatnonzero(mask)
    if seen[-1] < len(seen):
        return x[:, : free + len(seen)]
    return x.take(np.concatenate([np.arange(free), free + seen]), axis=1)
