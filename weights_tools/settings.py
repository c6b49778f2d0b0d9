"""What training and distillation can be told: every setting with its default, its meaning and its range.

There is no PyTorch in here, so `--help` and a setting out of its range are answered at once, and where it is not installed.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from refspec.errors import BadArgument


@dataclass(frozen=True)
class TrainSettings:
    """One training run. A checkpoint remembers them: only `steps` and `patience` may differ on resuming."""

    steps: int = 1800
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
    dropout: float = 0.1
    patience: int = 8
    evaluate_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        check(vars(self))
        if self.width % self.heads:
            raise BadArgument(f"heads is {self.heads}, which does not divide a width of {self.width}")


@dataclass(frozen=True)
class DistillSettings:
    """One distillation. A checkpoint remembers them: only `rounds` and `patience` may differ on resuming."""

    rounds: int = 100
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

    def __post_init__(self) -> None:
        check(vars(self))


@dataclass(frozen=True)
class CollectSettings:
    """One collection. What is there already was made with the same seed and prompts; the rest may differ."""

    tokens: int = 1_000_000
    texts: int = 192
    question: int = 192
    answer: int = 256
    least: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check(vars(self))
        if self.least > self.answer:
            raise BadArgument(f"least is {self.least}; answers have {self.answer} tokens at most, so that none would be kept")


@dataclass(frozen=True)
class PassageSettings:
    """Prompts about passages. What is asked of each is drawn by the seed."""

    passages: int = 640
    shortest: int = 250
    longest: int = 900
    least: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        check(vars(self))
        if self.shortest >= self.longest:
            raise BadArgument(f"shortest is {self.shortest}; it is below longest, which is {self.longest}")


@dataclass(frozen=True)
class TableSettings:
    """How a table is counted."""

    orders: int = 4
    least: int = 2

    def __post_init__(self) -> None:
        check(vars(self))


@dataclass(frozen=True)
class HeadSettings:
    """One training of a head. A checkpoint remembers them: only `steps` and `patience` may differ on resuming."""

    kind: str = "eagle"
    steps: int = 2200
    words: int = 2048
    depths: int = 3
    shallow: float = 0.6
    batch: int = 2000
    held_out: int = 40
    bfloat16: int = 1
    lr: float = 2e-3
    warmup: int = 20
    decay: float = 0.9
    weight_decay: float = 0.0
    evaluate_every: int = 50
    patience: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        check(vars(self))


Settings = TrainSettings | DistillSettings | HeadSettings


@dataclass(frozen=True)
class Range:
    """The values that a setting may have, in words and as a test. NaN is in none of them."""

    words: str
    holds: Callable[[Any], bool]


def at_least(least: float) -> Range:
    return Range(f"at least {least:g}", lambda value: least <= value < math.inf)


def between(least: float, most: float) -> Range:
    return Range(f"from {least} to {most}", lambda value: least <= value <= most)


POSITIVE = Range("above 0", lambda value: 0 < value < math.inf)
SHARE = Range("above 0 and at most 1", lambda value: 0 < value <= 1)
RATE = Range("at least 0 and below 1", lambda value: 0 <= value < 1)
LOSS = Range("tvd, kl or reverse-kl", lambda value: value in ("tvd", "kl", "reverse-kl"))

# The same name means the same to training, distillation and evaluation.
MEANING: dict[str, tuple[str, Range]] = {
    "steps": ("steps, each on one batch", at_least(1)),
    "tokens": ("answer tokens to collect", at_least(1)),
    "texts": ("texts written at once; memory grows with it", between(1, 4096)),
    "question": ("tokens of a question, at most", at_least(1)),
    "answer": ("tokens of an answer, at most", at_least(1)),
    "least": ("what is rarer is left out: answers of fewer tokens, contexts seen fewer times", at_least(1)),
    "passages": ("prompts to write", at_least(1)),
    "shortest": ("tokens of a passage, at least", at_least(1)),
    "longest": ("tokens of a passage, below", at_least(2)),
    "orders": ("tokens of context, at most", between(1, 8)),
    "kind": ("eagle or mlp", Range("eagle or mlp", lambda value: value in ("eagle", "mlp"))),
    "words": ("tokens that the head can always say: those that the target says most often", at_least(2)),
    "depths": ("guesses in a row that it is trained for", between(1, 6)),
    "shallow": ("share of the steps, the first ones, that train the first guess alone", RATE),
    "held_out": ("one text in so many is held out", at_least(2)),
    "bfloat16": ("1: compute in bfloat16, which needs a processor that has it to be fast; 0: in float32", between(0, 1)),
    "rounds": ("rounds: sequences are written, then learned from", at_least(1)),
    "layers": ("transformer layers", at_least(1)),
    "width": ("width of the residual stream", at_least(1)),
    "heads": ("attention heads a layer; they divide the width", at_least(1)),
    "vocab": ("tokens to learn: 256 bytes, the end token, merges", at_least(257)),
    "context": ("tokens that the model can see, and a window has", at_least(1)),
    "sequences": ("sequences a round", at_least(1)),
    "length": ("tokens a sequence, with its prompt", at_least(8)),
    "draft_share": ("share of the sequences that the draft writes; the target writes the others", between(0, 1)),
    "passes": ("passes over the sequences of a round", at_least(1)),
    "batch": ("sequences learned from at once (of a head: tokens); memory grows with it", at_least(1)),
    "loss": ("the divergence to lower: tvd, kl or reverse-kl", LOSS),
    "lr": ("learning rate at its peak", POSITIVE),
    "warmup": ("steps or rounds up to the peak", at_least(0)),
    "decay": ("share of the run, at its end, in which the rate falls to zero", SHARE),
    "weight_decay": ("pull of the weights towards zero", at_least(0)),
    "dropout": ("share of activations left out in training", RATE),
    "evaluate_every": ("steps or rounds between evaluations", at_least(1)),
    "patience": ("evaluations without a new best that end the run", at_least(1)),
    "seed": ("of all random choices", between(0, 2**32 - 1)),
    "threads": ("PyTorch threads", between(1, 1024)),
    "checkpoint_seconds": ("time between checkpoints, and the most a kill can lose", at_least(0)),
}


def check(given: Mapping[str, Any]) -> None:
    """Raise BadArgument at the first value outside its range."""
    for name, value in given.items():
        allowed = MEANING[name][1]
        if not allowed.holds(value):
            raise BadArgument(f"{name} is {value}; it is {allowed.words}")


def add_options(command: Any, defaults: Mapping[str, Any]) -> None:
    """An option for each setting. `command` is a parser or one of its groups, which have no public type in common."""
    for name, default in defaults.items():
        letter = {int: "N", float: "X", str: "NAME"}[type(default)]
        text = f"{MEANING[name][0]} (%(default)s)"
        command.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, metavar=letter, help=text)


Chosen = TypeVar("Chosen", TrainSettings, DistillSettings, CollectSettings, PassageSettings, HeadSettings, TableSettings)


def chosen(options: argparse.Namespace, kind: type[Chosen]) -> Chosen:
    """The settings that the options of a command line say."""
    return kind(**{name: getattr(options, name) for name in kind.__dataclass_fields__})
