"""GPT-2 and Llama as the textbook has them: every token computed again for each new one, no cache, no tricks.

Read this file first. `gpt2.py` and `llama.py` compute the same numbers faster, and say at their top how.

Axes: n tokens, d model width, h heads, g key/value heads, e head width (d = h * e in most models), v vocabulary.

`see` is nobody as a rule. An observer is shown what each module gives, by Hugging Face's name, and what it returns goes on in its
place: `refspec compare` puts another implementation's numbers there (models/activations.py).
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from refspec.arrays import Array
from refspec.transformer.config import Config, GPT2Config, LlamaConfig, read_config
from refspec.transformer.gpt2 import as_gpt2
from refspec.transformer.llama import rotary_frequencies
from refspec.transformer.weights import READ_AS, Checkpoint

Weights = Mapping[str, Array]  # by the names in the file, without the "transformer." or "model." in front
See = Callable[[str, Array], Array]  # `name.input` is what a module is given, where no other gives it


def _nobody(name: str, result: Array) -> Array:
    return result


def read(folder: Path) -> tuple[Weights, Config]:
    """The tensors of a model folder, in float64, and what its config.json says. Errors are those of `refspec.load`.

    >>> from refspec.transformer.plain import read
    >>> from refspec.models import home
    >>> weights, config = read(home.find("tiny-draft"))
    >>> weights["wte.weight"].shape, config.layers
    ((1024, 128), 1)
    """
    config, file = read_config(folder), Checkpoint(folder, np.float64)
    tensors = {name: file.read(name, *header.shape) for name, header in file.headers.items() if header.dtype in READ_AS}
    if isinstance(config, GPT2Config):
        tensors = {name: as_gpt2(name, tensor, config) for name, tensor in tensors.items()}
    return {name.removeprefix("transformer.").removeprefix("model."): tensor for name, tensor in tensors.items()}, config


def logits(tokens: Array, weights: Weights, config: Config, see: See = _nobody) -> Array:
    """tokens [n] -> [n, v]: after each token, a score for every token that could come next; `softmax` makes them probabilities.

    >>> import numpy as np
    >>> from refspec.transformer.plain import logits
    >>> from refspec.models import home
    >>> from refspec.transformer.plain import read
    >>> weights, config = read(home.find("tiny-draft"))
    >>> logits(np.array([10, 20, 30]), weights, config).shape
    (3, 1024)
    """
    return gpt2(tokens, weights, config, see) if isinstance(config, GPT2Config) else llama(tokens, weights, config, see)


def softmax(x: Array) -> Array:
    """x [..., v] -> [..., v], positive and summing to one. Without its maximum taken off, a large x would overflow.

    >>> import numpy as np
    >>> from refspec.transformer.plain import softmax
    >>> softmax(np.log([1.0, 3.0])).round(3).tolist()
    [0.25, 0.75]
    """
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def attention(queries: Array, keys: Array, values: Array, scale: float) -> Array:
    """queries, keys and values [h, n, e] -> [h, n, e]: each token takes from itself and those before, most where query meets key

    >>> import numpy as np
    >>> from refspec.transformer.plain import attention
    >>> ones, values = np.ones((1, 2, 1)), np.array([[[1.0], [3.0]]])
    >>> attention(ones, ones, values, scale=1.0).tolist()
    [[[1.0], [2.0]]]
    """
    n = queries.shape[1]
    scores = queries @ keys.transpose(0, 2, 1) * scale  # [h, n, n]
    scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)  # row i: tokens 0 to i
    return softmax(scores) @ values


def split_heads(x: Array, h: int) -> Array:
    """x [n, h * e] -> [h, n, e]

    >>> import numpy as np
    >>> from refspec.transformer.plain import split_heads
    >>> split_heads(np.arange(4).reshape(1, 4), 2).tolist()
    [[[0, 1]], [[2, 3]]]
    """
    return x.reshape(len(x), h, -1).transpose(1, 0, 2)


def merge_heads(x: Array) -> Array:
    """x [h, n, e] -> [n, h * e]

    >>> import numpy as np
    >>> from refspec.transformer.plain import merge_heads
    >>> merge_heads(np.array([[[0, 1]], [[2, 3]]])).tolist()
    [[0, 1, 2, 3]]
    """
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


# --- GPT-2 (Radford et al. 2019), and GPT-BigCode (arXiv 2301.03988) ---


def gpt2(tokens: Array, weights: Weights, config: GPT2Config, see: See = _nobody) -> Array:
    """tokens [n] -> logits [n, v]

    >>> import numpy as np
    >>> from refspec.transformer.plain import gpt2
    >>> from refspec.models import home
    >>> from refspec.transformer.plain import read
    >>> weights, config = read(home.find("tiny-draft"))
    >>> gpt2(np.array([10, 20, 30]), weights, config).shape
    (3, 1024)
    """
    h, g, e = config.heads, config.kv_heads, config.width // config.heads  # g: h in GPT-2, 1 in most of GPT-BigCode
    activation = exact_gelu if config.exact_gelu else gelu

    def norm(x: Array, name: str) -> Array:  # [n, d] -> [n, d]
        return see(name, layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], config.norm_eps))

    def linear(x: Array, name: str) -> Array:  # [n, in] -> [n, out]; GPT-2 stores its matrices [in, out]
        return see(name, x @ weights[f"{name}.weight"] + weights[f"{name}.bias"])

    x = see("wte", weights["wte.weight"][tokens]) + see("wpe", weights["wpe.weight"][: len(tokens)])  # [n, d]
    for i in range(config.layers):
        attn, mlp = f"h.{i}.attn", f"h.{i}.mlp"
        qkv = linear(norm(x, f"h.{i}.ln_1"), f"{attn}.c_attn")  # [n, (h + 2g) e]
        queries, keys, values = np.split(split_heads(qkv, h + 2 * g), [h, h + g])  # [h, n, e], [g, n, e], [g, n, e]
        keys, values = (np.repeat(each, h // g, axis=0) for each in (keys, values))  # [h, n, e]
        attended = see(f"{attn}.c_proj.input", merge_heads(attention(queries, keys, values, e**-0.5)))  # [n, d]
        x = x + linear(attended, f"{attn}.c_proj")  # [n, d]
        inner = see(f"{mlp}.act", activation(linear(norm(x, f"h.{i}.ln_2"), f"{mlp}.c_fc")))  # [n, inner]
        x = see(f"h.{i}", x + linear(inner, f"{mlp}.c_proj"))  # [n, d]
    head = weights["wte.weight" if config.tied else "lm_head.weight"]  # [v, d]
    return see("lm_head", norm(x, "ln_f") @ head.T)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """x [n, d] -> [n, d]

    >>> import numpy as np
    >>> from refspec.transformer.plain import layer_norm
    >>> layer_norm(np.array([[1.0, 3.0]]), weight=np.ones(2), bias=np.zeros(2), eps=0.0).tolist()
    [[-1.0, 1.0]]
    """
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps) * weight + bias


def gelu(x: Array) -> Array:
    """x [n, inner] -> [n, inner] (arXiv 1606.08415, section 2, the tanh form)

    >>> import numpy as np
    >>> from refspec.transformer.plain import gelu
    >>> gelu(np.array([[-1.0, 0.0, 1.0]])).round(3).tolist()
    [[-0.159, 0.0, 0.841]]
    """
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def exact_gelu(x: Array) -> Array:
    """x [n, inner] -> [n, inner] (arXiv 1606.08415, section 2): x times the normal distribution function

    >>> import numpy as np
    >>> from refspec.transformer.plain import exact_gelu
    >>> exact_gelu(np.array([[-1.0, 0.0, 1.0]])).round(3).tolist()
    [[-0.159, 0.0, 0.841]]
    """
    return x * np.vectorize(lambda each: (1 + math.erf(each / math.sqrt(2))) / 2, otypes=[float])(x)


# --- Llama, and its relatives SmolLM2, Qwen and Granite (arXiv 2307.09288) ---


def llama(tokens: Array, weights: Weights, config: LlamaConfig, see: See = _nobody) -> Array:
    """tokens [n] -> logits [n, v]"""
    h, g, eps, added = config.heads, config.kv_heads, config.norm_eps, config.residual_multiplier  # added: 1 but in Granite
    angles = np.outer(np.arange(len(tokens)), rotary_frequencies(config)).astype(weights["norm.weight"].dtype)  # [n, e / 2]

    def linear(x: Array, name: str) -> Array:  # [n, in] -> [n, out]; only Qwen2 has biases
        return see(name, x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0))

    def norm(x: Array, name: str) -> Array:  # [..., d] -> [..., d]
        return see(name, rms_norm(x, weights[f"{name}.weight"], eps))

    x = see("embed_tokens", weights["embed_tokens.weight"][tokens]) * config.embedding_multiplier  # [n, d]
    cos, sin = see("rotary_emb.0", np.tile(np.cos(angles), 2)), see("rotary_emb.1", np.tile(np.sin(angles), 2))  # [n, e]
    for i in range(config.layers):
        attn, mlp = f"layers.{i}.self_attn", f"layers.{i}.mlp"
        y = norm(x, f"layers.{i}.input_layernorm")  # [n, d]
        queries = split_heads(linear(y, f"{attn}.q_proj"), h)  # [h, n, e]
        keys = split_heads(linear(y, f"{attn}.k_proj"), g)  # [g, n, e]
        values = split_heads(linear(y, f"{attn}.v_proj"), g)  # [g, n, e]
        if config.qk_norm:  # Qwen3; the norms see [n, h, e]
            queries = norm(queries.transpose(1, 0, 2), f"{attn}.q_norm").transpose(1, 0, 2)
            keys = norm(keys.transpose(1, 0, 2), f"{attn}.k_norm").transpose(1, 0, 2)
        queries, keys = rotate(queries, cos, sin), rotate(keys, cos, sin)
        keys, values = (np.repeat(each, h // g, axis=0) for each in (keys, values))  # [h, n, e]: h / g heads share one
        attended = see(f"{attn}.o_proj.input", merge_heads(attention(queries, keys, values, config.attention_scale)))  # [n, h e]
        x = x + linear(attended, f"{attn}.o_proj") * added  # [n, d]
        y = norm(x, f"layers.{i}.post_attention_layernorm")  # [n, d]
        gate = see(f"{mlp}.act_fn", silu(linear(y, f"{mlp}.gate_proj")))  # [n, inner]
        inner = see(f"{mlp}.down_proj.input", gate * linear(y, f"{mlp}.up_proj"))  # [n, inner]
        x = see(f"layers.{i}", x + linear(inner, f"{mlp}.down_proj") * added)  # [n, d]
    head = weights["embed_tokens.weight" if config.tied else "lm_head.weight"]  # [v, d]
    return see("lm_head", norm(x, "norm") @ head.T) / config.logits_divisor


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """x [..., d] -> [..., d] (arXiv 1910.07467)

    >>> import numpy as np
    >>> from refspec.transformer.plain import rms_norm
    >>> rms_norm(np.array([[3.0, 4.0]]), weight=np.ones(2), eps=0.0).round(3).tolist()
    [[0.849, 1.131]]
    """
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def silu(x: Array) -> Array:
    """x [n, inner] -> [n, inner]: x times the logistic function of x

    >>> import numpy as np
    >>> from refspec.transformer.plain import silu
    >>> silu(np.array([[-1.0, 0.0, 1.0]])).round(3).tolist()
    [[-0.269, 0.0, 0.731]]
    """
    return x / (1 + np.exp(-x))


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """x [h, n, e], cos and sin [n, e] -> [h, n, e]: number j of the first half rotates with number j of the second

    Rotary positions (arXiv 2104.09864): the product of a query and a key then depends on how far apart they stand.

    >>> import numpy as np
    >>> from refspec.transformer.plain import rotate
    >>> rotate(np.array([[[1.0, 2.0]]]), cos=np.zeros((1, 2)), sin=np.ones((1, 2))).tolist()
    [[[-2.0, 1.0]]]
    """
    first, second = np.split(x, 2, axis=-1)
    return x * cos + np.concatenate([-second, first], axis=-1) * sin
