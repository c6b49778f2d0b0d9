"""Muon for the weight matrices, AdamW for the rest.

Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon) takes the momentum of a matrix and replaces its singular
values by one, so rare directions learn as fast as common ones: at a fixed number of tokens, which is all one CPU core
gives, the loss falls markedly faster than under AdamW. We scale the update as arXiv 2502.16982 does, so both halves share one
learning rate. `torch.optim.Muon` is not used because it always computes in bfloat16, which CPUs without the instructions
for it emulate at a twentieth of the speed.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def newton_schulz(matrices: Tensor, *, iterations: int = 5) -> Tensor:
    """[k, r, c] -> the same with every singular value near one, by a quintic iteration that needs only products."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay.

    `side_by_side[i]` is how many matrices the i-th parameter really is, stored beside each other: GPT-2 keeps its
    query, key and value projections so, and each is orthogonalised alone.
    """

    def __init__(self, parameters: Sequence[Tensor], side_by_side: Sequence[int], *, lr: float, weight_decay: float,
                 momentum: float = 0.95, dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype
        self._pieces = dict(zip(parameters, side_by_side, strict=True))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            same_shape = defaultdict(list)  # equal shapes are orthogonalised in one batched product
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                pieces = self._pieces[parameter]
                for target, piece in zip(parameter.chunk(pieces, 1), update.chunk(pieces, 1), strict=True):
                    same_shape[piece.shape].append((target, piece))
            for shape, pairs in same_shape.items():
                updates = newton_schulz(torch.stack([piece for _, piece in pairs]).to(self._dtype))
                for (target, _), update in zip(pairs, updates, strict=True):
                    target.sub_(update, alpha=group["lr"] * 0.2 * max(shape) ** 0.5)


def optimisers(
    model: nn.Module, *, lr: float, weight_decay: float, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks; AdamW for embeddings, and, without decay, for biases and norms.

    dtype: what Muon orthogonalises in.
    """
    matrices, side_by_side, embeddings, vectors = [], [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.dim() < 2:
            vectors.append(parameter)
        elif any(part in name for part in ("wte", "wpe", "embed", "lm_head")):
            embeddings.append(parameter)
        else:
            matrices.append(parameter)
            side_by_side.append(3 if name.endswith("c_attn.weight") else 1)
    rest = [{"params": embeddings, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    rest = [group for group in rest if group["params"]]
    adam = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.95), fused=True)
    return [Muon(matrices, side_by_side, lr=lr, weight_decay=weight_decay, dtype=dtype), adam]


def descend(loss: Tensor, module: nn.Module, parts: list[torch.optim.Optimizer]) -> None:
    """One step down the gradient, which is clipped to norm 1."""
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    for part in parts:
        part.step()
        part.zero_grad()


def learning_rate(step: int, *, peak: float, warmup: int, steps: int, decay: float) -> float:
    """Warm up, hold, then fall linearly to zero over the last `decay` share of the steps (arXiv 2405.18392)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * min(1.0, (steps - step) / (decay * steps))
