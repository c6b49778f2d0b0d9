"""Drafting with an MLP speculator: each guess from a state that began as the target's feature, and from the guess before it.

Exactness is untouched: the feature is a function of the text, so q depends on the text and on the tokens drafted so far, and on
nothing else (N6).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, short
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.decoding.optional import optional
from refspec.errors import BadArgument, BadConfig, BadProbabilities, BadWeights, BrokenDrafter
from refspec.files import read_json
from refspec.models.cached_lm import OVERFLOW
from refspec.models.read_once import read_once
from refspec.models.sampling import Sampling
from refspec.models.whose import of_another_name
from refspec.transformer.mlp_speculator import load_mlp_speculator


class HasFeatures(Protocol):
    """What a draft head asks of its target, beside what a LanguageModel is."""

    @property
    def vocab_size(self) -> int: ...

    def features(self, tokens: Tokens) -> Array:
        """[m, d]: what the target's head saw at the first m tokens, as many as are known; row i is of tokens[: i + 1] alone."""
        ...


class Speculator(Protocol):
    """What `transformer/mlp_speculator.py` provides. ids: the tokens that scores are of, None for all. any_token: whether it can
    score others too."""

    @property
    def n_predict(self) -> int: ...
    @property
    def ids(self) -> Array | None: ...
    @property
    def any_token(self) -> bool: ...
    @property
    def share(self) -> float: ...
    def start(self, feature: Array) -> Array: ...
    def step(self, i: int, state: Array, tokens: Array) -> tuple[Array, Array]: ...
    def scores_of(self, state: Array, tokens: Array) -> Array: ...


class SpeculatorDrafter:
    """Draws up to gamma tokens, and never more than the speculator's n_predict, with one pick each, in order (N5).

    sampling: from scores [1, w] to a distribution; None for the target's own. Where the target has not read the last token but
    one, as before its first pass, there is nothing to start from, and nothing is drafted.

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.models.speculator import SpeculatorDrafter
    >>> class Target:
    ...     vocab_size = 3
    ...     def features(self, tokens):
    ...         return np.eye(3)[list(tokens[:-1])]
    >>> class Copy:
    ...     "Guesses that the text goes on with the token before its last, over and over."
    ...     n_predict, ids, any_token, share = 2, None, False, 0.0
    ...     def start(self, feature):
    ...         return feature
    ...     def step(self, i, state, tokens):
    ...         return state, state
    >>> drafter = SpeculatorDrafter(Copy(), Target(), sampling=lambda rows: rows)
    >>> drafter.propose((1, 2), 4, refspec.Tape([0.5, 0.5])).tokens
    (1, 1)
    """

    state = None  # a function of the text, of which the target has read all but the last token, or nothing yet

    def __init__(self, speculator: Speculator, target: HasFeatures, sampling: Any = None) -> None:
        self.speculator = speculator
        self.target = target
        self.sampling = sampling or optional(target, "sampling") or Sampling()
        self._ids = can_say(speculator.ids, target.vocab_size)
        self._always = frozenset(self._ids.tolist())

    def __repr__(self) -> str:
        return brief(self, repr(self.speculator), repr(self.sampling))

    OVERHEAD = 0.02  # of a plain step, in calls of small products
    usual = 0.42, 16.0  # of greedy guesses, at the first place and at later ones alike (docs/drafts.md)

    def cost(self, tokens: Tokens) -> float:
        """What a drafted token costs, in plain decode steps: by the weights that are read for it."""
        return self.speculator.share + self.OVERHEAD

    def __deepcopy__(self, memo: Any) -> Any:
        raise BadArgument("a head reads the features of one target; give the head's folder")

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        n, features = len(tokens), self.target.features(tokens)
        if n < 2 or len(features) < n - 1:
            return Draft(())
        others = text_beside(tokens, self._always) if self.speculator.any_token else NONE
        ids = np.concatenate([self._ids, others])
        state = self.speculator.start(features[n - 2 : n - 1])
        rows = []
        for i in range(min(gamma, self.speculator.n_predict)):
            state, scores = self._step(i, state, tokens[-1], others)
            row = distribution(scores, self.sampling, self.speculator)
            tokens += (int(ids[chance.pick(row)]),)
            rows.append(spread(row, ids, self.target.vocab_size))
        return Draft(tokens[n:], np.stack(rows) if rows else None, n)

    @np.errstate(**OVERFLOW)
    def _step(self, i: int, state: Array, token: int, others: Array) -> tuple[Array, Array]:
        """-> the next state, scores [1, w] of what the speculator knows and of the others"""
        state, scores = self.speculator.step(i, state, np.array([token]))
        scores = scores[:, : len(self._ids)]
        if len(others):
            scores = np.concatenate([scores, self.speculator.scores_of(state, others)], axis=1)
        return state, scores


NONE = np.zeros(0, int)


def can_say(ids: Array | None, vocab_size: int) -> Array:
    """Of the ids that a head knows, None for all, those of tokens: what only pads the vocabulary is never said (N12).

    Raises BadWeights where nothing is left.

    >>> import numpy as np
    >>> from refspec.models.speculator import can_say
    >>> can_say(np.array([1, 7]), 5).tolist(), can_say(None, 3).tolist()
    ([1], [0, 1, 2])
    """
    known: Array = np.arange(vocab_size) if ids is None else ids[ids < vocab_size]
    if not len(known):
        raise BadWeights(
            f"the draft head knows only ids that pad the vocabulary, whose tokens are 0 to {vocab_size - 1}; train it again, or "
            "leave it out"
        )
    return known


def distribution(scores: Array, sampling: Callable[[Array], Array], head: object) -> Array:
    """scores [1, w] -> [w]. Raises BrokenDrafter, which says whose they are, where they are not finite.

    >>> import numpy as np
    >>> from refspec.models.sampling import Sampling
    >>> from refspec.models.speculator import distribution
    >>> distribution(np.array([[1.0, np.inf]]), Sampling(), "head")
    Traceback (most recent call last):
    refspec.errors.BrokenDrafter: the scores of the draft head 'head' hold NaN or infinity: its numbers overflow float64; train it
    again, or leave it out
    """
    try:
        row: Array = sampling(scores)[0]
    except BadProbabilities:
        raise BrokenDrafter(
            f"the scores of the draft head {short(head, 90)} hold NaN or infinity: its numbers overflow {scores.dtype}; train it "
            "again, or leave it out"
        ) from None
    return row


def text_beside(tokens: Tokens, ids: frozenset[int]) -> Array:
    """What a text holds that is not among ids, ascending: a head that knows frequent tokens alone could never repeat a name.

    >>> from refspec.models.speculator import text_beside
    >>> text_beside((7, 1, 9, 7), frozenset({1, 2})).tolist()
    [7, 9]
    """
    return np.array(sorted(set(tokens) - ids), int)


def spread(row: Array, ids: Array, vocab_size: int) -> Array:
    """row [w] of the tokens ids [w] -> [v], zero elsewhere

    >>> import numpy as np
    >>> from refspec.models.speculator import spread
    >>> spread(np.array([0.25, 0.75]), np.array([0, 2]), 3).tolist()
    [0.25, 0.0, 0.75]
    """
    whole = np.zeros(vocab_size, row.dtype)
    whole[ids] = row
    return whole


def speculator_drafter(folder: Path, target: Any) -> SpeculatorDrafter:
    """The speculator in a folder, for a target with a cache (`Model.language_model`).

    Raises BadArgument for any other target, BadConfig for a head that was made for another one, BadWeights for damaged files.
    """
    if not (hasattr(target, "features") and hasattr(target, "network")):
        raise BadArgument(
            f"{folder} is a draft head, which reads the features of a network; the target is {short(target)}: leave it out"
        )
    speculator = read_once(load_mlp_speculator, folder, target.network)
    bind(folder, target)
    return SpeculatorDrafter(speculator, target)


def bind(folder: Path, target: Any) -> None:
    """Let the target keep its features for the head in a folder, from its first pass on: later it would read the text again.

    Raises BadConfig where the head says that its target has another name; IBM's say nothing.
    """
    if found := of_another_name(folder, "a draft head", read_json(folder / "config.json"), target.name):
        raise BadConfig(found)
    target.features(())
