"""The Llama family, read top to bottom: the weights of a layer, how they are loaded, one forward pass.

Llama 2 and 3 (arXiv 2307.09288, 2407.21783), SmolLM2, TinyLlama, Qwen2 (biases), Qwen3 (query and key norms) and
Granite (multipliers) are one network: RMS norms, rotary positions, grouped-query attention, a gated MLP.

Tricks, and the plain line of `plain.llama` that each replaces:

- Only new tokens pass through the layers; keys and values of the others come from the cache (cache.py). Plain: `logits`
  computes every token again.
- Only the last rows reach the head, whose product is the largest of all. Plain: `norm(x, "norm") @ head.T`, for every token.
- Several texts share a pass (packed.py). Plain: one `logits` after another.
- Matrices that read the same x are stacked, and their product is one call: q, k and v; gate and up. Plain: a `linear` for each.
- Queries and keys are rotated, and in Qwen3 normed, in one call. Plain: `rotate(queries, cos, sin), rotate(keys, cos, sin)`.
- No key is copied for the heads that share it (`ops.attention`). Plain: `np.repeat(each, h // g, axis=0)`.
- Every matrix is laid out for its BLAS once, at loading (linear.py). Plain: `x @ weights[...].T` in `linear`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, by_fields
from refspec.transformer.cache import KVCache
from refspec.transformer.config import LlamaConfig, size_of
from refspec.transformer.linear import Linear, linear
from refspec.transformer.ops import (
    attention,
    attention_by_row,
    halves,
    merge_heads,
    rms_norm,
    rotate,
    silu,
    split_heads,
)
from refspec.transformer.packed import NewTokens, Packed
from refspec.transformer.weights import Checkpoint


@dataclass(frozen=True)
class Projection:
    """x W^T + b; several matrices that read the same x are stacked into one."""

    weight: Linear  # in -> out
    bias: Array | None  # [out]

    __repr__ = by_fields

    def __call__(self, x: Array) -> Array:
        """x [n, in] -> [n, out]"""
        y = self.weight(x)
        return y if self.bias is None else y + self.bias


ALL = slice(None)


@dataclass(frozen=True)
class Layer:
    attention_norm: Array  # [d]
    qkv: Projection  # [(h + 2g) e, d]
    qk_norm: Array | None  # [h + g, 1, e], Qwen3: one row for all queries, another for all keys
    output: Projection  # [d, h e]
    mlp_norm: Array  # [d]
    gate_up: Projection  # [2 inner, d]
    down: Projection  # [d, inner]

    __repr__ = by_fields


@dataclass(frozen=True)
class Llama:
    config: LlamaConfig
    embedding: Array  # [v, d]
    frequencies: Array  # [e], radians a position, negative in the first half: that half turns the other way
    layers: tuple[Layer, ...]
    norm: Array  # [d]
    head: Linear  # d -> v; of the embedding where they are tied
    row_invariant: bool = False  # a row's bits depend on its own text only, not on what shares the pass

    def __repr__(self) -> str:
        return brief(self, size_of(self.config), str(self.dtype))

    @property
    def dtype(self) -> Any:
        return self.norm.dtype

    def new_cache(self) -> KVCache:
        return KVCache(self.config.layers, self.config.kv_heads, self.config.head_width, self.dtype)

    def forward(
        self, tokens: Array, cache: KVCache, last: int = 1, *, positions: Array | None = None, mask: Array | None = None
    ) -> Array:
        """tokens [n] -> logits [last, v] after each of the last `last` of them; the cache grows by n.

        positions and mask: as in `NewTokens`.
        """
        return self.forward_packed([NewTokens(tokens, cache, last, positions, mask)])

    def forward_packed(self, texts: Sequence[NewTokens]) -> Array:
        """The new tokens of several texts, n in all -> logits [last, v], of those looked at of all texts, in turn."""
        config, packed = self.config, Packed(texts)
        x = self.embedding[packed.tokens] * self.dtype.type(config.embedding_multiplier)  # [n, d]
        x = self.through_layers(x, packed)
        features = packed.keep(rms_norm(x[packed.needed], self.norm, config.norm_eps))  # [last, d]
        logits = self.head(features)  # [last, v]
        logits /= self.dtype.type(config.logits_divisor)
        packed.advance()
        return logits

    @property
    def rows_of_head(self) -> Callable[[Array], Array]:
        """From tokens [k] to what the head has for each [k, d]. It may be kept without keeping the network."""
        return self.embedding.__getitem__ if self.config.tied else self.head.rows

    def with_layers(self, layers: tuple[Layer, ...]) -> "Llama":
        """The same between other layers."""
        return replace(self, config=replace(self.config, layers=len(layers)), layers=layers)

    def through_layers(self, x: Array, packed: Packed, needed: slice = ALL) -> Array:
        """x [n, d] of the new tokens -> [n, d], or of the rows needed. The caches are written to, and not advanced.

        Behind the last layer's attention nobody looks at the other rows any more.
        """
        config = self.config
        angles = packed.positions[:, None] * self.frequencies  # [n, e], float64: positions are large
        cos, sin = np.cos(angles).astype(self.dtype), np.sin(angles).astype(self.dtype)
        h, g = config.heads, config.kv_heads
        attend = attention_by_row if self.row_invariant else attention
        added = self.dtype.type(config.residual_multiplier)
        for i, layer in enumerate(self.layers):
            qkv = layer.qkv(rms_norm(x, layer.attention_norm, config.norm_eps))  # [n, (h + 2g) e]
            heads = split_heads(qkv, h + 2 * g)  # [h + 2g, n, e]
            rotated, values = heads[: h + g], heads[h + g :]
            if layer.qk_norm is not None:
                rotated = rms_norm(rotated, layer.qk_norm, config.norm_eps)
            rotated = rotate(rotated, cos, sin)  # queries and keys, in one go
            attended = packed.attend(i, rotated[:h], rotated[h:], values, attend, config.attention_scale)  # [h, n, e]
            if i == len(self.layers) - 1:
                x, attended = x[needed], attended[:, needed]
            x = x + layer.output(merge_heads(attended)) * added
            gate, up = halves(layer.gate_up(rms_norm(x, layer.mlp_norm, config.norm_eps)))  # [n, inner]
            x = x + layer.down(silu(gate) * up) * added
        return x


def rotary_frequencies(config: LlamaConfig) -> Array:
    """[e / 2] radians a position (arXiv 2104.09864, section 3.2.2), slowed down for long contexts as Llama 3 does."""
    frequencies = config.rope_theta ** -(np.arange(0, config.head_width, 2) / config.head_width)
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    # Turns within the original context: many are kept, few are slowed by `factor`, those between are mixed.
    turns = scaling.original_context * frequencies / (2 * np.pi)
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = np.clip(kept, 0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


def load_layer(config: LlamaConfig, checkpoint: Checkpoint, name: str, *, row_invariant: bool = False) -> Layer:
    """The decoder layer whose tensors' names begin with `name`, in the Hugging Face layout, where every matrix is [out, in]."""
    d, e, attn, mlp = config.width, config.head_width, f"{name}.self_attn", f"{name}.mlp"
    queries, keys = config.heads * e, config.kv_heads * e

    def stacked(names: list[str], outputs: list[int], inputs: int, bias: bool) -> Projection:
        weights = [checkpoint.read(f"{name}.weight", out, inputs) for name, out in zip(names, outputs, strict=True)]
        biases = [checkpoint.read(f"{name}.bias", out) for name, out in zip(names, outputs, strict=True) if bias]
        weight = linear(np.concatenate(weights), row_invariant=row_invariant)
        return Projection(weight, np.concatenate(biases) if bias else None)

    def head_norms() -> Array:
        query, key = checkpoint.read(f"{attn}.q_norm.weight", e), checkpoint.read(f"{attn}.k_norm.weight", e)
        return np.stack([query] * config.heads + [key] * config.kv_heads)[:, None]

    checkpoint.ignore(f"{attn}.rotary_emb.inv_freq")  # a buffer in older saves
    return Layer(
        checkpoint.read(f"{name}.input_layernorm.weight", d),
        stacked([f"{attn}.q_proj", f"{attn}.k_proj", f"{attn}.v_proj"], [queries, keys, keys], d, config.qkv_bias),
        head_norms() if config.qk_norm else None,
        stacked([f"{attn}.o_proj"], [d], queries, config.output_bias),
        checkpoint.read(f"{name}.post_attention_layernorm.weight", d),
        stacked([f"{mlp}.gate_proj", f"{mlp}.up_proj"], [config.inner] * 2, d, config.mlp_bias),
        stacked([f"{mlp}.down_proj"], [d], config.inner, config.mlp_bias),
    )


def load_llama(config: LlamaConfig, checkpoint: Checkpoint, *, row_invariant: bool = False) -> Llama:
    """The Hugging Face layout."""
    v, d = config.vocab_size, config.width
    embedding = checkpoint.read("model.embed_tokens.weight", v, d)
    names = (f"model.layers.{i}" for i in range(config.layers))
    layers = tuple(load_layer(config, checkpoint, name, row_invariant=row_invariant) for name in names)
    norm = checkpoint.read("model.norm.weight", d)
    head = linear(checkpoint.head(embedding, config.tied), row_invariant=row_invariant)
    turns = rotary_frequencies(config)
    model = Llama(config, embedding, np.concatenate([-turns, turns]), layers, norm, head, row_invariant)
    checkpoint.finish()
    return model
