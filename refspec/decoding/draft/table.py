"""What the target usually says next: an n-gram table counted over text that the target wrote itself.

The oldest language model there is, as a draft: the likeliest token behind the last four, or three, or two, or one. Prompt lookup
knows what this text says again; the table knows what the target says anyway. Nothing is drawn, so each row is a point mass, and
the text keeps the target's distribution.

What is counted is the target's row at each token rather than the one token that came: a row says as much as many texts that pass
through it. A long context is seen seldom, so its mean row is drawn towards that of the context one token shorter, as if it had
been seen PRIOR times more with that one's row (MacKay and Peto 1995, "A hierarchical Dirichlet language model").

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
PRIOR = 8  # on held-out text of SmolLM2 2 to 16 do alike, and a larger one keeps fewer contexts


def hashed(context: Iterable[int]) -> int:
    """64 bits of a context, oldest token first."""
    bits = 0
    for token in context:
        bits = ((bits + token + 1) * MIX) & WORD
        bits ^= bits >> 29
    return bits


class Order(NamedTuple):
    """Contexts of one length. keys [k] uint64, ascending. tokens [k]: the likeliest. shares [k]: their chances in 255ths."""

    keys: Array
    tokens: Array
    shares: Array


class Guess(NamedTuple):
    token: int
    share: float  # its chance behind this context, in the text that was counted
    order: int  # tokens of the context


@dataclass(frozen=True)
class Table:
    """orders[n - 1] knows contexts of n tokens. vocab_size: of the target whose text was counted."""

    orders: tuple[Order, ...]
    vocab_size: int

    def __repr__(self) -> str:
        return brief(self, counted(sum(len(order.keys) for order in self.orders), "context"))

    def guess(self, tokens: Sequence[int]) -> Guess | None:
        """The likeliest token behind the longest known suffix of `tokens`; None where not even the last token is known.

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


class Written(NamedTuple):
    """A text that the target wrote: tokens [n], and what it held likeliest behind each: likely [n, k] ids, probs [n, k]."""

    tokens: Array
    likely: Array
    probs: Array


def count(texts: Iterable[Sequence[int] | Written], *, orders: int, vocab_size: int, least: int = 2) -> Table:
    """A table of whole texts. A context is kept if it was seen `least` times and shorter ones do not guess the same.

    A plain text is counted as if all that came had been certain.

    >>> from refspec.decoding.draft.table import count
    >>> count([(1, 2, 3, 1, 2, 3)], orders=2, vocab_size=4, least=1)
    Table(3 contexts)
    """
    written = [each for text in texts if len((each := text if isinstance(text, Written) else plain(text)).tokens)]
    if not written:
        return Table((), vocab_size)
    tokens, likely, probs = (np.concatenate(parts) for parts in zip(*written, strict=True))
    place = np.concatenate([np.arange(len(text.tokens)) for text in written])
    known = Known(likely, np.zeros(likely.shape), np.full(len(tokens), -1), np.zeros(len(tokens)))
    kept: list[Order] = []
    for n in range(1, orders + 1):
        ends = np.flatnonzero(place >= n - 1)
        if not len(ends):
            break
        kept.append(known.longer(ends, hashes(tokens, n)[ends - n + 1], probs[ends], vocab_size, least))
    return Table(tuple(kept), vocab_size)


def plain(text: Sequence[int]) -> Written:
    tokens = np.asarray(text, np.int64)
    return Written(tokens[:-1], tokens[1:, None], np.ones((max(0, len(tokens) - 1), 1)))


def hashes(text: Array, n: int) -> Array:
    """`hashed` of every n tokens in a row: [len - n + 1]"""
    bits = np.zeros(len(text) - n + 1, np.uint64)
    for i in range(n):
        bits = (bits + text[i : len(text) - n + 1 + i].astype(np.uint64) + np.uint64(1)) * np.uint64(MIX)
        bits ^= bits >> np.uint64(29)
    return bits


@dataclass
class Known:
    """What the orders so far say at each of the n places of all texts.

    likely [n, k]: the tokens that are asked about; probs [n, k]: their chances. guess [n]: the likeliest token of all, -1 before
    there is one; sure [n]: its chance.
    """

    likely: Array
    probs: Array
    guess: Array
    sure: Array

    def longer(self, ends: Array, contexts: Array, rows: Array, vocab_size: int, least: int) -> Order:
        """Take in the contexts [m], one token longer, that end at the places `ends` [m]; rows [m, k]: the target's own chances.

        A context that was seen N times gives a token (the sum of its chances + PRIOR times what shorter contexts give it) / (N +
        PRIOR). Returns the contexts whose likeliest token is a new one.
        """
        keys, first, context, seen = np.unique(contexts, return_index=True, return_inverse=True, return_counts=True)
        codes = (context[:, None] * vocab_size + self.likely[ends]).ravel()
        pairs, at, pair = np.unique(codes, return_index=True, return_inverse=True)
        whose, token = np.divmod(pairs, vocab_size)
        chances = np.bincount(pair, rows.ravel()) + PRIOR * self.probs[ends].ravel()[at]
        chances /= seen[whose] + PRIOR
        before = self.guess[ends][first]
        ranked = np.lexsort((token, token != before[whose], -chances, whose))  # the best of each context first
        best = ranked[np.unique(whose[ranked], return_index=True)[1]]
        unseen = PRIOR * self.sure[ends][first] / (seen + PRIOR)  # of the shorter ones' guess, if it never came here
        new = (seen >= least) & (token[best] != before) & (chances[best] > unseen)
        share = np.round(255 * chances[best][new]).astype(np.uint8)
        order = Order(keys[new], token[best][new].astype(np.uint16 if vocab_size <= 1 << 16 else np.uint32), share)

        often = (seen >= least)[context]  # what is rarer changes nothing
        self.probs[ends[often]] = chances[pair].reshape(rows.shape)[often]
        self.sure[ends[often]] = np.maximum(chances[best], unseen)[context][often]
        self.guess[ends[often]] = np.where(new, token[best], before)[context][often]
        return order
