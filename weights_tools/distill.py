"""Distil a draft from its target, on sequences that the draft and the target write (DistillSpec, arXiv 2310.08461).

A draft trained on text alone spends its few parameters on the text's law; what decides its acceptance is the target's.
A round follows the paper's Algorithm 1: sample sequences (a share lambda from the draft itself, the rest from the target),
read the target's law at each position, and lower a divergence between the two there. The total variation distance is the
default, since one minus it *is* the acceptance rate at temperature 1.

Every random choice is a function of (seed, round): a killed run goes on from its last checkpoint as if nothing had happened.
What is left out: the paper's temperatures and its tuning of lambda; distillation across different vocabularies.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from weights_tools import checkpoint, run_log
from weights_tools.acceptance import acceptance, continue_by_sampling, random_prompts, target_contexts, text_contexts
from weights_tools.corpus import Ids, encode
from weights_tools.model_folder import load_tokenizer
from weights_tools.networks import Network, draft_from_layers, load_network
from weights_tools.optimiser import learning_rate, optimisers


@dataclass(frozen=True)
class Settings:
    """One run. A checkpoint remembers them: only `rounds` and `patience` may differ on resuming."""

    rounds: int
    sequences: int = 64
    length: int = 256
    draft_share: float = 0.5
    passes: int = 3
    batch: int = 8
    loss: str = "tvd"
    lr: float = 2e-3
    warmup: int = 5
    decay: float = 0.8
    weight_decay: float = 0.0
    evaluate_every: int = 5
    patience: int = 20
    seed: int = 0


def divergence(target_logits: Tensor, draft_logits: Tensor, kind: str) -> Tensor:
    """How far the draft's law is from the target's at each position: [..., v] twice -> [...]."""
    target, draft = target_logits.log_softmax(-1), draft_logits.log_softmax(-1)
    if kind == "kl":
        return (target.exp() * (target - draft)).sum(-1)
    if kind == "reverse-kl":
        return (draft.exp() * (draft - target)).sum(-1)
    if kind == "tvd":
        return 0.5 * (target.exp() - draft.exp()).abs().sum(-1)
    raise ValueError(f"no loss {kind!r}: give kl, reverse-kl or tvd")


def sampled_sequences(target: Network, draft: Network, ids: Ids, settings: Settings, number: int) -> Tensor:
    """The sequences of one round [b, n]: text prompts of one random length, continued by draft and by target."""
    rng = np.random.default_rng([settings.seed, number])
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)
    prompts = random_prompts(ids, settings.sequences, int(rng.integers(1, settings.length // 2)), rng)
    mine = round(settings.draft_share * settings.sequences)
    writers = [(draft, prompts[:mine]), (target, prompts[mine:])]
    parts = [continue_by_sampling(who, start, settings.length, generator) for who, start in writers if len(start)]
    return torch.cat(parts)


def learn_from(sequences: Tensor, target: Network, draft: Network, parts: list[torch.optim.Optimizer],
               settings: Settings, number: int) -> float:  # fmt: skip
    """Some passes over one round's sequences. The target reads them once. Returns the mean loss."""
    with torch.no_grad():
        laws = torch.cat([target.logits(piece).half() for piece in torch.split(sequences, settings.batch)])
    shuffler, losses = torch.Generator().manual_seed(number), []
    for _ in range(settings.passes):
        for rows in torch.split(torch.randperm(len(sequences), generator=shuffler), settings.batch):
            loss = divergence(laws[rows].float(), draft.logits(sequences[rows]), settings.loss).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(draft.module.parameters(), 1.0)
            for part in parts:
                part.step()
                part.zero_grad()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def distill(target: Network, draft: Network, corpus_file: Path, target_folder: Path, out: Path, run: Path,
            settings: Settings, *, checkpoint_seconds: float = 120.0) -> dict[str, float]:  # fmt: skip
    """Distil, or go on distilling, and return acceptance on the two evaluation sets, before and after.

    The best weights so far, by acceptance on what the target writes, are always in `out`.
    """
    corpus = encode(corpus_file, load_tokenizer(target_folder))
    n = settings.length
    written = target_contexts(target, corpus.held_out, count=32, prompt=n // 8, length=n, seed=settings.seed)
    text = text_contexts(corpus.held_out, count=32, length=n)

    def rate() -> tuple[float, float]:
        draft.module.eval()
        return acceptance(target, draft, written, skip=n // 8), acceptance(target, draft, text)

    parts = optimisers(draft.module, lr=settings.lr, weight_decay=settings.weight_decay)
    number, seconds, stale, state = 0, 0.0, 0, checkpoint.load(run / "checkpoint.pt")
    if state is None:
        before = best = rate()
        draft.save(out)
    else:
        checkpoint.check_same(state["settings"], asdict(settings), may_differ=("rounds", "patience"))
        draft.module.load_state_dict(state["draft"])
        for part, saved in zip(parts, state["optimisers"], strict=True):
            part.load_state_dict(saved)
        number, seconds, stale = state["round"], state["seconds"], state["stale"]
        before, best = tuple(state["before"]), tuple(state["best"])
    rows = run_log.rows_until(run / "log.csv", number)

    def keep() -> None:
        progress = {"round": number, "seconds": seconds, "stale": stale, "before": before, "best": best}
        weights = {"draft": draft.module.state_dict(), "optimisers": [part.state_dict() for part in parts]}
        checkpoint.save(run / "checkpoint.pt", progress | weights | {"settings": asdict(settings)})

    bar = tqdm(total=settings.rounds, initial=number, desc=out.name, unit="round", smoothing=0.1)
    saved_at = started = time.monotonic()
    while number < settings.rounds and stale < settings.patience:
        lr = learning_rate(number, peak=settings.lr, warmup=settings.warmup, steps=settings.rounds, decay=settings.decay)
        for group in (group for part in parts for group in part.param_groups):
            group["lr"] = lr
        draft.module.eval()
        sequences = sampled_sequences(target, draft, corpus.train, settings, number)
        loss = learn_from(sequences, target, draft, parts, settings, number)
        number += 1
        now = time.monotonic()
        seconds, started = seconds + now - started, now
        bar.update()
        bar.set_postfix(loss=f"{loss:.4f}", acceptance=f"{best[0]:.4f}")
        if number % settings.evaluate_every == 0 or number == settings.rounds:
            now_rate = rate()
            stale = 0 if now_rate[0] > best[0] else stale + 1
            if now_rate[0] > best[0]:
                best = now_rate
                draft.save(out)
            rows.append({"step": number, "seconds": round(seconds, 1), "lr": lr, "train": loss,
                         "acceptance": now_rate[0], "acceptance_text": now_rate[1]})  # fmt: skip
            run_log.write_rows(run / "log.csv", rows)
            run_log.plot(run / "loss.png", rows)
        if time.monotonic() - saved_at > checkpoint_seconds:
            keep()
            saved_at = time.monotonic()
    keep()
    bar.close()
    names = ("before", "before_text", "after", "after_text")
    result = dict(zip(names, (*before, *best), strict=True))
    print(f"{out}: acceptance at temperature 1, on what the target writes: {before[0]:.4f} -> {best[0]:.4f}; "
          f"on held-out text: {before[1]:.4f} -> {best[1]:.4f}")  # fmt: skip
    return result


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--target", type=Path, required=True, help="a GPT-2 or Llama-family model folder")
    start = command.add_mutually_exclusive_group(required=True)
    start.add_argument("--draft", type=Path, help="the model folder to start from")
    start.add_argument("--layers", type=int, nargs="+", help="start from these layers of a Llama-family target")
    command.add_argument("--corpus", type=Path, required=True, help="a UTF-8 text to take prompts from")
    command.add_argument("--out", type=Path, required=True, help="the model folder to write")
    command.add_argument("--run-folder", type=Path, help="checkpoint, log and plot (default: OUT.run)")
    command.add_argument("--threads", type=int, default=1, help="PyTorch threads (default: %(default)s)")
    command.add_argument("--checkpoint-seconds", type=float, default=120.0)
    for name, value in asdict(Settings(rounds=100)).items():
        command.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help="(default: %(default)s)")


def run_distill(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    settings = Settings(**{name: getattr(options, name) for name in asdict(Settings(rounds=0))})
    target = load_network(options.target)
    draft = load_network(options.draft) if options.draft else draft_from_layers(options.target, options.layers)
    run = options.run_folder or options.out.with_name(options.out.name + ".run")
    distill(target, draft, options.corpus, options.target, options.out, run, settings,
            checkpoint_seconds=options.checkpoint_seconds)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    run_distill(parser.parse_args())
