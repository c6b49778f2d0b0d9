"""Another implementation's activations against ours: the first module where they differ by more than rounding explains.

Each module is computed in float64 from the activations that the other had before it, and so is what float32 rounds there: by the
same lines in float32. `SLACK` times that is allowed. An error is named where it is made, and what follows from it is not.

The file is one of safetensors: `input_ids` [n] or [1, n], and tensors [n, d] or [1, n, d] by Hugging Face's names of modules,
with or without "model." or "transformer." in front. What is not there is computed. Left out: activations of 16 bits, whose
rounding inside a module no line of ours repeats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import short
from refspec.errors import BadArgument, BadWeights
from refspec.models import home
from refspec.models.cached_lm import check_ids
from refspec.transformer.config import Config
from refspec.transformer.modules import modules, run
from refspec.transformer.plain import Weights, read
from refspec.transformer.weights import file_headers

SLACK = 8  # other implementations add in another order, and round in more places
EPS = float(np.finfo(np.float32).eps)
IDS = "input_ids"

# What can be wrong where a module's own inputs were right, by how its name ends.
CAUSES = {
    "wte": "the table of embeddings, or the order of ids",
    "embed_tokens": "the table of embeddings, or the order of ids",
    "lm_head": "the head: is it the table of embeddings or a matrix of its own?",
    "wpe": "the table of positions, or positions that do not count from 0",
    "rotary_emb.0": "the base, its scaling, or positions that do not count from 0",
    "rotary_emb.1": "the base, its scaling, or positions that do not count from 0",
    "c_proj.input": "attention: the order of heads, the mask, the scale",
    "o_proj.input": "attention: the rotation, the order and sharing of heads, the mask, the scale",
    "act": "the activation function",
    "act_fn": "the activation function, or gate and up swapped",
    "down_proj.input": "the product of gate and up",
    "ln_1": "the norm: its epsilon, weight, bias",
    "ln_2": "the norm: its epsilon, weight, bias, or the sum that it reads",
    "ln_f": "the last norm: its epsilon, weight, bias",
    "norm": "the last norm: its epsilon or weight",
    "input_layernorm": "the norm: its epsilon or weight",
    "post_attention_layernorm": "the norm: its epsilon or weight, or the sum that it reads",
    "q_norm": "the norm of queries: its epsilon or weight",
    "k_norm": "the norm of keys: its epsilon or weight",
}


@dataclass(frozen=True)
class Module:
    """What was found at one of them: the largest error, and how large it may be."""

    name: str
    error: float
    allowed: float

    @property
    def differs(self) -> bool:
        return not self.error <= self.allowed  # also where it is NaN

    @property
    def cause(self) -> str:
        """What to look at."""
        ends = [each for each in CAUSES if f".{self.name}".endswith(f".{each}")]
        layer = self.name.rpartition(".")[2].isdigit()
        return CAUSES[ends[0]] if ends else "the sum of the layer" if layer else "the matrix or its bias"


@dataclass(frozen=True)
class Comparison:
    """modules: those compared, in the order of computation. absent: ours that the file lacks. unknown: its others."""

    modules: tuple[Module, ...]
    absent: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def first(self) -> Module | None:
        """The first that differs."""
        return next((each for each in self.modules if each.differs), None)


def compare(model: str | Path, file: str | Path) -> Comparison:
    """A model folder's or known model's own numbers against the file's. Raises BadWeights for a file that cannot be compared."""
    tokens, theirs = read_activations(Path(file))
    weights, config = read(home.find(model))
    check_ids(tuple(tokens.tolist()), config.vocab_size)
    if len(tokens) > config.context:
        raise BadWeights(f"{file}: {len(tokens)} {IDS} for a model with a context of {config.context}")
    found = against(tokens, weights, config, theirs, str(file))
    if not found.modules:
        known = ", ".join(found.absent[:4])
        raise BadWeights(f"{file} has none of the model's modules, such as {known}; it has {short(found.unknown)}")
    return found


def against(tokens: Array, weights: Weights, config: Config, theirs: Mapping[str, Array], file: str = "the file") -> Comparison:
    """theirs: by name, without "model." or "transformer."."""
    found, absent = [], []
    narrow = modules(tokens, {name: each.astype(np.float32) for name, each in weights.items()}, config)
    name_there, rounded = next(narrow)

    def see(name: str, ours: Array) -> Array:
        nonlocal name_there, rounded
        assert name == name_there
        given = theirs.get(name)
        if given is None:
            absent.append(name)
        else:
            given = fitting(given, ours, f"{file}: {name}").astype(np.float64)
            own = max(float(np.abs(rounded - ours).max()), EPS * float(np.abs(ours).max()))
            found.append(Module(name, float(np.abs(given - ours).max()), SLACK * own))
            if not np.isfinite(given).all():
                given = None  # from NaN nothing could be computed
        name_there, rounded = next_of(narrow, (rounded if given is None else given).astype(np.float32))
        return ours if given is None else given

    with np.errstate(invalid="ignore", over="ignore"):  # theirs may hold NaN or infinity: the error then says so
        names = run(modules(tokens, weights, config), see)
    return Comparison(tuple(found), tuple(absent), tuple(sorted(theirs.keys() - names.keys())))


def next_of(steps: Any, sent: Array) -> tuple[str, Array]:
    try:
        step: tuple[str, Array] = steps.send(sent)
    except StopIteration:
        return "", sent
    return step


def fitting(given: Array, ours: Array, what: str) -> Array:
    """given in the shape of ours"""
    if given.ndim == ours.ndim + 1 and len(given) == 1:
        given = given[0]
    if given.shape != ours.shape:
        raise BadWeights(f"{what} has shape {list(given.shape)}; it is {list(ours.shape)}, with or without an axis of 1 before")
    return given


def read_activations(path: Path) -> tuple[Array, dict[str, Array]]:
    """(input_ids [n], the others by their names). Raises BadWeights for a file of another kind, or of 16 bits."""
    from safetensors.numpy import load_file

    headers = file_headers(path, "write it again")
    if IDS not in headers:
        raise BadWeights(f"{path} has no {IDS}; it says which tokens [n] the activations are of")
    if headers[IDS].dtype not in ("I64", "I32"):
        raise BadWeights(f"{path}: {IDS} is {headers[IDS].dtype}; it has to be I64 or I32")
    if narrow := [name for name, each in headers.items() if each.dtype in ("F16", "BF16")]:
        raise BadWeights(f"{path}: {narrow[0]} is {headers[narrow[0]].dtype}; it has to be F32 or F64: record a float32 run")
    tensors = load_file(path)
    tokens = tensors.pop(IDS)
    if tokens.size == 0 or tokens.size != max(tokens.shape, default=0):
        raise BadWeights(f"{path}: {IDS} has shape {list(tokens.shape)}; give one text, [n] or [1, n]")
    mine = {name: each for name, each in tensors.items() if not name.startswith("cache.")}  # what `refspec golden` adds
    return tokens.reshape(-1), {name.removeprefix("transformer.").removeprefix("model."): each for name, each in mine.items()}


def write_activations(path: Path, model: str | Path, tokens: Array, more: Mapping[str, Array] | None = None) -> int:
    """Ours, in float64, as such a file, beside `more`; returns how many modules. The names are those of Hugging Face's model."""
    from safetensors.numpy import save

    weights, config = read(home.find(model))
    if not 1 <= len(tokens) <= config.context:
        raise BadArgument(f"{len(tokens)} tokens for a model with a context of {config.context}; give at least one and no more")
    check_ids(tuple(tokens.tolist()), config.vocab_size)
    found = run(modules(tokens, weights, config))
    front = "transformer." if "wte" in found else "model."
    named = {name if name == "lm_head" else front + name: each for name, each in found.items()}
    every = {IDS: tokens.astype(np.int64), **named, **(more or {})}
    path.write_bytes(save({name: np.ascontiguousarray(each) for name, each in every.items()}))
    return len(named)
