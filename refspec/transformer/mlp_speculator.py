"""The MLP speculator: a draft head of a few small networks in a row, each of which guesses one token (arXiv 2404.19124).

From the target's feature at the last token that it has read, and the tokens since, the i-th network makes a state and from that
scores of the next token:

    state = gelu(norm_i(state_weight * proj_i(state) + emb_weight * emb_i[token]))
    scores = head_i(state)

The first state is the feature. The first token is the one that the target has drawn and not read, each later one is the
guess before.
With state_weight = 0.5 ** (0.5 / n) and emb_weight = sqrt((1 - state_weight ** 2) * inner / 2), half of what the last of n states
is made of still comes from the feature.

The feature is the row that the target's own head reads, *after* the final norm: IBM's code gives the speculator what it gives the
head. What that code calls a layer norm takes no mean off: it is an RMS norm with a bias, and an eps of 1e-6. `scale_input`
normalises the feature once more, without weights, and divides by sqrt(2). `tie_weights`: all steps share one network, but for the
first projection, whose input is as wide as the target.

The layout is that of IBM's accelerators, with two additions. `draft_vocab_size` w: the heads have rows for w frequent tokens
only, which the tensor `ids` names. `factored`: embedding and head are the target's own, behind a matrix each, `lookup` and
`out`; that is small enough to ship, and can score what the text holds beside those tokens. Left out: trees of several
candidates (`top_k_tokens_per_head`, `n_candidates`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, by_fields, counted
from refspec.errors import BadConfig, BadWeights
from refspec.files import read_json
from refspec.transformer.config import numbers_read
from refspec.transformer.keys import Keys
from refspec.transformer.linear import Linear, linear
from refspec.transformer.ops import exact_gelu, rms_norm
from refspec.transformer.weights import OF_A_HEAD, Checkpoint

EPS = 1e-6


@dataclass(frozen=True)
class SpeculatorConfig:
    """words: how many tokens it can say, all of them unless its heads were cut to frequent ones."""

    vocab_size: int
    width: int
    inner: int
    n_predict: int
    words: int
    tied: bool
    scale_input: bool
    factored: bool

    def __repr__(self) -> str:
        return brief(self, counted(self.n_predict, "step"), f"{self.width} to {self.inner}", counted(self.words, "token"))


@dataclass(frozen=True)
class Step:
    """One network. Tied ones share their arrays."""

    embed: Callable[[Array], Array]  # tokens [n] -> [n, inner]
    project: Linear  # d -> inner; inner -> inner from the second step on
    norm: tuple[Array, Array]  # weight, bias [inner]
    head: Callable[[Array], Array]  # states [n, inner] -> scores [n, w]

    __repr__ = by_fields


@dataclass(frozen=True)
class MlpSpeculator:
    """ids [w], ascending: the tokens that scores are of; None for all. share: how much a guess reads, of the weights that a token
    of the target reads. others: where the head is the target's own, from a state [n, inner] and tokens [k] to scores [n, k]."""

    config: SpeculatorConfig
    steps: tuple[Step, ...]
    ids: Array | None
    share: float
    others: Callable[[Array, Array], Array] | None = None

    def __repr__(self) -> str:
        return brief(self, repr(self.config))

    @property
    def n_predict(self) -> int:
        return len(self.steps)

    def start(self, feature: Array) -> Array:
        """The target's feature [n, d] at the last token that it has read -> the first state [n, d]"""
        if not self.config.scale_input:
            return feature
        return rms_norm(feature, np.ones((), feature.dtype), EPS) / feature.dtype.type(math.sqrt(2))

    def step(self, i: int, state: Array, tokens: Array) -> tuple[Array, Array]:
        """The i-th guess, i from 0 on: state [n, d or inner], tokens [n] before it -> the next state [n, inner], scores [n, w]"""
        state_weight = 0.5 ** (0.5 / self.n_predict)
        embedding_weight = math.sqrt((1 - state_weight**2) * self.config.inner / 2)
        step, dtype = self.steps[i], state.dtype.type
        weight, bias = step.norm
        x = step.project(state) * dtype(state_weight) + step.embed(tokens) * dtype(embedding_weight)
        state = exact_gelu(rms_norm(x, weight, EPS) + bias)
        return state, step.head(state)

    @property
    def any_token(self) -> bool:
        """Whether it can score tokens beside `ids`."""
        return self.others is not None

    def scores_of(self, state: Array, tokens: Array) -> Array:
        """A state that `step` made [n, inner] -> scores [n, k] of tokens [k], where `any_token`"""
        assert self.others
        return self.others(state, tokens)


def read_speculator_config(folder: Path) -> SpeculatorConfig:
    """Raises BadConfig for a config.json that is damaged, UnsupportedModel for one that asks for other mathematics."""
    keys = Keys(folder / "config.json", read_json(folder / "config.json"))
    keys.must_be("model_type", "mlp_speculator")
    keys.must_be("architectures", ["MLPSpeculatorPreTrainedModel"], ["MLPSpeculator"], None)
    keys.also_called("emb_dim", "hidden_size")
    for about_trees_or_text in ("top_k_tokens_per_head", "n_candidates", "target", "tie_word_embeddings"):
        keys.take(about_trees_or_text)
    width, n_predict, vocab_size = keys.count("emb_dim"), keys.count("n_predict"), keys.count("vocab_size")
    if keys.take("num_lookahead_tokens", n_predict) != n_predict:
        keys.refuse("num_lookahead_tokens", keys.given["num_lookahead_tokens"], f"n_predict, which is {n_predict}")
    if keys.given.get("inner_dim") == 0:
        del keys.given["inner_dim"]  # 0 stands for emb_dim
    config = SpeculatorConfig(
        vocab_size=vocab_size,
        width=width,
        inner=keys.count("inner_dim", width),
        n_predict=n_predict,
        words=keys.count("draft_vocab_size", vocab_size),
        tied=keys.switch("tie_weights", False),
        scale_input=keys.switch("scale_input", False),
        factored=keys.switch("factored", False),
    )
    if config.factored and not config.tied:
        keys.refuse("tie_weights", False, "true where factored is")
    keys.judge_the_rest()
    keys.raise_what_was_refused()
    return config


def load_mlp_speculator(folder: Path, network: Any) -> MlpSpeculator:
    """The speculator in a folder, for the target of this network.

    Raises BadConfig for one of another target, BadWeights for tensors that are damaged, missing or superfluous.
    """
    config, target = read_speculator_config(folder), network.config
    for name, given, needed in (("emb_dim", config.width, target.width), ("vocab_size", config.vocab_size, target.vocab_size)):
        if given != needed:
            raise BadConfig(
                f"{folder} is a draft head for another target: its {name} is {given}, and this target's is {needed}; "
                "train one for it, or leave it out"
            )
    checkpoint = Checkpoint(folder, network.dtype, OF_A_HEAD)
    prefix = "speculator." if any(name.startswith("speculator.") for name in checkpoint.headers) else ""
    ids = checkpoint.ids(f"{prefix}ids", config.vocab_size) if config.words < config.vocab_size else None
    if ids is not None and len(ids) != config.words:
        raise BadWeights(
            f"{folder}: {prefix}ids are {len(ids)} where config.json says draft_vocab_size {config.words}; {OF_A_HEAD}"
        )

    @cache
    def read(name: str, *shape: int) -> Array:
        return checkpoint.read(name, *shape)

    @cache
    def product(name: str, *shape: int) -> Linear:
        return linear(read(name, *shape))

    def stored(part: str, i: int, *shape: int, first: int = 0) -> tuple[Any, ...]:
        """(name, shape) for step i; of tied steps, for the first that has this part, of which others may be copies."""
        own, kept = (prefix + part.format(at) for at in (i, min(i, first) if config.tied else i))
        if own != kept and own in checkpoint and not np.array_equal(checkpoint.read(own, *shape), read(kept, *shape)):
            raise BadWeights(f"{folder}: config.json ties the weights of all steps, but {own} differs from {kept}")
        return kept, *shape

    v, d, inner = config.vocab_size, config.width, config.inner
    others: Callable[[Array, Array], Array] | None = None
    if config.factored:
        lookup, out = product(f"{prefix}lookup.weight", inner, d), product(f"{prefix}out.weight", d, inner)
        # their arrays alone: a head that held the network would keep it alive, which keeps its heads (models/read_once.py)
        embedding, rows_of_head = network.embedding, network.rows_of_head
        words = linear(rows_of_head(np.arange(v) if ids is None else ids))
        others = lambda state, tokens: out(state) @ rows_of_head(tokens).T  # noqa: E731

    def ends(i: int) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
        """How step i takes a token in, and how it tells scores."""
        if config.factored:
            return lambda tokens: lookup(embedding[tokens]), lambda state: words(out(state))
        table = read(*stored("emb.{}.weight", i, v, inner))
        return lambda tokens: table[tokens], product(*stored("head.{}.weight", i, config.words, inner))

    def step(i: int) -> Step:
        embed, head = ends(i)
        project = product(*stored("proj.{}.weight", i, inner, d if i == 0 else inner, first=1))
        return Step(embed, project, (read(*stored("ln.{}.weight", i, inner)), read(*stored("ln.{}.bias", i, inner))), head)

    steps = tuple(step(i) for i in range(config.n_predict))
    checkpoint.finish()
    of_ends = 2 * inner * d + config.words * d if config.factored else inner * config.words
    return MlpSpeculator(config, steps, ids, (inner * inner + of_ends) / numbers_read(target), others)
