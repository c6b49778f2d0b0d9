"""Another implementation's activations against ours: the first module where they differ by more than rounding explains.

Each module is computed in float64 from the activations that the other had before it, and so is what its type of numbers rounds
there: by the same lines in that type (transformer/rounding.py). `SLACK` times that is allowed. An error is named where it is
made, and what follows from it is not.

The file is one of safetensors: `input_ids` [n] or [1, n], and tensors [n, d] or [1, n, d] by Hugging Face's names of modules,
with or without "model." or "transformer." in front. What is not there is computed.
"""

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from refspec.arrays import Array
from refspec.brief import short
from refspec.errors import BadArgument, BadWeights
from refspec.models import home
from refspec.models.cached_lm import check_ids
from refspec.models.model import load
from refspec.transformer.config import Config, GPT2Config
from refspec.transformer.plain import Weights, logits, read
from refspec.transformer.rounding import TYPES, Type, rounded
from refspec.transformer.weights import Header, file_headers, stored

# Other implementations add in another order, and round in other places. In 16 bits one rounding is most of the error, and the
# order of additions none of it.
SLACK = {"float32": 8, "bfloat16": 4, "float16": 4}
EXACT = TYPES["float64"].of
IDS = "input_ids"
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}

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
    """modules: those compared, in the order of computation. absent: ours that the file lacks. unknown: its others.

    type: of numbers, by whose rounding they were judged.
    """

    modules: tuple[Module, ...]
    absent: tuple[str, ...]
    unknown: tuple[str, ...]
    type: str

    @property
    def first(self) -> Module | None:
        """The first that differs."""
        return next((each for each in self.modules if each.differs), None)


def compare(model: str | Path, file: str | Path) -> Comparison:
    """A model folder's or known model's own numbers against the file's. Raises BadWeights for a file that cannot be compared."""
    tokens, headers = read_headers(Path(file))
    weights, config = own(model)
    check_ids(tuple(tokens.tolist()), config.vocab_size)
    if len(tokens) > config.context:
        raise BadWeights(f"{file}: {len(tokens)} {IDS} for a model with a context of {config.context}")
    theirs: dict[str, Array] = {}
    exact = beside(lambda name, ours: read_into(theirs, headers, name, ours, file), tokens, weights, config, EXACT)
    absent = tuple(name for name in exact if name not in theirs)
    unknown = tuple(sorted(headers.keys() - exact.keys()))
    if not theirs.keys() - {"lm_head"} and (unknown or not theirs):  # a head of the same size is no sign of the same model
        raise BadWeights(
            f"{file} has none of the modules below the head, such as {', '.join(absent[:4])}; it has {short(unknown or IDS)}: "
            "is it of another model, or are its names not Hugging Face's?"
        )
    kind = type_of({FLOATS[headers[name].dtype] for name in theirs}, theirs)
    weights = {name: kind.of(each) for name, each in weights.items()}
    narrow = beside(lambda name, ours: theirs.get(name), tokens, weights, with_rounded_powers(config), kind.of)
    modules = tuple(judged(name, theirs[name], ours, narrow[name], kind) for name, ours in exact.items() if name in theirs)
    return Comparison(modules, absent, unknown, kind.name)


def beside(
    theirs: Callable[[str, Array], Array | None], tokens: Array, weights: Weights, config: Config, of: Callable[[Array], Array]
) -> dict[str, Array]:
    """{name: what ours gives} of all modules, each computed from what theirs gave before it, as numbers `of` a type."""
    found: dict[str, Array] = {}

    def see(name: str, ours: Array) -> Array:
        found[name] = of(ours)
        given = theirs(name, ours)
        return of(ours if given is None or not np.isfinite(given).all() else given)  # from NaN nothing could be computed

    with np.errstate(invalid="ignore", over="ignore"):  # theirs may hold large numbers
        logits(tokens, weights, config, see)
    return found


def with_rounded_powers(config: Config) -> Config:
    """As float32 has the powers of the rotary base: by a logarithm, whose rounding is that of a base so much off.

    Angles are of float32 in engines of 16 bits too. Our own powers of float32 would not do: some are right by luck.
    """
    if isinstance(config, GPT2Config):
        return config
    return replace(config, rope_theta=config.rope_theta * (1 + 2.0**-23 * math.log(config.rope_theta)))


def judged(name: str, theirs: Array, exact: Array, narrow: Array, kind: Type) -> Module:
    """Where theirs is worst of all `sizes`: its error, and SLACK times that of our own lines in their type, or of a rounding."""
    with np.errstate(invalid="ignore", over="ignore"):  # theirs may hold NaN or infinity: the error then says so
        error, own, of = (sizes(each) for each in (theirs - exact, narrow - exact, exact))
        allowed = SLACK[kind.name] * np.maximum(own, kind.unit * of)
        worst = int(np.argmax(error / np.maximum(allowed, np.finfo(float).tiny)))
    return Module(name, float(error[worst]), float(allowed[worst]))


def sizes(x: Array) -> Array:
    """x [..., d] -> [1 + rows]: the largest number, which one wrong column shows in, and each row's root mean square

    A row is a token. It shows what is small and everywhere, beside tokens with numbers a thousand times as large.

    >>> import numpy as np
    >>> from refspec.models.activations import sizes
    >>> sizes(np.array([[3.0, -3.0], [-7.0, 1.0]])).tolist()
    [7.0, 3.0, 5.0]
    """
    x = np.asarray(x, np.float64)
    return np.append(np.abs(x).max(), np.sqrt((x * x).mean(axis=-1)))


def read_into(theirs: dict[str, Array], headers: Mapping[str, Header], name: str, ours: Array, file: str | Path) -> Array | None:
    """Theirs of that module in the shape of ours, put beside the others; None where they have none."""
    if name not in headers:
        return None
    dtype, shape, *_ = headers[name]
    if dtype not in FLOATS:
        raise BadWeights(f"{file}: {name} is {dtype}; it has to be one of {', '.join(FLOATS)}")
    if shape not in (ours.shape, (1, *ours.shape)):
        raise BadWeights(f"{file}: {name} has shape {list(shape)}; it is {list(ours.shape)}, with or without an axis of 1 before")
    theirs[name] = stored(headers[name]).reshape(ours.shape)
    return theirs[name]


def read_headers(path: Path) -> tuple[Array, dict[str, Header]]:
    """(input_ids [n], where the others lie, by our names). Raises BadWeights for a file of another kind."""
    headers = file_headers(path, "write it again")
    if IDS not in headers:
        raise BadWeights(f"{path} has no {IDS}; it says which tokens [n] the activations are of")
    if headers[IDS].dtype not in ("I64", "I32"):
        raise BadWeights(f"{path}: {IDS} is {headers[IDS].dtype}; it has to be I64 or I32")
    tokens = stored(headers.pop(IDS))
    if tokens.size == 0 or tokens.size != max(tokens.shape, default=0):
        raise BadWeights(f"{path}: {IDS} has shape {list(tokens.shape)}; give one text, [n] or [1, n]")
    found: dict[str, Header] = {}
    for full, header in headers.items():
        name = full.removeprefix("transformer.").removeprefix("model.")
        if name in found:
            raise BadWeights(f"{path} has {name} twice, with and without a name in front; write one of them")
        if not name.startswith("cache."):  # what `refspec golden` adds
            found[name] = header
    return tokens.reshape(-1), found


def type_of(types: Container[str], theirs: Mapping[str, Array]) -> Type:
    """The coarsest type of numbers in a file; also where it was widened for the file, which most tensors then show.

    float64 is judged as float32, in which transformers norms and rotates whatever the type.

    >>> import numpy as np
    >>> from refspec.models.activations import type_of
    >>> type_of({"float32"}, {"h.0": np.float32([[1.5, -3.0]])}).name
    'bfloat16'
    """
    for name, bits in (("bfloat16", 8), ("float16", 11)):
        narrow = sum(bool(np.all(rounded(each, bits) == each)) for each in theirs.values())
        if name in types or 2 * narrow > len(theirs):
            return TYPES[name]
    return TYPES["float32"]


def write_activations(path: Path, model: str | Path, tokens: Array, more: Mapping[str, Array] | None = None) -> int:
    """Ours, in float64, as such a file, beside `more`; returns how many modules. The names are those of Hugging Face's model."""
    from safetensors.numpy import save

    weights, config = own(model)
    if not 1 <= len(tokens) <= config.context:
        raise BadArgument(f"{len(tokens)} tokens for a model with a context of {config.context}; give at least one and no more")
    check_ids(tuple(tokens.tolist()), config.vocab_size)
    found = beside(lambda name, ours: None, tokens, weights, config, EXACT)
    front = "transformer." if "wte" in found else "model."
    named = {name if name == "lm_head" else front + name: each for name, each in found.items()}
    every = {IDS: tokens.astype(np.int64), **named, **(more or {})}
    path.write_bytes(save({name: np.ascontiguousarray(each) for name, each in every.items()}))
    return len(named)


def own(model: str | Path) -> tuple[Weights, Config]:
    load(model)  # says in one line what is wrong with a folder, over which the plain pass would stumble
    return read(home.find(model))
