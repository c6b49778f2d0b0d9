"""Distil a draft from its target, on sequences that the draft and the target write (DistillSpec, arXiv 2310.08461).

A draft trained on text alone spends its few parameters on the text's law; what decides its acceptance is the target's.
A round follows the paper's Algorithm 1: sample sequences (a share lambda from the draft itself, the rest from the target),
read the target's law at each position, and lower a divergence between the two there. The total variation distance is the
default, since one minus it *is* the acceptance rate at temperature 1.

Every random choice is a function of (seed, round): a killed run goes on from its last checkpoint as if nothing had happened.
What is left out: the paper's temperatures and its tuning of lambda; distillation across different vocabularies.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refspec.errors import BadArgument
from weights_tools.acceptance import acceptance, continue_by_sampling, random_prompts, target_contexts, text_contexts
from weights_tools.checkpoint import fingerprint
from weights_tools.corpus import Corpus, Ids
from weights_tools.networks import Network
from weights_tools.optimiser import descend, optimisers
from weights_tools.outputs import claim
from weights_tools.run_log import Row
from weights_tools.settings import DistillSettings
from weights_tools.training_loop import Task, repeat


def divergence(target_logits: Tensor, draft_logits: Tensor, kind: str) -> Tensor:
    """How far the draft's law is from the target's at each position: [..., v] twice -> [...]."""
    target, draft = target_logits.log_softmax(-1), draft_logits.log_softmax(-1)
    if kind == "kl":
        return (target.exp() * (target - draft)).sum(-1)
    if kind == "reverse-kl":
        return (draft.exp() * (draft - target)).sum(-1)
    if kind == "tvd":
        return 0.5 * (target.exp() - draft.exp()).abs().sum(-1)
    raise BadArgument(f"loss is {kind!r}; it is kl, reverse-kl or tvd")


def sampled_sequences(target: Network, draft: Network, ids: Ids, settings: DistillSettings, number: int) -> Tensor:
    """The sequences of one round [b, n]: text prompts of one random length, continued by draft and by target."""
    rng = np.random.default_rng([settings.seed, number])
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)
    prompts = random_prompts(ids, settings.sequences, int(rng.integers(1, settings.length // 2)), rng)
    mine = round(settings.draft_share * settings.sequences)
    writers = [(draft, prompts[:mine]), (target, prompts[mine:])]
    parts = [continue_by_sampling(who, start, settings.length, generator) for who, start in writers if len(start)]
    return torch.cat(parts)


def learn_from(sequences: Tensor, target: Network, draft: Network, parts: list[torch.optim.Optimizer],
               settings: DistillSettings, number: int) -> float:  # fmt: skip
    """Some passes over one round's sequences. The target reads them once. Returns the mean loss."""
    with torch.no_grad():  # a list, since to join these, which are the most that is in memory, would take it twice
        laws = [law for piece in torch.split(sequences, settings.batch) for law in target.logits(piece).half()]
    shuffler, losses = torch.Generator().manual_seed(number), []
    for _ in range(settings.passes):
        for rows in torch.split(torch.randperm(len(sequences), generator=shuffler), settings.batch):
            those = torch.stack([laws[row] for row in rows.tolist()]).float()
            loss = divergence(those, draft.logits(sequences[rows]), settings.loss).mean()
            descend(loss, draft.module, parts)
            losses.append(loss.item())
    return sum(losses) / len(losses)


def distill(target: Network, draft: Network, corpus: Corpus, out: Path, run: Path, settings: DistillSettings, *,
            target_name: str = "", checkpoint_seconds: float = 120.0) -> dict[str, float]:  # fmt: skip
    """Distil, or go on distilling, and return acceptance on the two evaluation sets, before and after.

    The best weights so far, by acceptance on what the target writes, are always in `out`; the rest is in `run`. `target_name`: by
    which a run knows its target when it goes on.
    """
    n = settings.length
    if n > (most := min(target.context, draft.context)):
        raise BadArgument(f"length is {n}; target and draft can see at most {most} tokens")
    corpus.must_hold(n)
    claim(out, run)
    written = target_contexts(target, corpus.held_out, count=32, prompt=n // 8, length=n, seed=settings.seed)
    text = text_contexts(corpus.held_out, count=32, length=n)

    def evaluate() -> Row:
        return {"acceptance": acceptance(target, draft, written, skip=n // 8, batch=settings.batch),
                "acceptance_text": acceptance(target, draft, text, batch=settings.batch)}  # fmt: skip

    parts = optimisers(draft.module, lr=settings.lr, weight_decay=settings.weight_decay)

    def learn(number: int) -> float:
        sequences = sampled_sequences(target, draft, corpus.train, settings, number)
        return learn_from(sequences, target, draft, parts, settings, number)

    draft.module.eval()  # no dropout, here or in learning
    before = evaluate()
    of = {"target": target_name, "corpus": fingerprint([corpus.train.tobytes(), corpus.held_out.tobytes()])}
    task = Task("round", settings.rounds, draft.module, parts, learn, evaluate, measure="acceptance", sign=1,
                given=True, save=lambda: draft.save(out), out=out, of=of)  # fmt: skip
    best = repeat(task, settings, run, start=before, checkpoint_seconds=checkpoint_seconds)
    names = ("before", "before_text", "after", "after_text")
    rates = dict(zip(names, (*before.values(), *best.values()), strict=True))
    print(f"{out}: acceptance at temperature 1, on what the target writes: {rates['before']:.4f} -> {rates['after']:.4f}; "
          f"on held-out text: {rates['before_text']:.4f} -> {rates['after_text']:.4f}")  # fmt: skip
    return rates
