"""The texts of collections: one reader for all commands, which takes nothing that `collect` would not have written.

A text is a file like `000123.safetensors` in the folder of its collection: tokens [n + 1], and features [n, d] of all but the
last, with its kind, the temperature of its answer and where the answer starts as metadata.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from refspec.brief import short
from refspec.errors import BadArgument, BadWeights, reason
from refspec.files import read_json, require_regular
from refspec.models.tokenizer import Tokenizer

KINDS = ("prompt", "own")  # of a file; written by the target


@dataclass(frozen=True)
class Text:
    """tokens [n + 1] or [n]; features [n, d] in bfloat16, none where they were not read. The answer begins at token `answer`."""

    tokens: Tensor
    features: Tensor
    answer: int
    kind: str
    temperature: float
    number: int  # in its collection


def name_of(target: Path) -> str:
    """By which a text, a head or a table knows its target: that of the folder itself, as `refspec.load` has it."""
    return target.resolve().name


def drawable(tokenizer: Tokenizer | None, rows: int) -> int:
    """How many tokens can be said. What only pads the vocabulary does not count, and is never drawn."""
    return rows if tokenizer is None else max(i for i in tokenizer.token_map.values() if i < rows) + 1


def numbered(folder: Path) -> dict[int, Path]:
    """The files of the texts in a folder, by number. Raises BadArgument for one with a name that `collect` does not give."""
    found = {}
    for path in sorted(folder.glob("[0-9]*.safetensors")):
        if not path.stem.isascii() or not path.stem.isdigit() or path.stem != f"{int(path.stem):06d}":
            raise BadArgument(f"{path} is no text of this collection, whose names are like 000003.safetensors; take it out")
        found[int(path.stem)] = path
    return found


def paths_of(folders: Sequence[Path], target: str) -> list[Path]:
    """The files of all texts, in order. Raises BadArgument for a folder that is no collection of this target's text."""
    for folder in folders:
        about = folder / "collection.json"
        if not about.is_file():
            raise BadArgument(f"{folder} is no collection; `python -m weights_tools collect --out {folder}` makes one")
        if (whose := read_json(about).get("target")) != target:
            raise BadArgument(f"{folder} holds text of {whose}, and the target is {target}; collect the target's own")
    return [path for folder in folders for path in numbered(folder).values()]


def read_text(path: Path, vocab_size: int, width: int, *, with_features: bool = True) -> Text:
    """A text, of tokens below `vocab_size` and features of this width. Raises BadWeights, which names it, where it is damaged."""
    require_regular(path, BadWeights)
    try:
        with safe_open(path, "pt") as file:
            about, tokens = file.metadata() or {}, file.get_tensor("tokens")
            shape = file.get_slice("features").get_shape()
            features = file.get_tensor("features") if with_features else torch.empty(0, width)
        answer, temperature = int(about["answer_start"]), float(about["temperature"])
        text = Text(tokens, features, answer, about["kind"], temperature, int(path.stem))
        if fault := next(faults(text, shape, vocab_size, width), ""):
            raise ValueError(fault)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        why = f"it lacks {short(error.args[0])}" if isinstance(error, KeyError) else reason(error)
        raise BadWeights(f"{path} is damaged ({why}); delete it, and collect again") from None
    return replace(text, tokens=tokens.long())


def faults(text: Text, shape: list[int], vocab_size: int, width: int) -> Iterator[str]:
    """What no text that was collected has, one after the other, since each builds on those before. shape: of the features."""
    tokens, features = text.tokens, text.features
    if tokens.ndim != 1 or tokens.dtype not in (torch.int32, torch.int64):
        yield "its tokens are no list of ids"
    if len(shape) != 2 or shape[1] != width:
        yield f"its features are of shape {shape}, and the target's have a width of {width}"
    if not shape[0] or len(tokens) - shape[0] not in (0, 1):
        yield f"it has {len(tokens)} tokens, and {shape[0]} features"
    if int(tokens.min()) < 0 or int(tokens.max()) >= vocab_size:
        yield f"it has ids from {int(tokens.min())} to {int(tokens.max())}, and the target's are from 0 to {vocab_size - 1}"
    if not (features.is_floating_point() and bool(features.isfinite().all())):
        yield "its features are no finite numbers"
    if not 0 <= text.answer < len(tokens):
        yield f"its answer starts at token {text.answer} of {len(tokens)}"
    if not 0 <= text.temperature < math.inf:
        yield f"its temperature is {text.temperature}"
    if text.kind not in KINDS:
        yield f"its kind is {short(text.kind)}"
