"""Weights from disk to the product: every stored type to the bit, shards, one copy in memory, and layouts that agree."""

import json
import mmap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder
from kernels import named, run_on
from safetensors.numpy import load_file, save_file

import refspec
from refspec.transformer import linear as linear_module
from refspec.transformer import shelf
from refspec.transformer.linear import Columns, Panels, Rows, linear, transposed
from refspec.transformer.mapping import let_go
from refspec.transformer.weights import Checkpoint, tensor_headers

TOKENS = tuple(range(0, 250, 7))


def write_safetensors(path: Path, tensors: dict[str, tuple[str, np.ndarray]]) -> None:
    """name -> (dtype as safetensors names it, its raw numbers): the format by hand, for types NumPy has none of."""
    header, data = {}, b""
    for name, (dtype, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": raw.shape, "data_offsets": [len(data), len(data) + raw.nbytes]}
        data += raw.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def cut_to_bfloat16(tensor: np.ndarray) -> np.ndarray:
    """The upper half of each float32: a bfloat16, rounded towards zero."""
    upper: np.ndarray = (tensor.view(np.uint32) >> 16).astype(np.uint16)
    return upper


# ---- stored types

# (stored bits, the number): normal, negative zero, the largest, the smallest subnormal, and one that no other format holds
BFLOAT16 = [(0x3F80, 1.0), (0xC049, -3.140625), (0x8000, -0.0), (0x7F7F, 2.0**127 * (2 - 2**-7)), (0x0001, 2.0**-133), (0, 0.0)]
FLOAT16 = [(0x3C00, 1.0), (0xC248, -3.140625), (0x8000, -0.0), (0x7BFF, 65504.0), (0x0001, 2.0**-24), (0x3555, 1365 / 4096)]
FLOAT32 = [
    (0x3F800000, 1.0),
    (0x80000000, -0.0),
    (0x7F7FFFFF, 2.0**127 * (2 - 2**-23)),
    (1, 2.0**-149),
    (0x3DCCCCCD, 13421773 / 2**27),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("stored", "width", "known"), [("BF16", np.uint16, BFLOAT16), ("F16", np.uint16, FLOAT16), ("F32", np.uint32, FLOAT32)]
)
def test_a_stored_number_is_read_exactly(
    stored: str, width: Any, known: list[tuple[int, float]], dtype: Any, tmp_path: Path
) -> None:
    bits, numbers = zip(*known, strict=True)
    write_safetensors(tmp_path / "model.safetensors", {"x": (stored, np.array(bits, width))})
    read = Checkpoint(tmp_path, dtype).read("x", len(known))
    assert read.dtype == dtype
    expected = np.array(numbers, dtype)
    assert read.tobytes() == expected.tobytes()  # bits, so that -0.0 is not 0.0


def test_every_finite_bfloat16_is_the_upper_half_of_its_float32(tmp_path: Path) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[bits & 0x7F80 != 0x7F80]  # an exponent of ones is NaN or infinity
    write_safetensors(tmp_path / "model.safetensors", {"x": ("BF16", bits)})
    read = Checkpoint(tmp_path).read("x", len(bits)).view(np.uint32)
    assert np.array_equal(read >> 16, bits)
    assert not (read & 0xFFFF).any()


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("stored", ["F16", "BF16"])
def test_a_half_width_model_is_the_model_of_its_rounded_weights(stored: str, config: dict[str, Any], tmp_path: Path) -> None:
    half, rounded = write_folder(tmp_path / "half", config), write_folder(tmp_path / "rounded", config)
    tensors = load_file(half / "model.safetensors")
    if stored == "F16":
        raw = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
        wide = {name: tensor.astype(np.float32) for name, tensor in raw.items()}
    else:
        raw = {name: cut_to_bfloat16(tensor) for name, tensor in tensors.items()}
        wide = {name: (tensor.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, tensor in tensors.items()}
    write_safetensors(half / "model.safetensors", {name: (stored, tensor) for name, tensor in raw.items()})
    save_file(wide, rounded / "model.safetensors")
    logits = refspec.load(half).logits(TOKENS)
    assert np.array_equal(logits, refspec.load(rounded).logits(TOKENS))
    assert not np.array_equal(logits, refspec.load(write_folder(tmp_path / "whole", config)).logits(TOKENS))


# ---- shards


def test_shards_hold_the_same_model(tmp_path: Path) -> None:
    single, sharded = write_folder(tmp_path / "single"), write_folder(tmp_path / "sharded")
    tensors = load_file(sharded / "model.safetensors")
    (sharded / "model.safetensors").unlink()
    names = sorted(tensors)
    placed = {name: f"model-{i % 3 + 1:05}-of-00003.safetensors" for i, name in enumerate(names)}  # a layer spread over all
    for shard in set(placed.values()):
        save_file({name: tensors[name] for name in names if placed[name] == shard}, sharded / shard)
    index = {"metadata": {"total_size": 1}, "weight_map": placed}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    headers = tensor_headers(sharded)
    assert {name: header.file.name for name, header in headers.items()} == placed
    assert np.array_equal(refspec.load(sharded).logits(TOKENS), refspec.load(single).logits(TOKENS))


# ---- compute types


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_float64_is_float64_throughout(config: dict[str, Any], tmp_path: Path) -> None:
    """A change far below float32's resolution passes through the whole network, and twice the change does twice as much.

    One step in float32 on the way would round it off, or up to a multiple of 6e-8.
    """
    network = refspec.load(write_folder(tmp_path, config), dtype=np.float64).network
    plain = network.embedding
    noise = 1e-9 * np.random.default_rng(0).standard_normal(plain.shape)

    def logits(embedding: np.ndarray) -> np.ndarray:
        changed = replace(network, embedding=embedding)
        return changed.forward(np.array(TOKENS), changed.new_cache(), last=len(TOKENS))

    once, twice = (logits(plain + factor * noise) - logits(plain) for factor in (1, 2))
    assert np.abs(once).max() > 1e-9
    # float64 leaves some hundred roundings of 1e-16, against a response of 1e-9 and more
    assert np.abs(twice - 2 * once).max() < 1e-3 * np.abs(once).max()


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_float32_is_close_to_float64(config: dict[str, Any], tmp_path: Path) -> None:
    folder = write_folder(tmp_path, config)
    narrow, wide = refspec.load(folder).logits(TOKENS), refspec.load(folder, dtype=np.float64).logits(TOKENS)
    assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
    assert 1 < np.abs(wide).max() < 20
    # 6e-8 of logits of that size, over a few hundred roundings
    assert np.abs(wide - narrow).max() < 1e-4


# ---- one copy


def owner(array: np.ndarray) -> object:
    """What holds the memory that this one looks at: an array, or a mapped file."""
    return owner(array.base) if isinstance(array.base, np.ndarray) else array if array.base is None else array.base


def test_a_float32_tensor_is_the_file(tmp_path: Path) -> None:
    """Nothing is read or copied: other processes that map the file share its pages. It cannot be written to."""
    write_safetensors(tmp_path / "model.safetensors", {"x": ("F32", np.ones((130, 70), np.float32))})
    tensor = Checkpoint(tmp_path).read("x", 130, 70)
    assert isinstance(owner(tensor), mmap.mmap)
    assert not tensor.flags.writeable
    kept = linear(tensor, **named("SkylakeX"))
    assert isinstance(kept, Rows)
    assert np.shares_memory(kept.weight, tensor)


@pytest.mark.parametrize(("stored", "raw", "dtype"), [("F16", np.float16, np.float32), ("F32", np.float32, np.float64)])
def test_what_is_widened_lets_go_of_the_file(stored: str, raw: Any, dtype: Any, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"x": (stored, np.ones((130, 70), raw))})
    tensor = Checkpoint(tmp_path, dtype).read("x", 130, 70)
    assert owner(tensor).nbytes == tensor.nbytes == 130 * 70 * np.dtype(dtype).itemsize


def test_an_empty_tensor_can_be_read(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"x": ("F32", np.ones((0, 7), np.float32))})
    assert Checkpoint(tmp_path).read("x", 0, 7).shape == (0, 7)


def test_what_was_let_go_is_still_there(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).random((130, 70), dtype=np.float32)
    write_safetensors(tmp_path / "model.safetensors", {"x": ("F32", numbers)})
    tensor = Checkpoint(tmp_path).read("x", 130, 70)
    for array in (tensor, tensor[3:].T, numbers):
        let_go(array)
    assert np.array_equal(tensor, numbers)


@pytest.mark.parametrize("kernel", ["SkylakeX", "SkylakeX AMD", "Haswell"])
def test_a_transposed_weight_lets_go_of_the_array_it_came_from(kernel: str) -> None:
    """GPT-2 stores [in, out]: what is kept must not be a view that holds the file's order in memory as well."""
    stored = np.ones((8, 3072), np.float32)
    kept = linear(stored.T, **named(kernel))
    assert not np.shares_memory(kept.weight, stored)
    assert owner(kept.weight).nbytes in (stored.nbytes, shelf.BLOCK)


# ---- two layouts of one product

SHAPES = [(1, 1), (11, 700), (63, 5), (64, 64), (66, 33), (132, 576), (264, 32)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that small weights cross: several panels, the last of them not full; several turns of blocks, by two threads."""
    monkeypatch.setattr(Columns, "WIDEST", 25)
    monkeypatch.setattr(linear_module, "TURN", 2)
    monkeypatch.setattr(linear_module, "SHARED", 0)
    monkeypatch.setattr(linear_module, "blas_threads", lambda: 2)


def layouts(weight: np.ndarray) -> list[Rows | Panels | Columns]:
    return [Rows(weight), Panels.of(weight), Columns(transposed(weight), len(weight))]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("rows", [*range(1, 11), 16, 17, 31, 36, 37, 101])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_layout_gives_the_product(shape: tuple[int, int], rows: int) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal(shape, dtype=np.float32)
    x = random.standard_normal((rows, shape[1]), dtype=np.float32)
    exact = x.astype(np.float64) @ weight.astype(np.float64).T
    # Higham, Accuracy and Stability (3.5): a sum of `in` products, in any order, is off by at most in * eps * sum |x w|
    bound = shape[1] * np.finfo(np.float32).eps * (np.abs(x) @ np.abs(weight).T)
    for layout in layouts(weight):
        y = layout(x)
        assert y.shape == (rows, shape[0])
        assert y.dtype == np.float32
        assert (np.abs(y - exact) <= bound).all(), type(layout).__name__


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_layout_has_its_rows_back(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    weight, which = random.standard_normal(shape, dtype=np.float32), random.integers(0, shape[0], 7)
    for layout in layouts(weight):
        assert np.array_equal(layout.rows(which), weight[which]), type(layout).__name__
        assert layout.rows(which[:0]).shape == (0, shape[1])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_core_and_two_give_the_same_bits(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal(shape, dtype=np.float32)
    for n in (2, 5, 36):
        x = random.standard_normal((n, shape[1]), dtype=np.float32)
        monkeypatch.setattr(linear_module, "blas_threads", lambda: 2)
        two = [layout(weight)(x) for layout in (Rows, Panels.of)]
        monkeypatch.setattr(linear_module, "blas_threads", lambda: 1)
        assert all(np.array_equal(layout(weight)(x), y) for layout, y in zip((Rows, Panels.of), two, strict=True))


@pytest.mark.parametrize("shape", [*SHAPES, (3072, 2), (3073, 2), (50257, 1)], ids=str)
def test_panels_hold_the_weight_and_zeros(shape: tuple[int, int]) -> None:
    weight = 1 + np.random.default_rng(0).random(shape, dtype=np.float32)
    panels = transposed(weight)
    side_by_side = np.concatenate(list(panels), axis=1)
    assert np.array_equal(side_by_side[:, : shape[0]], weight.T)
    assert not side_by_side[:, shape[0] :].any()
    assert panels.shape[2] <= Columns.WIDEST
    assert panels.size - weight.size < len(panels) * shape[1]  # less than a column for each panel


# ---- the choice


@pytest.mark.parametrize("name", ["SkylakeX", "skylakex", "Cooperlake", "SapphireRapids"])
def test_avx512_kernels_take_the_file_s_layout_or_panels_in_float32_only(name: str) -> None:
    assert isinstance(linear(np.ones((3072, 3), np.float32), kernel=name, amd=False), Rows)
    assert isinstance(linear(np.ones((3072, 3), np.float32), kernel=name, amd=True), Panels)
    assert isinstance(linear(np.ones((3, 3), np.float64), kernel=name), Columns)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["Haswell", "Zen", "neoversen1", "unknown"])
def test_other_kernels_get_columns(name: str, dtype: Any) -> None:
    assert isinstance(linear(np.ones((3, 3), dtype), kernel=name), Columns)


@pytest.mark.parametrize(("name", "layout"), [("SkylakeX", Rows), ("SkylakeX AMD", Panels), ("Haswell", Columns)])
def test_without_a_name_the_running_kernel_decides(name: str, layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_on(name, monkeypatch)
    assert isinstance(linear(np.ones((3, 3), np.float32)), layout)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("config", [LLAMA, LLAMA | {"tie_word_embeddings": True}, GPT2], ids=["llama", "llama-tied", "gpt2"])
def test_every_layout_runs_the_whole_model_to_the_same_logits(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, logits = write_folder(tmp_path, config), {}
    for name, layout in (("SkylakeX", Rows), ("SkylakeX AMD", Panels), ("Haswell", Columns)):
        run_on(name, monkeypatch)
        model = refspec.load(folder)
        assert isinstance(model.network.head, layout)
        logits[layout] = model.logits(TOKENS)
    assert 1 < np.abs(logits[Rows]).max() < 20
    # 6e-8 of logits of that size, over a few hundred roundings in another order
    assert np.abs(logits[Columns] - logits[Rows]).max() < 1e-4
    assert np.abs(logits[Panels] - logits[Rows]).max() < 1e-4
