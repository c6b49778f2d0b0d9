"""Weights from disk to the product: every stored type to the bit, shards, one copy in memory, and layouts that agree."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder
from safetensors.numpy import load_file, save_file

import refspec
from refspec.transformer import linear as linear_module
from refspec.transformer import panels as panels_module
from refspec.transformer.linear import Linear, Rows, WidePanels, linear
from refspec.transformer.panels import Panels
from refspec.transformer.shelf import Shelf
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
    plain = network.embedding.take(np.arange(264))
    noise = 1e-9 * np.random.default_rng(0).standard_normal(plain.shape)

    def logits(embedding: np.ndarray) -> np.ndarray:
        changed = replace(network, embedding=Rows.of(embedding))
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


def owned(array: np.ndarray) -> np.ndarray:
    """The array whose memory this one looks at."""
    return array if array.base is None else owned(array.base)


def test_rows_keeps_the_array_that_was_read(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"x": ("F32", np.ones((130, 70), np.float32))})
    read = Checkpoint(tmp_path).read("x", 130, 70)
    kept = linear(read, kernel="Haswell")
    assert isinstance(kept, Rows)
    assert np.shares_memory(kept.weight, read)
    assert owned(kept.weight).nbytes == 4 * 130 * 70


@pytest.mark.parametrize("layout", [Rows, WidePanels, Panels])
def test_a_transposed_weight_lets_go_of_the_array_it_came_from(layout: Any) -> None:
    """GPT-2 stores [in, out]: what is kept must not be a view that holds the file's order in memory as well."""
    stored = np.ones((8, 3072), np.float32)  # both kinds of panel are full, so nothing is filled up
    kept = layout.of(stored.T)
    assert not np.shares_memory(kept.weight, stored)
    assert owned(kept.weight).nbytes == (stored.nbytes if layout is Rows else Shelf.BLOCK)


def test_a_shelf_gives_everyone_positions_left_their_own() -> None:
    shelf = Shelf()
    sizes = [(3, 5), (1,), (0, 4), (2, 2, 2), (Shelf.BLOCK // 4,), (7,), (Shelf.BLOCK // 4 + 1,), (3,)]
    given = [shelf.zeros(size, np.float32) for size in sizes]
    for i, array in enumerate(given):
        assert array.shape == sizes[i]
        assert array.ctypes.data % Shelf.ALIGNED == owned(array).ctypes.data % Shelf.ALIGNED
        array[...] = i + 1
    for i, array in enumerate(given):
        assert (array == i + 1).all()
    assert owned(given[0]) is owned(given[3])
    assert owned(given[0]) is not owned(given[4])


@pytest.mark.parametrize("config", [LLAMA | {"tie_word_embeddings": True}, GPT2], ids=["llama", "gpt2"])
def test_a_tied_head_is_the_embedding_itself(config: dict[str, Any], tmp_path: Path) -> None:
    network = refspec.load(write_folder(tmp_path, config)).network
    assert network.head is network.embedding


# ---- three layouts of one product

SHAPES = [(1, 1), (11, 700), (63, 5), (64, 64), (66, 33), (132, 576), (264, 32)]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide panels that small weights fill: 11 divides several of the shapes here, and of the models' only the vocabulary."""
    monkeypatch.setattr(WidePanels, "WIDTH", 11)


def layouts(weight: np.ndarray) -> list[Linear]:
    """The weight in every layout that can hold it."""
    wide = [WidePanels.of(weight)] if len(weight) % WidePanels.WIDTH == 0 else []
    return [Rows.of(weight), Panels.of(weight), *wide]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("rows", [*range(1, 11), 16, 17, 31, 40])
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


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("rows", [23, 101])  # the second are many, for which `Panels` copies blocks of the weight
@pytest.mark.parametrize("row_by_row", [0, 30])
def test_blocks_and_row_limits_are_crossed(row_by_row: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a real weight needs, on a small one: several blocks of `Rows` and of `Panels`, and several turns of these."""
    random = np.random.default_rng(0)
    # whole numbers: every sum is exact, so the order of summation cannot matter and equality is the test
    weight, x = (random.integers(-8, 9, shape).astype(np.float32) for shape in [(154, 40), (rows, 40)])
    monkeypatch.setattr(Rows, "BLOCK_BYTES", 7 * 40 * 4)
    monkeypatch.setattr(linear_module, "ROW_BY_ROW", row_by_row)
    monkeypatch.setattr(Panels, "BOUND", 5 * 40 * 64)
    monkeypatch.setattr(panels_module, "BLOCK", 2)  # of five
    found = layouts(weight)
    assert len(found) == 3
    for layout in found:
        y = layout(x)
        assert y.dtype == np.float32
        assert np.array_equal(y, x @ weight.T), type(layout).__name__


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_take_is_rows_of_the_weight(shape: tuple[int, int]) -> None:
    weight = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    ids = np.array([*range(shape[0]), shape[0] - 1, 0, 0])
    for layout in layouts(weight):
        assert layout.shape == shape
        assert np.array_equal(layout.take(ids), weight[ids]), type(layout).__name__


# ---- the choice


@pytest.mark.parametrize("name", ["SkylakeX", "skylakex", "Cooperlake", "SapphireRapids"])
def test_avx512_kernels_get_panels_in_float32_only(name: str) -> None:
    assert isinstance(linear(np.ones((3072, 3), np.float32), kernel=name), Panels)
    assert isinstance(linear(np.ones((3, 3), np.float32), kernel=name), Panels)
    assert isinstance(linear(np.ones((3, 3), np.float64), kernel=name), Rows)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["Haswell", "Zen", "neoversen1", "unknown"])
@pytest.mark.parametrize(
    ("shape", "layout"),
    [((22, 11), WidePanels), ((22, 12), Rows), ((23, 11), Rows), ((11, 11), Rows), ((11, 1), WidePanels)],
    ids=str,
)
def test_other_kernels_choose_by_shape(shape: tuple[int, int], layout: Any, name: str, dtype: Any) -> None:
    assert isinstance(linear(np.ones(shape, dtype), kernel=name), layout)


@pytest.mark.parametrize(("name", "layout"), [("SkylakeX", Panels), ("Haswell", Rows)])
def test_without_a_name_the_running_kernel_decides(name: str, layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_module, "blas_kernel", lambda: name)
    assert isinstance(linear(np.ones((3, 3), np.float32)), layout)


@pytest.mark.parametrize("config", [LLAMA, LLAMA | {"tie_word_embeddings": True}, GPT2], ids=["llama", "llama-tied", "gpt2"])
def test_every_layout_runs_the_whole_model_to_the_same_logits(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, logits = write_folder(tmp_path, config), {}
    for name, wide, layout in (("SkylakeX", 3072, Panels), ("Haswell", 3072, Rows), ("Haswell", 11, WidePanels)):
        monkeypatch.setattr(linear_module, "blas_kernel", lambda name=name: name)
        monkeypatch.setattr(WidePanels, "WIDTH", wide)
        model = refspec.load(folder)
        assert {type(model.network.embedding), type(model.network.head)} == {layout}
        logits[layout] = model.logits(TOKENS)
    assert 1 < np.abs(logits[Rows]).max() < 20
    # 6e-8 of logits of that size, over a few hundred roundings in another order
    assert np.abs(logits[Panels] - logits[Rows]).max() < 1e-4
    assert np.abs(logits[WidePanels] - logits[Rows]).max() < 1e-4
