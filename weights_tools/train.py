"""Train a GPT-2 and its byte-level BPE vocabulary on one text file, on a CPU, until held-out loss stops improving.

Every random choice of a step (windows, dropout) is a function of (seed, step), so a run killed at any moment continues the
same curve, bit for bit, from its last checkpoint: the same command again does it (see training_loop).
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy

from weights_tools.checkpoint import fingerprint
from weights_tools.corpus import Corpus, encode, read_split, train_tokenizer, training_batch
from weights_tools.model_folder import load_tokenizer, save_gpt2, save_tokenizer
from weights_tools.optimiser import descend, optimisers
from weights_tools.outputs import CHECKPOINT, claim
from weights_tools.run_log import Row
from weights_tools.settings import TrainSettings
from weights_tools.torch_gpt2 import Shape, TorchGPT2
from weights_tools.training_loop import Task, repeat


def train(corpus_file: Path, out: Path, run: Path, settings: TrainSettings, *, tokenizer: Tokenizer | None = None,
          start: TorchGPT2 | None = None, checkpoint_seconds: float = 120.0) -> float:  # fmt: skip
    """Train, or go on training, and return the best held-out loss in nats a token.

    The best weights so far, by that loss, are always in `out`; checkpoint, log and plot are in `run`. `start`: a trained
    model, of the shape that the settings say, to train further, and to beat.
    """
    split = read_split(corpus_file)
    claim(out, run)
    tokenizer = tokenizer or run_tokenizer(split[0], run, settings)
    corpus = encode(split, tokenizer)
    corpus.must_hold(settings.context)
    torch.manual_seed(settings.seed)
    model = start or TorchGPT2(
        Shape(tokenizer.get_vocab_size(), settings.context, settings.layers, settings.width, settings.heads)
    )
    model.dropout = settings.dropout
    parts = optimisers(model, lr=settings.lr, weight_decay=settings.weight_decay)

    def learn(step: int) -> float:
        torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout, too, depends on the step alone
        batch = training_batch(corpus.train, step, batch=settings.batch, context=settings.context, seed=settings.seed)
        windows = torch.from_numpy(batch)
        loss = token_losses(model(windows[:, :-1]), windows[:, 1:]).mean()
        descend(loss, model, parts)
        return loss.item()

    def evaluate() -> Row:
        loss = held_out_loss(model, corpus)
        return {"held_out": loss, "bits_per_byte": corpus.bits_per_byte(loss)}

    task = Task("step", settings.steps, model, parts, learn, evaluate, measure="held_out", sign=-1, newest=0.05,
                given=start is not None, save=lambda: save_gpt2(out, model, tokenizer), out=out,
                of={"corpus": fingerprint(split), "vocabulary": fingerprint([tokenizer.to_str()])})  # fmt: skip
    before = evaluate() if start else None
    model.train()
    best = repeat(task, settings, run, start=before, checkpoint_seconds=checkpoint_seconds)
    print(f"{out}: best held-out loss {best['held_out']:.4f} nats a token, {best['bits_per_byte']:.4f} bits a byte")
    return best["held_out"]


def run_tokenizer(text: str, run: Path, settings: TrainSettings) -> Tokenizer:
    """The run's own vocabulary: trained once, then read back, so a resumed run cannot get another one."""
    if not (run / CHECKPOINT).is_file():
        save_tokenizer(run, train_tokenizer(text, settings.vocab), settings.context)
    return load_tokenizer(run)


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
