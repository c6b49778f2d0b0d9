"""GPT-2 in PyTorch, parameters named and laid out as in Hugging Face's GPT2LMHeadModel (Radford et al., 2019).

`refspec` runs this architecture in NumPy; this is the copy that has a backward pass. Because the names agree, a
`state_dict` is a checkpoint file, with nothing to rename or to transpose. Notation: b sequences, n new tokens, m cached
and new, d width, h heads, e head width, v vocabulary. What is left out: dropout inside attention (it would switch off
PyTorch's fused kernel) and everything that GPT-2's own configuration does not use.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """What `config.json` says about a GPT-2."""

    vocab: int
    context: int
    layers: int
    width: int
    heads: int


@dataclass
class KeyValues:
    """Keys and values of the tokens seen so far, one pair [b, h, m, e] a layer: what makes sampling linear."""

    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def length(self) -> int:
        return self.layers[0][0].shape[2] if self.layers else 0


class Dropout:
    """Dropout for one forward pass: one pool of random zeros, read from another offset at each place.

    On a CPU, drawing fresh numbers at all 2 * layers + 1 places took a seventh of the training time.
    """

    SPARE = 1 << 16

    def __init__(self, rate: float, like: Tensor) -> None:
        self._pool = torch.empty(like.numel() + self.SPARE).bernoulli_(1 - rate).div_(1 - rate) if rate else None

    def __call__(self, x: Tensor) -> Tensor:
        if self._pool is None:
            return x
        offset = int(torch.randint(self.SPARE, ()))
        return x * self._pool[offset : offset + x.numel()].view_as(x)


class Conv1D(nn.Module):
    """A linear layer stored [in, out], GPT-2's convention."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.c_attn = Conv1D(shape.width, 3 * shape.width)
        self.c_proj = Conv1D(shape.width, shape.width)

    def forward(self, x: Tensor, cache: KeyValues | None, layer: int) -> Tensor:
        """x [b, n, d] -> [b, n, d], each token looking at itself and what precedes it."""
        b, n, d = x.shape
        query, key, value = self.c_attn(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mask = None
        if cache is not None:
            if layer < len(cache.layers):
                old_key, old_value = cache.layers[layer]
                key, value = torch.cat([old_key, key], dim=2), torch.cat([old_value, value], dim=2)
                cache.layers[layer] = (key, value)
                mask = torch.ones(n, key.shape[2], dtype=torch.bool).tril(key.shape[2] - n)
            else:
                cache.layers.append((key, value))
        y = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        return self.c_proj(y.transpose(1, 2).reshape(b, n, d))


class MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = Conv1D(width, 4 * width)
        self.c_proj = Conv1D(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.width)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.width)
        self.mlp = MLP(shape.width)


class Decoder(nn.Module):
    """What the Hugging Face names call `transformer`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.wte = nn.Embedding(shape.vocab, shape.width)
        self.wpe = nn.Embedding(shape.context, shape.width)
        self.h = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.ln_f = nn.LayerNorm(shape.width)


class TorchGPT2(nn.Module):
    """Tokens [b, n] -> logits [b, n, v]. The output layer is the token embedding, transposed."""

    def __init__(self, shape: Shape, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        self.transformer = Decoder(shape)
        for name, parameter in self.named_parameters():
            if name.endswith(("wte.weight", "wpe.weight")) or (".c_" in name and parameter.dim() == 2):
                # GPT-2's initialisation: what adds to the residual stream starts smaller, by the number of additions
                scale = math.sqrt(2 * shape.layers) if name.endswith("c_proj.weight") else 1.0
                nn.init.normal_(parameter, std=0.02 / scale)

    def forward(self, tokens: Tensor, cache: KeyValues | None = None) -> Tensor:
        """Logits at every one of `tokens`; with a cache, they continue what it holds, and it grows."""
        start = cache.length if cache is not None else 0
        decoder = self.transformer
        x = decoder.wte(tokens) + decoder.wpe.weight[start : start + tokens.shape[1]]
        drop = Dropout(self.dropout if self.training else 0.0, x)
        x = drop(x)
        for layer, block in enumerate(decoder.h):
            x = x + drop(block.attn(block.ln_1(x), cache, layer))  # type: ignore[operator]
            x = x + drop(block.mlp(block.ln_2(x)))  # type: ignore[operator]
        return decoder.ln_f(x) @ decoder.wte.weight.T

    def new_cache(self) -> KeyValues:
        return KeyValues()
