"""GPT-2 and GPT-BigCode, read top to bottom: the weights of a layer, how they are loaded, one forward pass.

Radford et al. 2019. Pre-norm layers over learned positions; each layer adds what attention and a two-layer network find.
GPT-BigCode (arXiv 2301.03988; StarCoder, Granite's code model of 20B) is the same network, with one key/value head for all heads
(arXiv 1911.02150) and another layout on disk.

Tricks, and the plain line of `plain.gpt2` that each replaces:

- Only new tokens pass through the layers; keys and values of the others come from the cache (cache.py). Plain: `logits`
  computes every token again.
- Only the last rows reach the head, whose product is the largest of all. Plain: `norm(x, "ln_f") @ head.T`, for every token.
- Several texts share a pass (packed.py). Plain: one `logits` after another.
- Every matrix is laid out for its BLAS once, at loading (linear.py). Plain: `x @ weights[...]` in `linear`.
- One reshape cuts queries, keys and values apart, as views. Plain: `np.split`, then `split_heads` for each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from refspec.arrays import Array
from refspec.brief import brief, by_fields
from refspec.transformer.cache import KVCache
from refspec.transformer.config import GPT2Config, size_of
from refspec.transformer.linear import Linear, linear
from refspec.transformer.ops import attention, attention_by_row, exact_gelu, gelu, layer_norm, merge_heads, split_heads
from refspec.transformer.packed import NewTokens, Packed
from refspec.transformer.weights import Checkpoint

Norm = tuple[Array, Array]  # weight [d], bias [d]
Affine = tuple[Linear, Array]  # in -> out, bias [out]


@dataclass(frozen=True)
class Layer:
    attention_norm: Norm
    qkv: Affine  # [(h + 2g) e, d]
    output: Affine  # [d, d]
    mlp_norm: Norm
    up: Affine  # [inner, d]
    down: Affine  # [d, inner]

    __repr__ = by_fields


@dataclass(frozen=True)
class GPT2:
    config: GPT2Config
    embedding: Array  # [v, d]
    positions: Array  # [context, d]
    layers: tuple[Layer, ...]
    norm: Norm
    head: Linear  # d -> v; of the embedding where they are tied
    row_invariant: bool = False  # a row's bits depend on its own text only, not on what shares the pass

    def __repr__(self) -> str:
        return brief(self, size_of(self.config), str(self.dtype))

    @property
    def dtype(self) -> Any:
        return self.positions.dtype

    def new_cache(self) -> KVCache:
        config = self.config
        return KVCache(config.layers, config.kv_heads, config.width // config.heads, self.dtype)

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
        h, g, e = config.heads, config.kv_heads, config.width // config.heads
        attend = attention_by_row if self.row_invariant else attention
        activation = exact_gelu if config.exact_gelu else gelu

        x = self.embedding[packed.tokens] + self.positions[packed.positions]  # [n, d]
        for i, layer in enumerate(self.layers):
            qkv = affine(layer_norm(x, *layer.attention_norm, config.norm_eps), layer.qkv)  # [n, (h + 2g) e]
            heads = split_heads(qkv, h + 2 * g)  # [h + 2g, n, e]
            attended = packed.attend(i, heads[:h], heads[h : h + g], heads[h + g :], attend, e**-0.5)  # [h, n, e]
            x = x + affine(merge_heads(attended), layer.output)
            inner = activation(affine(layer_norm(x, *layer.mlp_norm, config.norm_eps), layer.up))  # [n, inner]
            x = x + affine(inner, layer.down)
        features = packed.keep(layer_norm(x[packed.needed], *self.norm, config.norm_eps))  # [last, d]
        logits = self.head(features)  # [last, v]
        packed.advance()
        return logits

    @property
    def rows_of_head(self) -> Callable[[Array], Array]:
        """From tokens [k] to what the head has for each [k, d]. It may be kept without keeping the network."""
        return self.embedding.__getitem__ if self.config.tied else self.head.rows


def affine(x: Array, weight_and_bias: Affine) -> Array:
    """x [n, in] -> [n, out]"""
    weight, bias = weight_and_bias
    return weight(x) + bias


def load_gpt2(config: GPT2Config, checkpoint: Checkpoint, *, row_invariant: bool = False) -> GPT2:
    """The Hugging Face layout. The original gpt2 lacks the prefix of later saves."""
    prefix = "transformer." if any(name.startswith("transformer.") for name in checkpoint.headers) else ""
    d, v, kv = config.width, config.vocab_size, config.kv_heads * (config.width // config.heads)

    def norm(name: str) -> Norm:
        return checkpoint.read(f"{name}.weight", d), checkpoint.read(f"{name}.bias", d)

    def matrix(name: str, inputs: int, outputs: int) -> Affine:
        shape = (outputs, inputs) if config.model_type == "gpt_bigcode" else (inputs, outputs)
        weight = as_gpt2(f"{name}.weight", checkpoint.read(f"{name}.weight", *shape), config)
        bias = as_gpt2(f"{name}.bias", checkpoint.read(f"{name}.bias", outputs), config)
        return linear(weight.T, row_invariant=row_invariant), bias

    embedding = checkpoint.read(f"{prefix}wte.weight", v, d)
    layers = []
    for i in range(config.layers):
        name = f"{prefix}h.{i}"
        checkpoint.ignore(f"{name}.attn.bias", f"{name}.attn.masked_bias")  # the causal mask, saved as a buffer
        layers.append(
            Layer(
                norm(f"{name}.ln_1"),
                matrix(f"{name}.attn.c_attn", d, d + 2 * kv),
                matrix(f"{name}.attn.c_proj", d, d),
                norm(f"{name}.ln_2"),
                matrix(f"{name}.mlp.c_fc", d, config.inner),
                matrix(f"{name}.mlp.c_proj", config.inner, d),
            )
        )
    model = GPT2(
        config,
        embedding,
        checkpoint.read(f"{prefix}wpe.weight", config.context, d),
        tuple(layers),
        norm(f"{prefix}ln_f"),
        linear(checkpoint.head(embedding, config.tied), row_invariant=row_invariant),
        row_invariant,
    )
    checkpoint.finish()
    return model


def as_gpt2(name: str, tensor: Array, config: GPT2Config) -> Array:
    """A tensor as GPT-2 has it: matrices are [in, out] (Conv1D); queries of all heads, then keys, then values.

    GPT-BigCode has matrices [out, in], and where each head has keys of its own, its queries, keys and values together.
    """
    if config.model_type != "gpt_bigcode":
        return tensor
    if tensor.ndim == 2 and ".c_" in name:
        tensor = tensor.T
    if ".c_attn." in name and config.kv_heads == config.heads:
        by_head = tensor.reshape(*tensor.shape[:-1], config.heads, 3, -1)
        tensor = by_head.swapaxes(-3, -2).reshape(tensor.shape)
    return tensor
