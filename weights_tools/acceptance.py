"""How well a draft matches its target: sampling from a network, and the acceptance rate sum min(p, q).

At temperature 1, a token drafted from q is accepted with probability sum min(p, q) = 1 - TV(p, q) (arXiv 2211.17192,
corollary 3.6). Averaged over contexts that the target itself wrote, that is the rate speculation will see.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from weights_tools.corpus import Ids
from weights_tools.networks import Network


@torch.no_grad()
def continue_by_sampling(network: Network, prompts: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """prompts [b, n] -> [b, length], every new token drawn from the network's law at temperature 1."""
    cache, tokens, fresh = network.new_cache(), prompts, prompts
    while tokens.shape[1] < length:
        law = network.last_logits(fresh, cache).softmax(-1)
        fresh = torch.multinomial(law, 1, generator=generator)
        tokens = torch.cat([tokens, fresh], dim=1)
    return tokens


def random_prompts(ids: Ids, count: int, length: int, rng: np.random.Generator) -> Tensor:
    """[count, length]: pieces of the text, cut anywhere."""
    starts = rng.integers(len(ids) - length, size=count)
    return torch.from_numpy(np.stack([ids[start : start + length] for start in starts]))


@torch.no_grad()
def acceptance(target: Network, draft: Network, sequences: Tensor, *, skip: int = 0, batch: int = 8) -> float:
    """The mean of sum min(p, q) over all positions of `sequences` [b, n] from `skip` on."""
    rows = [overlap(p, q)[:, skip:] for p, q in _both(target, draft, sequences, batch)]
    return torch.cat(rows).double().mean().item()


def _both(target: Network, draft: Network, sequences: Tensor, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    for part in torch.split(sequences, batch):
        yield target.logits(part).softmax(-1), draft.logits(part).softmax(-1)


def overlap(target_probs: Tensor, draft_probs: Tensor) -> Tensor:
    """[..., v] twice -> [...]: the chance that a token of the draft is accepted."""
    return torch.minimum(target_probs, draft_probs).sum(-1)


def target_contexts(target: Network, held_out: Ids, *, count: int, prompt: int, length: int, seed: int) -> Tensor:
    """[count, length]: what the target writes after held-out prompts. One fixed set a seed, to compare drafts on."""
    prompts = random_prompts(held_out, count, prompt, np.random.default_rng([seed, 1]))
    return continue_by_sampling(target, prompts, length, torch.Generator().manual_seed(seed))


def text_contexts(held_out: Ids, *, count: int, length: int) -> Tensor:
    """[count, length]: evenly spaced windows of the held-out text itself."""
    starts = np.linspace(0, len(held_out) - length, count).astype(int)
    return torch.from_numpy(np.stack([held_out[start : start + length] for start in starts]))
