"""What the target usually says next: an n-gram table counted over text that the target wrote itself.

The oldest language model there is, as a draft: the follower most often seen behind the last four tokens, or three, or two, or
one (back-off, Katz 1987, without his discounts, since only the best guess is needed). Prompt lookup knows what this text says
again; the table knows what the target says anyway. Nothing is drawn, so each row is a point mass, and the text keeps the
target's distribution.

A context is kept as 64 bits of a hash. Two that share one, which is one chance in 10**13 for a million of them, would cost a
wrong guess and nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, counted

MIX = 0x9E3779B97F4A7C15  # odd, from the golden ratio, so that close ids land far apart (Knuth, volume 3, section 6.4)
WORD = (1 << 64) - 1


def hashed(context: Iterable[int]) -> int:
    """64 bits of a context, oldest token first."""
    bits = 0
    for token in context:
        bits = ((bits + token + 1) * MIX) & WORD
        bits ^= bits >> 29
    return bits


class Order(NamedTuple):
    """Contexts of one length. keys [k] uint64, ascending. tokens [k]: the best followers. shares [k] uint8: how often, of 255."""

    keys: Array
    tokens: Array
    shares: Array


class Guess(NamedTuple):
    token: int
    share: float  # how often it followed this context in the text that was counted
    order: int  # tokens of the context


@dataclass(frozen=True)
class Table:
    """orders[n - 1] knows contexts of n tokens. vocab_size: of the target whose text was counted."""

    orders: tuple[Order, ...]
    vocab_size: int

    def __repr__(self) -> str:
        return brief(self, counted(sum(len(order.keys) for order in self.orders), "context"))

    def guess(self, tokens: Sequence[int]) -> Guess | None:
        """The follower of the longest known suffix of `tokens`; None where not even the last token is known.

        >>> from refspec.decoding.draft.table import count
        >>> count([(1, 2, 3, 1, 2, 3)], orders=2, vocab_size=4, least=1).guess((9, 1, 2)).token
        3
        """
        for n in range(min(len(self.orders), len(tokens)), 0, -1):
            order, key = self.orders[n - 1], hashed(tokens[len(tokens) - n :])
            i = int(order.keys.searchsorted(np.uint64(key)))
            if i < len(order.keys) and order.keys[i] == key:
                return Guess(int(order.tokens[i]), float(order.shares[i]) / 255, n)
        return None


def count(texts: Iterable[Sequence[int]], *, orders: int, vocab_size: int, least: int = 2) -> Table:
    """A table of whole texts. A context is kept if it was seen `least` times and a shorter one does not say the same.

    >>> from refspec.decoding.draft.table import count
    >>> count([(1, 2, 3, 1, 2, 3)], orders=2, vocab_size=4, least=1)
    Table(3 contexts)
    """
    columns = [np.asarray(text, np.int64) for text in texts]
    kept: list[Order] = []
    for n in range(1, orders + 1):
        contexts = [hashes(text, n) for text in columns if len(text) > n]
        followers = [text[n:] for text in columns if len(text) > n]
        shorter = [guesses(kept, text, n) for text in columns if len(text) > n]
        if not contexts:
            break
        kept.append(best(np.concatenate(contexts), np.concatenate(followers), np.concatenate(shorter), vocab_size, least))
    return Table(tuple(kept), vocab_size)


def hashes(text: Array, n: int) -> Array:
    """`hashed` of every n tokens that something follows: [len - n]"""
    bits = np.zeros(len(text) - n, np.uint64)
    for i in range(n):
        bits = (bits + text[i : len(text) - n + i].astype(np.uint64) + np.uint64(1)) * np.uint64(MIX)
        bits ^= bits >> np.uint64(29)
    return bits


def guesses(orders: Sequence[Order], text: Array, n: int) -> Array:
    """What the shorter orders guess behind every n tokens, -1 where they don't: [len - n]"""
    found = np.full(len(text) - n, -1)
    for m, order in enumerate(orders, 1):
        keys = hashes(text, m)[n - m :]
        at = order.keys.searchsorted(keys).clip(max=max(0, len(order.keys) - 1))
        known = order.keys[at] == keys if len(order.keys) else np.zeros(len(keys), bool)
        found = np.where(known, order.tokens[at] if len(order.keys) else -1, found)
    return found


def best(contexts: Array, followers: Array, shorter: Array, vocab_size: int, least: int) -> Order:
    """The commonest follower of each context, the lowest id of equals, where it is not what the shorter orders guess."""
    keys, inverse, seen = np.unique(contexts, return_inverse=True, return_counts=True)
    pairs, times = np.unique(inverse.astype(np.int64) * vocab_size + followers, return_counts=True)
    context, token = np.divmod(pairs, vocab_size)
    ranked = np.lexsort((token, -times, context))
    first = np.unique(context[ranked], return_index=True)[1]
    token, times = token[ranked][first], times[ranked][first]
    guessed = np.full(len(keys), -1)
    guessed[inverse] = shorter
    worth = (seen >= least) & (token != guessed)
    share = np.round(255 * times / (seen + 1)).astype(np.uint8)  # a context that was seen once is no certainty
    return Order(keys[worth], token[worth].astype(np.uint16 if vocab_size <= 1 << 16 else np.uint32), share[worth])
