"""Drafting with an EAGLE head: from the features that the target has kept of the text, a chain of guesses.

Exactness is untouched: q depends on the text, through features that are a function of it, and on the tokens drafted so far (N6).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, short
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, GoOn
from refspec.decoding.lm import Tokens
from refspec.decoding.question import Asking, at_once
from refspec.errors import BadArgument
from refspec.models.cached_lm import OVERFLOW, common_prefix
from refspec.models.read_once import read_once
from refspec.models.sampling import Sampling
from refspec.models.speculator import HasFeatures, bind, can_say, distribution, spread, text_beside
from refspec.models.whose import of_another_name
from refspec.transformer.cache import KVCache
from refspec.transformer.config import LlamaConfig
from refspec.transformer.eagle import load_eagle, misfit


class Head(Protocol):
    """What `Eagle` is to its drafter."""

    @property
    def ids(self) -> Array: ...
    @property
    def share(self) -> float: ...
    def new_cache(self) -> KVCache: ...
    def stand_in(self, tokens: Array, features: Array, cache: KVCache) -> Array: ...
    def scores(self, stand_ins: Array) -> Array: ...
    def scores_of(self, stand_ins: Array, tokens: Array) -> Array: ...


class EagleDrafter:
    """Draws up to gamma tokens, one pick each (N5), under the target's own sampling: tokens that the head knows, or of the text.

    Where the target has not read the last token but one, as before its first pass, nothing is drafted. The head's cache holds
    rows of the target's features alone between calls: what it made of its own stand-ins is forgotten at the end of each, so it
    does not drift from the text.
    """

    state = None  # a function of the text, of which the target has read all but the last token, or nothing yet

    def __init__(self, head: Head, target: HasFeatures, sampling: Callable[[Array], Array] | None = None) -> None:
        self.head = head
        self.target = target
        self.sampling = sampling or Sampling()
        self.believes = Sampling() if sampling is None or isinstance(sampling, Sampling) else sampling
        self._ids = can_say(head.ids, target.vocab_size)
        self._always = frozenset(self._ids.tolist())
        self._cache = head.new_cache()
        self._tokens: Tokens = ()  # row j of the cache is of tokens[: j + 2]

    def __repr__(self) -> str:
        return brief(self, repr(self.head), repr(self.sampling))

    def __deepcopy__(self, memo: Any) -> Any:
        raise BadArgument("a head reads the features of one target; give the head's folder")

    def forget_text(self) -> None:
        """Empty the head's cache, as whoever begins a text does."""
        self._cache.rollback(0)

    OVERHEAD = 0.02  # of a plain step, in calls of small products
    usual = 0.48, 16.0  # of greedy guesses, at the first place and at later ones alike (docs/drafts.md)

    def cost(self, tokens: Tokens) -> float:
        """What a drafted token costs, in plain decode steps: by the weights that are read for it."""
        return self.head.share + self.OVERHEAD

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        return at_once(self.asking_while(tokens, gamma, chance, lambda chances: len(chances) < gamma))

    def asking_while(self, tokens: Tokens, gamma: int, chance: Chance, go_on: GoOn) -> Asking[Draft]:
        """As many guesses as `go_on` says. Of each it is told what the head gives the likeliest token there, at temperature 1.

        That is close to the chance of acceptance (EAGLE-2, arXiv 2406.16858, section 3.2), and known before the guess is drawn.
        """
        yield from ()  # its passes are nobody's questions
        n, features = len(tokens), self.target.features(tokens)
        drafted: list[int] = []
        laws: list[Array] = []
        sure: list[float] = []
        if n < 2 or len(features) < n - 1 or not go_on(sure):
            return Draft(())
        known = min(self._cache.length, max(0, common_prefix(self._tokens, tokens) - 1), n - 2)
        self._cache.rollback(known)
        self._tokens = tokens
        others = text_beside(tokens, self._always)
        ids = np.concatenate([self._ids, others])
        stand_in, scores = self._guess(tokens[known + 1 :], features[known : n - 1], others)
        while True:
            law = distribution(scores, self.sampling, self.head)
            laws.append(law)
            sure.append(self.believes(scores).max())
            drafted.append(int(ids[chance.pick(law)]))
            if not go_on(sure):
                break
            stand_in, scores = self._guess(drafted[-1:], stand_in, others)
        self._cache.rollback(n - 1)
        return Draft(tuple(drafted), np.stack([spread(law, ids, self.target.vocab_size) for law in laws]), n)

    @np.errstate(**OVERFLOW)
    def _guess(self, tokens: Sequence[int], features: Array, others: Array) -> tuple[Array, Array]:
        """tokens [n], features [n, d] -> the last one's stand-in [1, d], scores [1, w] of what it knows and of the others"""
        stand_in = self.head.stand_in(np.array(tokens), features, self._cache)
        frequent = self.head.scores(stand_in)[:, : len(self._ids)]
        return stand_in, np.concatenate([frequent, self.head.scores_of(stand_in, others)], axis=1)


def feeds_heads(target: Any) -> bool:
    """Whether the target is a Llama of refspec's, of which an EAGLE head can read the features."""
    network = getattr(target, "network", None)
    ours = isinstance(getattr(network, "config", None), LlamaConfig) and hasattr(network, "with_layers")
    return ours and hasattr(target, "features")


def eagle_fits(folder: Path, given: Mapping[str, Any], target: Any) -> bool:
    """Whether `eagle_drafter` takes the head in a folder, whose config.json is given, for this target."""
    return feeds_heads(target) and not (
        misfit(folder, given, target.network.config) or of_another_name(folder, "a draft head", given, target.name)
    )


def eagle_drafter(folder: Path, target: Any) -> EagleDrafter:
    """The head in a folder, for a target with a cache (`Model.language_model`). Raises BadArgument for any other target."""
    if not feeds_heads(target):
        raise BadArgument(
            f"{folder} is a draft head, which reads the features of a Llama; {short(target)} has none: leave it out"
        )
    head = read_once(load_eagle, folder, target.network)
    bind(folder, target)
    return EagleDrafter(head, target, target.sampling)
