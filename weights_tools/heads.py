"""The two kinds of draft head in PyTorch, as they are trained; `refspec` runs them in NumPy.

A head guesses token t[j + 2] from token t[j + 1] and the target's feature f[j], what the target knew when it had read t[..j].
Deeper guesses have no feature of the target's, so a head goes on from a stand-in of its own. `unrolled` computes the guesses
of all depths at all positions of a text at once, with the text's own tokens: a guess of depth s counts only where those before
it were right, and there the draft is the text. Row j of depth s is thus what a chain that began s rows earlier sees.

EAGLE (arXiv 2401.15077): one decoder layer over [embedding; feature] with a cache of its own. From EAGLE-3 (2503.01840): no
loss on features, and training on the head's own stand-ins ("training-time test"). The MLP speculator (arXiv 2404.19124) has no
attention. Notation: b texts, n rows, d width, s depth from 0 on, w tokens of the head's vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from refspec.transformer.config import LlamaConfig
from weights_tools.mlp_head import Mlp
from weights_tools.torch_llama import Layer, TorchLlama, angles_at


class Eagle(nn.Module):
    """fc joins embedding and feature; a decoder layer adds what attention finds. Out comes a stand-in for the next feature."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.fc = nn.Linear(2 * config.width, config.width, bias=False)
        self.layer = Layer(config)

    @torch.no_grad()
    def start_from(self, target: TorchLlama, fc: Tensor) -> None:
        """The layer looks as the target's last one does, and says nothing yet; `fc` alone is a linear guess."""
        self.fc.weight.copy_(fc)
        last, final = target.model.layers[-1], target.model.norm.weight.float()
        self.layer.load_state_dict({name: tensor.float() for name, tensor in last.state_dict().items()})
        for norm in (self.layer.input_layernorm, self.layer.post_attention_layernorm):
            norm.weight.div_(final)  # features come with the final norm's weights in them
        for silent in (self.layer.self_attn.o_proj, self.layer.mlp.down_proj):
            silent.weight.zero_()

    def unrolled(self, embedded: Tensor, features: Tensor, depths: int) -> list[Tensor]:
        """embedded [b, n, d] of tokens 1 to n, features [b, n, d] of tokens 0 to n - 1 -> stand-ins [b, n, d] by depth"""
        b, n, _ = features.shape
        attention, h, e = self.layer.self_attn, self.config.heads, self.config.head_width
        angles = angles_at(torch.arange(n)[None].expand(b, n), self.config)
        before = torch.arange(n)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        stand_ins: list[Tensor] = []
        known = features
        for s in range(depths):
            x = self.fc(torch.cat([embedded, known], dim=-1))
            q, k, v = attention.heads(self.layer.input_layernorm(x), angles)
            keys.append(k.repeat_interleave(h // k.shape[1], dim=1))  # [b, h, n, e]
            values.append(v.repeat_interleave(h // v.shape[1], dim=1))
            if s == 0:
                y = functional.scaled_dot_product_attention(q, keys[0], values[0], is_causal=True, scale=attention.scale)
            else:
                # what the chain sees: true rows up to j - s, then one row of each later depth
                mask = before[None, :] <= (before[:, None] - s).clamp(min=0)  # [n, n]; no chain ends at the first s rows
                scores = (q @ keys[0].mT * attention.scale).float().masked_fill(~mask, float("-inf"))
                own = [(q * later(keys[i], s - i)).sum(-1, keepdim=True).float() * attention.scale for i in range(1, s + 1)]
                weights = torch.cat([scores, *own], dim=-1).softmax(-1).to(v.dtype)
                y = weights[..., :n] @ values[0]
                for i in range(1, s + 1):
                    y = y + weights[..., n + i - 1 : n + i] * later(values[i], s - i)
            x = x + attention.o_proj(y.transpose(1, 2).reshape(b, n, h * e))
            x = x + self.layer.mlp(self.layer.post_attention_layernorm(x))
            stand_ins.append(x)
            known = later(x[:, None], 1)[:, 0]
        return stand_ins


def later(x: Tensor, rows: int) -> Tensor:
    """x [b, h, n, e] -> the same moved `rows` rows on, zeros before it"""
    return functional.pad(x, (0, 0, rows, 0))[:, :, : x.shape[2]] if rows else x


def linear_guess(embedded: list[Tensor], features: list[Tensor], ridge: float = 100.0) -> Tensor:
    """[d, 2d]: the linear map from [embedding; feature] to the next feature, by least squares: where `Eagle` starts."""
    d = features[0].shape[1]
    gram, mixed = torch.zeros(2 * d, 2 * d), torch.zeros(2 * d, d)
    for e, f in zip(embedded, features, strict=True):
        x, y = torch.cat([e[:-1], f[:-1]], 1).float(), f[1:].float()
        gram += x.T @ x
        mixed += x.T @ y
    scale = gram.diagonal().sqrt()  # so that the penalty means the same to embeddings, which are small
    solved = torch.linalg.solve(gram / scale / scale[:, None] + ridge / gram.trace() * torch.eye(2 * d), mixed / scale[:, None])
    return (solved / scale[:, None]).T.contiguous()


def build(kind: str, config: LlamaConfig, depths: int) -> "Eagle | Mlp":
    """A head of this kind, for so many guesses in a row."""
    return Eagle(config) if kind == "eagle" else Mlp(config.width, depths)
