"""The bridge: forward pass + cache + sampling = a `LanguageModel`.

The probability half asks for the distribution after a sequence of tokens and knows of no cache; the network half continues
a cache and knows of no distribution. In between, one question: how much of what is asked do we already remember?
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, counted, short
from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument, BadProbabilities, ContextExceeded, RefspecError, attempted
from refspec.models.sampling import Sampling
from refspec.transformer.cache import KVCache
from refspec.transformer.config import size_of
from refspec.transformer.packed import NewTokens


class Network(Protocol):
    """What `gpt2.py` and `llama.py` provide."""

    @property
    def config(self) -> Any: ...
    def new_cache(self) -> KVCache: ...
    def forward(self, tokens: Array, cache: KVCache, last: int = 1) -> Array: ...
    def forward_packed(self, texts: Sequence[NewTokens]) -> Array: ...


class CachedLM:
    """A network as a next-token distribution. One a role: target and drafter do not share a cache.

    token_map: token -> id; columns of a padded vocabulary beyond it are cut off first, so a padded id is never
    drawn (N12). name: what an error calls it. `cache` holds exactly the tokens of the last call to `probs`; whoever rolls it
    back may.
    """

    def __init__(
        self, network: Network, sampling: Sampling, token_map: Mapping[str, int] | None = None, name: str = "a model"
    ) -> None:
        self.network = network
        self.name = name
        self.sampling = sampling
        self.token_map = token_map
        self.vocab_size = tokens_of(network, token_map)
        self.rows: int = network.config.vocab_size
        self.context: int = network.config.context
        self.cache = network.new_cache()
        self._tokens: Tokens = ()

    def __repr__(self) -> str:
        return brief(self, short(self.network.config, 80), repr(self.sampling), f"{counted(self.cache.length, 'token')} cached")

    def probs(self, tokens: Tokens, last: int = 1) -> Array:
        """[last, v] in float64.

        Raises BadArgument unless 1 <= last <= len(tokens), ContextExceeded beyond the context, BadProbabilities for logits that
        are not finite.
        """
        text = self.new_tokens(tokens, last)
        with np.errstate(**OVERFLOW):
            logits = self.network.forward(text.tokens, text.cache, last)
        return self.distributions(logits)

    def new_tokens(self, tokens: Tokens, last: int) -> NewTokens:
        """What a pass has still to compute; the cache is rolled back to what is remembered of it."""
        if not 1 <= last <= len(tokens):
            raise BadArgument(f"last is {last} for {len(tokens)} tokens; a transformer needs 1 <= last <= len(tokens)")
        if len(tokens) > self.context:
            raise ContextExceeded(f"{len(tokens)} tokens for a model with a context of {self.context}; shorten the text")
        start = len(tokens) - self.new_rows(tokens, last)
        check_ids(tokens[start:], self.vocab_size)
        self.cache.rollback(start)
        self._tokens = tuple(tokens)  # of which the cache holds the first `length`: all of them once the pass has ended
        return NewTokens(np.array(tokens[start:]), self.cache, last)

    def new_rows(self, tokens: Tokens, last: int) -> int:
        """How many of the tokens are not remembered, or looked at again."""
        return max(last, len(tokens) - self._remembered(tokens))

    def _remembered(self, tokens: Tokens) -> int:
        """How many leading tokens the cache holds."""
        return common_prefix(self._tokens[: self.cache.length], tokens)

    def forget_text(self) -> None:
        """Empty the cache, as whoever begins a text does: rows of another one were computed in other passes."""
        self.cache.rollback(0)

    def fresh(self) -> "CachedLM":
        """The same for another text: with an empty cache of its own."""
        return CachedLM(self.network, self.sampling, self.token_map, self.name)

    @staticmethod
    def together(asked: "Sequence[tuple[CachedLM, Tokens, int]]") -> list[Array | RefspecError]:
        """(model, tokens, last) of several texts over one network, each with its own cache -> the rows of each, in one pass.

        What is wrong with one of them is its own answer; the others go on.

        >>> import refspec
        >>> from refspec.models.cached_lm import CachedLM
        >>> one, other = (refspec.load("tiny-draft").language_model() for _ in range(2))
        >>> [rows.shape for rows in CachedLM.together([(one, (1, 2, 3), 2), (other, (4,), 1)])]
        [(2, 1024), (1, 1024)]
        """
        texts = [attempted(model.new_tokens, tokens, last) for model, tokens, last in asked]
        packed = [text for text in texts if isinstance(text, NewTokens)]
        if packed:
            with np.errstate(**OVERFLOW):
                logits = asked[0][0].network.forward_packed(packed)
            parts = iter(np.split(logits, list(accumulate(text.last for text in packed))))
        return [
            attempted(model.distributions, next(parts)) if isinstance(text, NewTokens) else text
            for (model, _, _), text in zip(asked, texts, strict=True)
        ]

    def distributions(self, logits: Array) -> Array:
        """logits [n, v] of the network -> float64 [n, v]. Raises BadProbabilities where one is not finite."""
        return self.sampling(finite(logits, self.network, self.name)[:, : self.vocab_size])

    def features(self, tokens: Tokens) -> Array:
        """[m, d]: what the network's head saw at each of the first m tokens, as many as it has read of this text.

        For draft heads. From the first call on they are kept, and rolled back with the cache.
        """
        if not hasattr(self.cache, "keep_features"):
            raise BadArgument(f"{short(self.name)} keeps no features, which a draft head reads; load it by refspec.load")
        self.cache.keep_features(self.network.config.width)
        assert self.cache.features is not None
        return self.cache.features[: self._remembered(tokens)]


OVERFLOW: Any = {"over": "ignore", "invalid": "ignore", "divide": "ignore"}  # NumPy's warnings: `finite` says it in one line


def finite_logits(network: Network, tokens: Array, cache: KVCache, last: int, name: str) -> Array:
    """tokens [n] -> logits [last, v]. Raises BadProbabilities, which says whose they are, where one is not finite.

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.models.cached_lm import finite_logits
    >>> network = refspec.load("tiny-draft").network
    >>> finite_logits(network, np.array([1, 2, 3]), network.new_cache(), 2, "tiny-draft").shape
    (2, 1024)
    """
    with np.errstate(**OVERFLOW):
        logits = network.forward(tokens, cache, last)
    return finite(logits, network, name)


def finite(logits: Array, network: Network, name: str) -> Array:
    """The logits [n, v], if all of them are."""
    if not np.isfinite(logits).all():
        raise BadProbabilities(
            f"the logits of {short(name)} ({size_of(network.config)}) hold NaN or infinity: its numbers overflow {logits.dtype}; "
            "fetch the model again, or load it in float64"
        )
    return logits


def tokens_of(network: Network, token_map: Mapping[str, int] | None) -> int:
    """How many tokens can be said: columns that only pad the network's vocabulary do not count (N12)."""
    size: int = network.config.vocab_size
    return size if token_map is None else max(token_map.values()) + 1


def common_prefix(a: Sequence[Any], b: Sequence[Any]) -> int:
    """How many leading items two sequences of one type share."""
    if a == b[: len(a)]:
        return len(a)  # the usual case: the text has grown
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(b))  # len(b): a goes on


def check_ids(tokens: Tokens, vocab_size: int) -> None:
    """Raises BadArgument for an id that is not in the vocabulary: as an index, a negative one would wrap around."""
    if tokens and not 0 <= min(tokens) <= max(tokens) < vocab_size:
        wrong = next(token for token in tokens if not 0 <= token < vocab_size)
        raise BadArgument(f"token id {wrong} is not in the vocabulary; ids run from 0 to {vocab_size - 1}")
