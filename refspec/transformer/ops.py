"""The operations that both families are made of, each a few lines of NumPy.

Axes, here and everywhere: n new tokens, m cached and new, d model width, h heads, g key/value heads, e head width,
v vocabulary. There is no batch axis in the reference path. Numbers keep the type they came in.
"""

import numpy as np

from refspec.arrays import Array


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """x [n, d] -> [n, d]"""
    d = x.dtype.type(x.shape[-1])  # sums over d, since `mean` takes twice as long on a few rows
    centred = x - x.sum(axis=-1, keepdims=True) / d
    variance = np.vecdot(centred, centred)[..., None] / d
    return centred / np.sqrt(variance + x.dtype.type(eps)) * weight + bias


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """x [..., d] -> [..., d] (arXiv 1910.07467)"""
    mean_square = np.vecdot(x, x)[..., None] / x.dtype.type(x.shape[-1])
    return x / np.sqrt(mean_square + x.dtype.type(eps)) * weight


def gelu(x: Array) -> Array:
    """x [n, d] -> [n, d]: the tanh form, "gelu_new" (arXiv 1606.08415, section 2)"""
    # x * x * x: NumPy's power is thirty times slower
    inner = x.dtype.type(np.sqrt(2 / np.pi)) * (x + x.dtype.type(0.044715) * (x * x * x))
    return x.dtype.type(0.5) * x * (1 + np.tanh(inner))


def silu(x: Array) -> Array:
    """x [n, d] -> [n, d]: x * sigmoid(x)"""
    # tanh(x / 2) says the same as the logistic function and overflows nowhere
    half = x.dtype.type(0.5)
    return half * x * (1 + np.tanh(half * x))


def softmax(x: Array) -> Array:
    """x [..., m] -> [..., m]; a score of -inf becomes exactly 0"""
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """x [h, n, e], cos and sin [n, e / 2] -> [h, n, e]: rotary positions, halves not pairs (arXiv 2104.09864)"""
    first, second = halves(x)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def halves(x: Array) -> tuple[Array, Array]:
    """x [..., d] -> two of [..., d / 2]"""
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def causal(n: int, m: int) -> Array | None:
    """[n, m], True where a token may look: at itself and what came before. None for one token, which may look at all."""
    return None if n == 1 else np.arange(m) <= np.arange(m - n, m)[:, None]


def split_heads(x: Array, heads: int) -> Array:
    """x [n, d] -> [h, n, e], with d = h * e"""
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def merge_heads(x: Array) -> Array:
    """x [h, n, e] -> [n, d], with d = h * e"""
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


QUERIES = 64  # rows of attention at a time, so that their scores stay in a cache near the core


def attention(queries: Array, keys: Array, values: Array, mask: Array | None, scale: float) -> Array:
    """queries [h, n, e], keys and values [g, m, e], mask [n, m] or None where all may be seen -> [h, n, e]

    Scaled dot-product attention (arXiv 1706.03762, section 3.2.1), with g groups of h / g heads that share keys and
    values (arXiv 2305.13245). The heads of a group are laid end to end, so one product serves them all.
    """
    h, n, e = queries.shape
    g, m, _ = keys.shape
    scaled, found = queries * queries.dtype.type(scale), np.empty_like(queries)
    for start in range(0, n, QUERIES):
        rows = slice(start, start + QUERIES)
        # what follows the last key that a row of an early block may see would weigh nothing
        seen = int(np.flatnonzero(mask[rows].any(axis=0))[-1]) + 1 if mask is not None and start + QUERIES < n else m
        shared = scaled[:, rows].reshape(g, -1, e)
        # keys first: a long [seen, e] times a narrow [e, rows] reads the keys once, and is up to three times as fast
        scores = (keys[:, :seen] @ shared.transpose(0, 2, 1)).transpose(0, 2, 1).reshape(h, -1, seen)
        if mask is not None:
            scores = np.where(mask[rows, :seen], scores, scores.dtype.type(-np.inf))
        weights = softmax(scores).reshape(g, -1, seen)
        found[:, rows] = (weights @ values[:, :seen]).reshape(h, -1, e)
    return found


def attention_by_row(queries: Array, keys: Array, values: Array, mask: Array | None, scale: float) -> Array:
    """queries [h, n, e], keys and values [g, m, e], mask [n, m] or None where all may be seen -> [h, n, e]

    The same, each row alone with exactly the keys it may see: bitwise what it finds when it is decoded by itself.
    """
    found = np.empty(queries.shape, queries.dtype)
    for row in range(queries.shape[1]):
        alone = queries[:, row : row + 1].copy()  # so that its strides do not tell how many there were
        seen = (keys, values) if mask is None else (allowed(keys, mask[row]), allowed(values, mask[row]))
        found[:, row : row + 1] = attention(alone, *seen, None, scale)
    return found


def allowed(x: Array, mask: Array) -> Array:
    """x [g, m, e], mask [m] -> [g, seen, e]: a view where only the last are hidden, as they are without a tree"""
    seen = np.flatnonzero(mask)
    return x[:, : len(seen)] if seen[-1] < len(seen) else x.take(seen, axis=1)
