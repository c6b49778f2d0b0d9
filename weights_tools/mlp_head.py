"""The MLP speculator as it is trained: between the target's own embedding and head, which it does not learn anew.

`refspec/transformer/mlp_speculator.py` has the recurrence and IBM's layout, in which a speculator has an embedding and a head of
its own, of 49,152 rows each for SmolLM2. Here both are the target's, behind a small matrix each: `lookup` reads a row of the
target's embedding, and `out` makes of a state what the target's head reads, a stand-in for the next feature. Written so they
take a few megabytes (`write_factored`); multiplied out they are IBM's layout (`write_mlp`). All steps share one network
(tie_weights), but for the first projection.

It starts as the best linear guess (`start_from`): gelu(x) - gelu(-x) = x, so a state that holds both halves loses nothing.
"""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from refspec.errors import BadArgument
from refspec.transformer.mlp_speculator import EPS
from weights_tools.checkpoint import replace_atomically

STORED = {  # by our names those of IBM's layout, and of the two matrices that stand in for its ends
    "lookup.weight": "speculator.lookup.weight",
    "out.weight": "speculator.out.weight",
    "first.weight": "speculator.proj.0.weight",
    "later.weight": "speculator.proj.1.weight",
    "norm.weight": "speculator.ln.0.weight",
    "shift": "speculator.ln.0.bias",
}


class Mlp(nn.Module):
    """width: of the target. n_predict: how many guesses in a row it is for. A state is twice as wide as a feature."""

    def __init__(self, width: int, n_predict: int = 4) -> None:
        super().__init__()
        self.n_predict, inner = n_predict, 2 * width
        self.state_weight = 0.5 ** (0.5 / n_predict)
        self.lookup_weight = math.sqrt((1 - self.state_weight**2) * inner / 2)
        self.lookup = nn.Linear(width, inner, bias=False)
        self.first = nn.Linear(width, inner, bias=False)
        self.later = nn.Linear(inner, inner, bias=False)
        self.norm = nn.RMSNorm(inner, eps=EPS)
        self.shift = nn.Parameter(torch.zeros(inner))
        self.out = nn.Linear(inner, width, bias=False)

    @torch.no_grad()
    def start_from(self, target: Any, fc: Tensor) -> None:
        """fc [d, 2d]: the linear guess at the next feature from [embedding; feature]. The target's last norm tells their size."""
        from_token, from_feature = fc.float().chunk(2, dim=1)
        halves = torch.eye(fc.shape[0])
        self.lookup.weight.copy_(torch.cat([from_token, -from_token]) / self.lookup_weight)
        self.first.weight.copy_(torch.cat([from_feature, -from_feature]) / self.state_weight)
        self.out.weight.copy_(torch.cat([halves, -halves], dim=1))
        self.later.weight.copy_(self.first.weight @ self.out.weight)
        self.norm.weight.fill_(target.model.norm.weight.float().square().mean().sqrt())
        self.shift.zero_()

    def unrolled(self, embedded: Tensor, features: Tensor, depths: int) -> list[Tensor]:
        """embedded [b, n, d] of tokens 1 to n, features [b, n, d] of tokens 0 to n - 1 -> stand-ins [b, n, d] of each depth

        Row j of depth s is what a chain sees that began s rows earlier. Raises BadArgument beyond n_predict.
        """
        if depths > self.n_predict:
            raise BadArgument(f"depths is {depths}, and this speculator guesses {self.n_predict} tokens in a row")
        looked_up = self.lookup(embedded) * self.lookup_weight
        state, stand_ins = features, []
        for depth in range(depths):
            projected = self.later(state) if depth else self.first(state)
            mixed = projected * self.state_weight + looked_up
            state = functional.gelu(self.norm(mixed.float()) + self.shift)  # float: sums of squares, whatever autocast takes
            stand_ins.append(self.out(state))
            state = functional.pad(state, (0, 0, 1, 0))[:, :-1]
        return stand_ins


@torch.no_grad()
def write_mlp(
    out: Path, module: Mlp, ids: Tensor, target: str, embedding: Tensor, head: Tensor, dtype: torch.dtype = torch.float16
) -> None:
    """IBM's layout. target: its name. embedding and head [v, d]: the target's. ids [w], ascending: the tokens that it can say."""
    tensors = stored(module)
    del tensors[STORED["lookup.weight"]], tensors[STORED["out.weight"]]
    tensors["speculator.emb.0.weight"] = embedding.float() @ module.lookup.weight.T
    tensors["speculator.head.0.weight"] = head[ids].float() @ module.out.weight
    write(out, module, ids, len(embedding), tensors, dtype, {"target": target})


@torch.no_grad()
def write_factored(out: Path, module: Mlp, ids: Tensor, target: str, vocab_size: int, dtype: torch.dtype = torch.float16) -> None:
    """Without what is the target's own, as refspec alone reads it."""
    write(out, module, ids, vocab_size, stored(module), dtype, {"target": target, "factored": True})


def stored(module: Mlp) -> dict[str, Tensor]:
    """What a file holds of it, by its names there: without the matrix of later guesses where there are none."""
    needed = STORED if module.n_predict > 1 else STORED.keys() - {"later.weight"}
    return {STORED[name]: tensor for name, tensor in module.state_dict().items() if name in needed}


def write(
    out: Path, module: Mlp, ids: Tensor, vocab_size: int, tensors: dict[str, Tensor], dtype: torch.dtype, more: dict[str, Any]
) -> None:
    saved = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    inner, width = module.first.weight.shape
    about = {
        "model_type": "mlp_speculator", "architectures": ["MLPSpeculatorPreTrainedModel"], "vocab_size": vocab_size,
        "emb_dim": width, "inner_dim": inner, "n_predict": module.n_predict, "tie_weights": True, "scale_input": False,
        "top_k_tokens_per_head": [1] * module.n_predict, "n_candidates": 1,
    } | more  # fmt: skip
    if len(ids) < vocab_size:
        about["draft_vocab_size"] = len(ids)
        saved["speculator.ids"] = ids.to(torch.int32)
    replace_atomically(out / "model.safetensors", partial(save_file, saved))
    replace_atomically(out / "config.json", lambda path: path.write_text(json.dumps(about, indent=2) + "\n"))
