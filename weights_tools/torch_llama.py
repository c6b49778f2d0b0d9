"""Llama in PyTorch for many texts at once, each at its own place: what writes a head's training text, and what a head is made of.

`refspec` runs this architecture in NumPy, one text at a time. Here b texts take one step each, with caches of one size, and a
layer has a backward pass. Names and layout are those of Hugging Face's LlamaForCausalLM. Notation: b texts, n new tokens, m
cached and new, d width, h heads, g key/value heads, e head width, v vocabulary. What is left out: biases, norms of queries and
keys, multipliers, scaled rotary positions (a config that has one is refused).
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from refspec.errors import BadArgument
from refspec.transformer.config import LlamaConfig, read_config


def plain_llama_config(folder: Path) -> LlamaConfig:
    """The config of a folder whose model is a Llama without extras. Raises BadArgument for any other."""
    config = read_config(folder)
    if not isinstance(config, LlamaConfig):
        raise BadArgument(f"{folder} is no model of the Llama family; heads are trained for those")
    extras = {
        "biases": config.qkv_bias or config.output_bias or config.mlp_bias,
        "query and key norms": config.qk_norm,
        "multipliers": (config.embedding_multiplier, config.residual_multiplier, config.logits_divisor) != (1, 1, 1),
        "scaled rotary positions": config.rope_scaling is not None,
    }
    if any(extras.values()):
        raise BadArgument(
            f"{folder} has {', '.join(name for name, has in extras.items() if has)}; a target to train for has none"
        )
    return config


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        d, self.h, self.g, self.e = config.width, config.heads, config.kv_heads, config.head_width
        self.scale = config.attention_scale
        self.q_proj = nn.Linear(d, self.h * self.e, bias=False)
        self.k_proj = nn.Linear(d, self.g * self.e, bias=False)
        self.v_proj = nn.Linear(d, self.g * self.e, bias=False)
        self.o_proj = nn.Linear(self.h * self.e, d, bias=False)

    def heads(self, x: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [b, n, d], angles [b, n, e / 2] -> queries [b, h, n, e], keys and values [b, g, n, e]"""
        b, n, _ = x.shape
        queries = self.q_proj(x).view(b, n, self.h, self.e).transpose(1, 2)
        keys = self.k_proj(x).view(b, n, self.g, self.e).transpose(1, 2)
        values = self.v_proj(x).view(b, n, self.g, self.e).transpose(1, 2)
        return rotate(queries, angles), rotate(keys, angles), values

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """queries [b, h, n, e], keys and values [b, g, m, e], mask broadcast to [b, h, n, m] -> [b, n, d]"""
        b, _, n, _ = queries.shape
        if n == 1:  # the heads that share keys as if they were so many tokens: five times as fast as PyTorch's own way
            queries = queries.view(b, self.g, -1, self.e)
        y = functional.scaled_dot_product_attention(queries, keys, values, mask, scale=self.scale, enable_gqa=n > 1)
        return self.o_proj(y.view(b, self.h, n, self.e).transpose(1, 2).reshape(b, n, -1))


class MLP(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.inner, bias=False)
        self.up_proj = nn.Linear(config.width, config.inner, bias=False)
        self.down_proj = nn.Linear(config.inner, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.mlp = MLP(config)


class Decoder(nn.Module):
    """What the Hugging Face names call `model`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)


class Caches:
    """Keys and values of b texts, each [layers, b, g, context, e]; what lies at and beyond a text's length is never looked at."""

    def __init__(self, config: LlamaConfig, texts: int, context: int, dtype: torch.dtype) -> None:
        shape = (config.layers, texts, config.kv_heads, context, config.head_width)
        self.keys, self.values = torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)
        self.lengths = torch.zeros(texts, dtype=torch.long)


class TorchLlama(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)

    @torch.no_grad()
    def step(self, tokens: Tensor, caches: Caches) -> Tensor:
        """tokens [b], the next of each text -> features [b, d], after the final norm; the caches grow by one."""
        b, places = len(tokens), caches.lengths
        m = int(places.max()) + 1
        rows = torch.arange(b)
        angles = angles_at(places[:, None], self.config)
        mask = (torch.arange(m) <= places[:, None])[:, None, None]  # [b, 1, 1, m]
        x = self.model.embed_tokens(tokens)[:, None]  # [b, 1, d]
        layers: Any = self.model.layers
        for i, layer in enumerate(layers):
            attention = layer.self_attn
            queries, keys, values = attention.heads(layer.input_layernorm(x), angles)
            caches.keys[i, rows, :, places] = keys[:, :, 0]
            caches.values[i, rows, :, places] = values[:, :, 0]
            x = x + attention.attend(queries, caches.keys[i, :, :, :m], caches.values[i, :, :, :m], mask)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        caches.lengths = places + 1
        return self.model.norm(x)[:, 0]


def angles_at(places: Tensor, config: LlamaConfig) -> Tensor:
    """places [b, n] -> [b, n, e / 2], radians"""
    frequencies = config.rope_theta ** -(torch.arange(0, config.head_width, 2, dtype=torch.float64) / config.head_width)
    return (places[..., None] * frequencies).float()


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """x [b, h, n, e], angles [b, n, e / 2] -> [b, h, n, e]: number j of the first half rotates with number j of the second"""
    cos, sin = angles.cos()[:, None].to(x.dtype), angles.sin()[:, None].to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def load_torch_llama(folder: Path, dtype: torch.dtype = torch.bfloat16) -> TorchLlama:
    """The target of a folder, frozen."""
    config = plain_llama_config(folder)
    with torch.device("meta"):
        network = TorchLlama(config)
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
    if config.tied:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    network.load_state_dict(tensors, assign=True, strict=False)
    missing = [name for name, tensor in network.named_parameters() if tensor.is_meta]
    if missing:
        raise BadArgument(f"{folder} lacks the tensor {missing[0]}; fetch the model again")
    return network.requires_grad_(False).eval()
