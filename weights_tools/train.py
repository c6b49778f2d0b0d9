"""Train a GPT-2 and its byte-level BPE vocabulary on one text file, on a CPU, until held-out loss stops improving.

Every random choice of a step (windows, dropout) is a function of (seed, step), so a run killed at any moment continues
the same curve, bit for bit, from its last checkpoint: `python -m weights_tools train` again does it. The best
weights so far, by held-out loss, are always in `--out`; checkpoint, log and plot are in `--run-folder`.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from weights_tools import checkpoint, run_log
from weights_tools.corpus import Corpus, encode, read_split, train_tokenizer, training_batch
from weights_tools.model_folder import load_tokenizer, save_gpt2, save_tokenizer
from weights_tools.optimiser import learning_rate, optimisers
from weights_tools.torch_gpt2 import Shape, TorchGPT2


@dataclass(frozen=True)
class Settings:
    """One run. A checkpoint remembers them: only `steps` and `patience` may differ on resuming."""

    steps: int
    layers: int = 10
    width: int = 160
    heads: int = 5
    vocab: int = 1024
    context: int = 256
    batch: int = 16
    lr: float = 3e-3
    warmup: int = 100
    decay: float = 0.6
    weight_decay: float = 0.3
    dropout: float = 0.2
    patience: int = 8
    evaluate_every: int = 100
    seed: int = 0


@torch.no_grad()
def held_out_loss(model: TorchGPT2, corpus: Corpus, *, batch: int = 16, stride: int | None = None) -> float:
    """Nats a token over the held-out text, each token predicted once from at most a context of its own window.

    `stride` below the context re-reads tokens as mere context: slower, and fairer to a model that is used that way.
    """
    context = model.shape.context
    stride = stride or context
    was_training, total = model.training, 0.0
    model.eval()
    ids = torch.from_numpy(corpus.held_out)
    whole = list(range(0, len(ids) - context, stride))
    groups = [whole[index : index + batch] for index in range(0, len(whole), batch)]
    done = 0  # tokens ids[1 : done + 1] have been predicted
    for group in groups:
        windows = torch.stack([ids[start : start + context + 1] for start in group])
        losses = token_losses(model(windows[:, :-1]), windows[:, 1:])
        for start, row in zip(group, losses, strict=True):
            total += float(row[done - start :].double().sum())
            done = start + context
    if done < len(ids) - 1:  # the remainder, in one last window that ends where the text ends
        start = max(0, len(ids) - 1 - context)
        window = ids[None, start:]
        total += float(token_losses(model(window[:, :-1]), window[:, 1:])[0, done - start :].double().sum())
    model.train(was_training)
    return total / (len(ids) - 1)


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy at every position: logits [b, n, v], targets [b, n] -> [b, n]."""
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def train(corpus_file: Path, out: Path, run: Path, settings: Settings, *, tokenizer: Tokenizer | None = None,
          checkpoint_seconds: float = 120.0) -> float:  # fmt: skip
    """Train, or go on training, and return the best held-out loss in nats a token."""
    tokenizer = tokenizer or _tokenizer(corpus_file, run, settings)
    corpus = encode(corpus_file, tokenizer)
    torch.manual_seed(settings.seed)
    shape = Shape(tokenizer.get_vocab_size(), settings.context, settings.layers, settings.width, settings.heads)
    model = TorchGPT2(shape, dropout=settings.dropout)
    parts = optimisers(model, lr=settings.lr, weight_decay=settings.weight_decay)

    step, seconds, best, stale, recent = 0, 0.0, float("inf"), 0, 0.0
    state = checkpoint.load(run / "checkpoint.pt")
    if state is not None:
        checkpoint.check_same(state["settings"], asdict(settings), may_differ=("steps", "patience"))
        model.load_state_dict(state["model"])
        for part, saved in zip(parts, state["optimisers"], strict=True):
            part.load_state_dict(saved)
        step, seconds, best = state["step"], state["seconds"], state["best"]
        stale, recent = state["stale"], state["recent"]
    rows = run_log.rows_until(run / "log.csv", step)

    def keep() -> None:
        progress = {"step": step, "seconds": seconds, "best": best, "stale": stale, "recent": recent}
        weights = {"model": model.state_dict(), "optimisers": [part.state_dict() for part in parts]}
        checkpoint.save(run / "checkpoint.pt", progress | weights | {"settings": asdict(settings)})

    bar = tqdm(total=settings.steps, initial=step, desc=out.name, unit="step", smoothing=0.05, mininterval=1.0)
    saved_at = started = time.monotonic()
    model.train()
    while step < settings.steps and stale < settings.patience:
        lr = learning_rate(step, peak=settings.lr, warmup=settings.warmup, steps=settings.steps, decay=settings.decay)
        torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout, too, depends on the step alone
        windows = training_batch(corpus.train, step, batch=settings.batch, context=settings.context, seed=settings.seed)
        loss = token_losses(model(windows[:, :-1]), windows[:, 1:]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()
            part.zero_grad()
        recent = loss.item() if step == 0 else 0.95 * recent + 0.05 * loss.item()
        step += 1
        now = time.monotonic()
        seconds, started = seconds + now - started, now
        bar.update()
        bar.set_postfix(loss=f"{recent:.3f}", best=f"{best:.3f}", refresh=False)

        if step % settings.evaluate_every == 0 or step == settings.steps:
            held_out = held_out_loss(model, corpus)
            stale = 0 if held_out < best else stale + 1
            if held_out < best:
                best = held_out
                save_gpt2(out, model, tokenizer)
            rows.append({"step": step, "seconds": round(seconds, 1), "lr": lr, "train": recent, "held_out": held_out,
                         "bits_per_byte": corpus.bits_per_byte(held_out)})  # fmt: skip
            run_log.write_rows(run / "log.csv", rows)
            run_log.plot(run / "loss.png", rows)
        if time.monotonic() - saved_at > checkpoint_seconds:
            keep()
            saved_at = time.monotonic()
    keep()
    bar.close()
    print(f"{out}: best held-out loss {best:.4f} nats a token, {corpus.bits_per_byte(best):.4f} bits a byte")
    return best


def _tokenizer(corpus_file: Path, run: Path, settings: Settings) -> Tokenizer:
    """The run's own vocabulary: trained once, then read back, so a resumed run cannot get another one."""
    if not (run / "tokenizer_config.json").is_file():  # written last
        save_tokenizer(run, train_tokenizer(read_split(corpus_file)[0], settings.vocab), settings.context)
    return load_tokenizer(run)


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--corpus", type=Path, required=True, help="a UTF-8 text; its last tenth is held out")
    command.add_argument("--out", type=Path, required=True, help="the model folder to write")
    command.add_argument("--run-folder", type=Path, help="checkpoint, log and plot (default: OUT.run)")
    command.add_argument("--tokenizer", type=Path, help="a model folder whose vocabulary to use instead of a new one")
    command.add_argument("--threads", type=int, default=1, help="PyTorch threads (default: %(default)s)")
    command.add_argument("--checkpoint-seconds", type=float, default=120.0)
    for name, value in asdict(Settings(steps=3000)).items():
        command.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help="(default: %(default)s)")


def run_train(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    settings = Settings(**{name: getattr(options, name) for name in asdict(Settings(steps=0))})
    tokenizer = load_tokenizer(options.tokenizer) if options.tokenizer else None
    run = options.run_folder or options.out.with_name(options.out.name + ".run")
    train(options.corpus, options.out, run, settings, tokenizer=tokenizer,
          checkpoint_seconds=options.checkpoint_seconds)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    run_train(parser.parse_args())
