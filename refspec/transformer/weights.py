"""Weights on disk: safetensors, in one file or in shards, read a tensor at a time.

The library checks a file's structure. The bytes are mapped, not read: a tensor that is float32 in the file is the file, its
pages shared with every other process that runs the model, and given back once another layout has been made from it. NumPy
has no bfloat16, so that one is widened by hand: it is a float32 whose lower half was cut off.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refspec.arrays import Array
from refspec.errors import BadWeights, ModelNotFound, reason
from refspec.files import SETTINGS, in_words, is_there, read_json, require_regular, strict_json
from refspec.transformer.mapping import let_go, mapped

READ_AS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
OTHERS = {"F64": "<f8", "I64": "<i8", "I32": "<i4"}  # no weights, but activations and ids

FETCH = "fetch the model again"  # what to do about damage; a head may be one's own
OF_A_HEAD = "fetch or train the head again"


class Header(NamedTuple):
    """Where a tensor lies and what it is: dtype as safetensors names it, shape, file, first byte."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int


def tensor_headers(folder: Path, remedy: str = FETCH) -> dict[str, Header]:
    """Every tensor of the model in `folder`, by name. Reads no weights. remedy: what to do where they are damaged.

    Raises ModelNotFound where there are none, BadWeights for damaged files, unsafe shard names and pickles.
    """
    folder = Path(folder)
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if is_there(single, BadWeights):
        return file_headers(single, remedy)
    if not is_there(index, BadWeights):
        pickles = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"))
        if pickles:
            raise BadWeights(f"{folder} has only {pickles[0]}, a pickle, which can run code when read; convert it to safetensors")
        raise ModelNotFound(f"{folder} has no model.safetensors and no model.safetensors.index.json")

    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(shard, str) for shard in placed.values()):
        raise BadWeights(f"{index} has no weight_map from tensors to files; {remedy}")
    shards, present = sorted(set(placed.values())), {path.name for path in folder.iterdir()}
    for shard in shards:  # all names before the first file is opened
        if Path(shard).name != shard or "\\" in shard or not shard.endswith(".safetensors"):
            raise BadWeights(f"{index} names the shard {shard!r}; a shard is a plain *.safetensors file name in the same folder")
        if shard not in present:
            raise BadWeights(f"{index} names the shard {shard!r}, which is not there; {remedy}")
    headers: dict[str, Header] = {}
    for shard in shards:
        found = file_headers(folder / shard, remedy)
        if found.keys() != {name for name, where in placed.items() if where == shard}:
            raise BadWeights(f"{folder / shard} does not hold the tensors that {index.name} promises; {remedy}")
        headers |= found
    return headers


def file_headers(path: Path, remedy: str = FETCH) -> dict[str, Header]:
    """The tensors of one safetensors file. Raises BadWeights for a file that is truncated, overlong or malformed."""
    from safetensors import SafetensorError, safe_open

    require_regular(path, BadWeights)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # before the library reads it, at some 200 bytes of memory a byte; what exceeds the file is for the library to tell
        if SETTINGS < length <= path.stat().st_size:
            raise BadWeights(f"{path} has a header of {in_words(length)}; at most {in_words(SETTINGS)} are read")
    try:
        with safe_open(path, framework="np"):  # checks the header, and that the tensors fill the file exactly
            pass
        with path.open("rb") as file:
            file.seek(8)
            header = strict_json(file.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise BadWeights(f"{path} is damaged ({reason(error)}); {remedy}") from None
    header.pop("__metadata__", None)
    return {
        name: Header(entry["dtype"], tuple(entry["shape"]), path, 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def stored(header: Header) -> Array:
    """The tensor as it lies in its file; of bfloat16 as float32."""
    found = mapped(header.file, (READ_AS | OTHERS)[header.dtype], header.shape, header.start)
    return (found.astype(np.uint32) << 16).view(np.float32) if header.dtype == "BF16" else found


class Checkpoint:
    """The tensors of one model, each to be read once under the name the mathematics calls it by."""

    def __init__(self, folder: Path, dtype: Any = np.float32, remedy: str = FETCH) -> None:
        from tqdm import tqdm

        self.folder = Path(folder)
        self.headers = tensor_headers(self.folder, remedy)
        self.remedy = remedy
        self.dtype = np.dtype(dtype)
        self._unread = set(self.headers)
        size = sum(math.prod(header.shape) for header in self.headers.values())
        # shown only where loading takes longer than a second, and only to a person
        self._progress = tqdm(
            total=size, desc=f"loading {self.folder.name}", unit=" weights", unit_scale=True, delay=1, disable=None, leave=False
        )

    def __contains__(self, name: str) -> bool:
        return name in self.headers

    def read(self, name: str, *shape: int) -> Array:
        """The tensor, in the compute type. Raises BadWeights if it is missing, misshaped, quantised or not finite."""
        header = self.headers.get(name)
        if header is None:
            raise BadWeights(f"{self.folder} lacks the tensor {name}; config.json and weights are not of one model")
        if header.shape != shape:
            raise BadWeights(f"{self.folder}: {name} has shape {list(header.shape)} where config.json asks for {list(shape)}")
        if header.dtype not in READ_AS:
            raise BadWeights(f"{self.folder}: {name} is {header.dtype}; refspec reads F32, F16 and BF16: convert it")
        tensor: Array = stored(header).astype(self.dtype, copy=False)
        if not np.isfinite(tensor).all():
            raise BadWeights(f"{self.folder}: {name} holds NaN or infinity; {self.remedy}")
        let_go(tensor)
        self._unread.discard(name)
        self._progress.update(tensor.size)
        return tensor

    def ids(self, name: str, vocab_size: int) -> Array:
        """Different token ids [w], ascending, which a draft head says it knows. Raises BadWeights for anything else."""
        from safetensors import safe_open

        header = self.headers.get(name)
        if header is None or header.dtype != "I32" or len(header.shape) != 1:
            raise BadWeights(
                f"{self.folder} lacks the tensor {name} of 32-bit whole numbers, the tokens that the head knows; {self.remedy}"
            )
        with safe_open(header.file, framework="np") as file:
            ids: Array = file.get_tensor(name).astype(np.int64)
        self._unread.discard(name)
        if not len(ids) or (np.diff(ids) <= 0).any() or ids[0] < 0 or ids[-1] >= vocab_size:
            raise BadWeights(
                f"{self.folder}: {name} are not different ids of 0 to {vocab_size - 1}, in order; train the head again"
            )
        return ids

    def head(self, embedding: Array, tied: bool) -> Array:
        """`lm_head.weight` [v, d]; where it is tied, the embedding, of which a file may carry a copy but no other matrix."""
        stored = not tied or "lm_head.weight" in self
        head = self.read("lm_head.weight", *embedding.shape) if stored else embedding
        if tied and head is not embedding and not np.array_equal(head, embedding):
            raise BadWeights(f"{self.folder}: config.json ties the head to the embedding, but lm_head.weight differs from it")
        return embedding if tied else head

    def ignore(self, *names: str) -> None:
        """Tensors that some checkpoints carry and no forward pass reads."""
        self._unread.difference_update(names)

    def finish(self) -> None:
        """Raises BadWeights if a tensor was never asked for: then the file says something that we did not compute."""
        self._progress.close()
        if self._unread:
            extra = sorted(self._unread)
            raise BadWeights(f"{self.folder} has {len(extra)} tensors that config.json has no use for, such as {extra[0]}")
