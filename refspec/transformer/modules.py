"""The plain forward pass, module by module under Hugging Face's names: each result is yielded, and what is sent back goes on.

Sent back what another implementation has there, each module starts from that one's own input. So an error shows where it is made,
and does not travel. `plain.py` is the text to read; that this computes its very numbers is tested.

A name that ends in `.input` is what that module was given: attention has no module of its own, and shows there. `rotary_emb.0`
and `.1` are cosines and sines.

>>> import numpy as np
>>> from refspec.models import home
>>> from refspec.transformer.modules import modules, run
>>> from refspec.transformer.plain import read
>>> found = run(modules(np.array([10, 20, 30]), *read(home.find("tiny-draft"))))
>>> list(found)[:4], found["lm_head"].shape
(['wte', 'wpe', 'h.0.ln_1', 'h.0.attn.c_attn'], (3, 1024))
"""

from collections.abc import Callable, Generator

import numpy as np

from refspec.arrays import Array
from refspec.transformer.config import Config, GPT2Config, LlamaConfig
from refspec.transformer.llama import rotary_frequencies
from refspec.transformer.plain import (
    Weights,
    attention,
    exact_gelu,
    gelu,
    layer_norm,
    merge_heads,
    rms_norm,
    silu,
    split_heads,
)

Modules = Generator[tuple[str, Array], Array, None]


def modules(tokens: Array, weights: Weights, config: Config) -> Modules:
    """tokens [n]: (name, result) of each module in turn, in the type of the weights. Send back with what to go on."""
    return _gpt2(tokens, weights, config) if isinstance(config, GPT2Config) else _llama(tokens, weights, config)


def run(steps: Modules, see: Callable[[str, Array], Array] = lambda name, result: result) -> dict[str, Array]:
    """{name: result} of all modules; what `see` makes of each goes on to the next."""
    found: dict[str, Array] = {}
    step = next(steps)
    while True:
        name, found[step[0]] = step
        try:
            step = steps.send(see(name, found[name]))
        except StopIteration:
            return found


def _gpt2(tokens: Array, weights: Weights, config: GPT2Config) -> Modules:
    h, g, e = config.heads, config.kv_heads, config.width // config.heads
    activation = exact_gelu if config.exact_gelu else gelu

    def norm(x: Array, name: str) -> tuple[str, Array]:
        return name, layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], config.norm_eps)

    def linear(x: Array, name: str) -> tuple[str, Array]:
        return name, x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = yield "wte", weights["wte.weight"][tokens]
    x = x + (yield "wpe", weights["wpe.weight"][: len(tokens)])
    for i in range(config.layers):
        attn, mlp = f"h.{i}.attn", f"h.{i}.mlp"
        qkv = yield linear((yield norm(x, f"h.{i}.ln_1")), f"{attn}.c_attn")
        queries, keys, values = np.split(split_heads(qkv, h + 2 * g), [h, h + g])
        keys, values = (np.repeat(each, h // g, axis=0) for each in (keys, values))
        attended = yield f"{attn}.c_proj.input", merge_heads(attention(queries, keys, values, e**-0.5))
        x = x + (yield linear(attended, f"{attn}.c_proj"))
        inner = yield linear((yield norm(x, f"h.{i}.ln_2")), f"{mlp}.c_fc")
        inner = yield f"{mlp}.act", activation(inner)
        x = yield f"h.{i}", x + (yield linear(inner, f"{mlp}.c_proj"))
    head = weights["wte.weight" if config.tied else "lm_head.weight"]
    yield "lm_head", (yield norm(x, "ln_f")) @ head.T


def _llama(tokens: Array, weights: Weights, config: LlamaConfig) -> Modules:
    h, g, added = config.heads, config.kv_heads, config.residual_multiplier
    dtype = weights["embed_tokens.weight"].dtype
    angles = np.outer(np.arange(len(tokens)), rotary_frequencies(config)).astype(dtype)

    def norm(x: Array, name: str) -> tuple[str, Array]:
        return name, rms_norm(x, weights[f"{name}.weight"], config.norm_eps)

    def linear(x: Array, name: str) -> tuple[str, Array]:
        return name, x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", dtype.type(0))

    x = (yield "embed_tokens", weights["embed_tokens.weight"][tokens]) * config.embedding_multiplier
    cos = yield "rotary_emb.0", np.tile(np.cos(angles), 2)  # [n, e]: the same for either half
    sin = yield "rotary_emb.1", np.tile(np.sin(angles), 2)

    def rotate(x: Array) -> Array:
        first, second = np.split(x, 2, axis=-1)
        return x * cos + np.concatenate([-second, first], axis=-1) * sin

    for i in range(config.layers):
        attn, mlp = f"layers.{i}.self_attn", f"layers.{i}.mlp"
        y = yield norm(x, f"layers.{i}.input_layernorm")
        queries = split_heads((yield linear(y, f"{attn}.q_proj")), h)
        keys = split_heads((yield linear(y, f"{attn}.k_proj")), g)
        values = split_heads((yield linear(y, f"{attn}.v_proj")), g)
        if config.qk_norm:  # [n, h, e] there
            queries = (yield norm(queries.transpose(1, 0, 2), f"{attn}.q_norm")).transpose(1, 0, 2)
            keys = (yield norm(keys.transpose(1, 0, 2), f"{attn}.k_norm")).transpose(1, 0, 2)
        keys, values = (np.repeat(each, h // g, axis=0) for each in (rotate(keys), values))
        attended = yield f"{attn}.o_proj.input", merge_heads(attention(rotate(queries), keys, values, config.attention_scale))
        x = x + (yield linear(attended, f"{attn}.o_proj")) * added
        y = yield norm(x, f"layers.{i}.post_attention_layernorm")
        gate = yield linear(y, f"{mlp}.gate_proj")
        gate = yield f"{mlp}.act_fn", silu(gate)
        inner = yield f"{mlp}.down_proj.input", gate * (yield linear(y, f"{mlp}.up_proj"))
        x = yield f"layers.{i}", x + (yield linear(inner, f"{mlp}.down_proj")) * added
    head = weights["embed_tokens.weight" if config.tied else "lm_head.weight"]
    yield "lm_head", (yield norm(x, "norm")) @ head.T
