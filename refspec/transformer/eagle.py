"""EAGLE: a draft head of one decoder layer, which reads the target's features (arXiv 2401.15077).

The target's feature at a token is the row that its own head reads, after the final norm (`KVCache.features`; the paper's is
before it). From the feature at token j and the embedding of token j + 1 the head makes a stand-in for the feature at token j +
1, and the target's head makes scores of that. So it sees one token further than the feature does, which is the paper's point:
what was drawn is not in the feature. Deeper guesses go on from the stand-in.

    x = fc [embedding of token j + 1; feature at token j]
    stand-in = x + attention(x) + mlp(...), one layer of the target's shape, with a cache of its own
    scores = stand-in @ head[ids].T

Of the target's head only some rows are read: those of the tokens that the target says most often (as FR-Spec does, 2502.14856),
and those of the tokens that the text holds already, without which a head could not repeat a name.

The weights are trained as in EAGLE-3 (2503.01840): on the head's own stand-ins, with no loss on features. What is left out:
trees of guesses, features of several depths, a vocabulary that differs from the target's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, counted, short
from refspec.errors import BadConfig
from refspec.files import read_json
from refspec.transformer.cache import KVCache
from refspec.transformer.config import LlamaConfig
from refspec.transformer.linear import Linear, linear
from refspec.transformer.llama import Llama, load_layer
from refspec.transformer.packed import NewTokens, Packed
from refspec.transformer.weights import OF_A_HEAD, Checkpoint


@dataclass(frozen=True)
class Eagle:
    """decoder: a Llama of one layer; its own norm is not used. ids [w], ascending: the tokens that the head can always say."""

    decoder: Llama
    join: Linear  # 2d -> d
    words: Linear  # d -> w
    ids: Array
    layers_of_target: int

    def __repr__(self) -> str:
        return brief(self, counted(len(self.ids), "token"), f"width {self.decoder.config.width}")

    @property
    def share(self) -> float:
        """Of the weights that the target reads for a token, how much the head reads for one."""
        config = self.decoder.config
        d, heads = config.width, 2 * (config.heads + config.kv_heads) * config.head_width
        layer = d * (heads + 3 * config.inner)
        return (2 * d * d + layer + len(self.ids) * d) / (self.layers_of_target * layer + config.vocab_size * d)

    def new_cache(self) -> KVCache:
        return self.decoder.new_cache()

    def stand_in(self, tokens: Array, features: Array, cache: KVCache) -> Array:
        """tokens [n], each behind the one whose feature it comes with [n, d] -> the last one's stand-in [1, d]

        The cache grows by n. Those before the last leave their keys and values, and are not computed any further.
        """
        packed = Packed([NewTokens(tokens, cache)])
        x = self.join(np.concatenate([self.decoder.embedding[tokens], features], axis=1))
        x = self.decoder.through_layers(x, packed, slice(-1, None))
        packed.advance()
        return x

    def scores(self, stand_ins: Array) -> Array:
        """stand-ins [n, d] -> [n, w], of the tokens `ids`"""
        return self.words(stand_ins)

    def scores_of(self, stand_ins: Array, tokens: Array) -> Array:
        """stand-ins [n, d] -> [n, k], of tokens [k]"""
        return stand_ins @ self.decoder.rows_of_head(tokens).T


def misfit(folder: Path, given: Mapping[str, Any], config: LlamaConfig) -> str | None:
    """Why the head in a folder, whose config.json is given, is none for a target of this config; None where it is one."""
    ours = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.inner,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
    }
    for name, value in ours.items():
        if given.get(name) != value:
            whose = short(given.get("target", "another target"))
            return (
                f"{folder} is a draft head for {whose}, with {name} {short(given.get(name))}; this target has {value}: "
                "train one for it, or leave it out"
            )
    return None


def load_eagle(folder: Path, target: Llama) -> Eagle:
    """The head in a folder, for this target, whose embedding and head it shares.

    Raises BadConfig for a head of another target, BadWeights for damaged or missing tensors.
    """
    config = target.config
    if found := misfit(folder, read_json(folder / "config.json"), config):
        raise BadConfig(found)
    checkpoint = Checkpoint(folder, target.dtype, OF_A_HEAD)
    ids = checkpoint.ids("ids", config.vocab_size)
    d, invariant = config.width, target.row_invariant
    layer = load_layer(config, checkpoint, "layer", row_invariant=invariant)
    join = linear(checkpoint.read("fc.weight", d, 2 * d), row_invariant=invariant)
    checkpoint.finish()
    decoder = target.with_layers((layer,))
    return Eagle(decoder, join, linear(target.rows_of_head(ids), row_invariant=invariant), ids, config.layers)
