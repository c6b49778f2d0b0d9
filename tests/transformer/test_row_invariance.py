"""`load(row_invariant=True)`: a row's logits have the same bits whatever shares its pass. All comparisons are of bits."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import BIGCODE, GPT2, LLAMA, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import named, run_on
from safetensors.numpy import load_file, save_file

import refspec
from refspec.transformer import gpt2, llama
from refspec.transformer import linear as linear_module
from refspec.transformer.linear import Columns, Panels, Rows, by_blocks, by_panels, counts_agree, linear

KERNELS = ("SkylakeX", "SkylakeX AMD", "Haswell")  # `Rows` and `Panels` where their product agrees, else `Columns`, as the third


@pytest.fixture(autouse=True, scope="module")
def small_limits() -> Iterator[None]:
    """What real weights fill and cross, small ones do here; 11 divides many of the vocabularies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Columns, "WIDEST", 11)
        patch.setattr(linear_module, "TURN", 1)
        patch.setattr(linear_module, "SHARED", 0)
        patch.setattr(linear_module, "blas_threads", lambda: 2)
        yield


def load(config: dict[str, Any], kernel: str, dtype: Any = np.float32, *, row_invariant: bool = True) -> refspec.Model:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        run_on(kernel, patch)
        path = write_folder(Path(folder), config | {"eos_token_id": None}, tokenizer=False)
        return refspec.load(path, dtype=dtype, row_invariant=row_invariant)


def bits(x: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in x]


def one_by_one(model: refspec.Model, tokens: list[int]) -> np.ndarray:
    """[n, v], every token in a pass of its own: plain decoding."""
    cache = model.network.new_cache()
    return np.concatenate([model.network.forward(np.array([token]), cache) for token in tokens])


# ---- any shape, any history


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Shapes that fill no panel, no vector register and no block, beside some that do."""
    sizes = st.integers(1, 80) | st.sampled_from([32, 64])
    size = {"vocab_size": draw(st.integers(2, 80) | st.just(66)), "tie_word_embeddings": draw(st.booleans())}
    groups, shared = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    heads = groups * shared
    if draw(st.booleans()):
        kind = draw(st.sampled_from([GPT2, BIGCODE, BIGCODE | {"multi_query": False}]))
        return kind | size | {"n_embd": heads * draw(st.integers(1, 24)), "n_head": heads, "n_inner": draw(sizes)}
    return LLAMA | {
        **size,
        "model_type": draw(st.sampled_from(["llama", "qwen2", "qwen3"])),
        "hidden_size": draw(sizes),
        "intermediate_size": draw(sizes),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": 2 * draw(st.integers(1, 16)),
    }


histories = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 50)), min_size=2, max_size=5)


@given(
    config=configs(),
    kernel=st.sampled_from(KERNELS),
    dtype=st.sampled_from([np.float32, np.float64]),
    history=histories,
    seed=st.integers(0, 9),
)
@settings(max_examples=60)
def test_any_passes_and_rollbacks_give_the_bits_of_plain_decoding(
    config: dict[str, Any], kernel: str, dtype: Any, history: list[tuple[int, int, int]], seed: int
) -> None:
    """Each step of the history: roll back by so many tokens, then pass so many new ones, and look at the last so many."""
    model = load(config, kernel, dtype)
    random = np.random.default_rng(seed)
    cache = model.network.new_cache()
    tokens: list[int] = []
    for n, last, back in history:
        tokens = tokens[: max(0, len(tokens) - back)]
        cache.rollback(len(tokens))
        new = random.integers(0, config["vocab_size"], n).tolist()
        tokens += new
        logits = model.network.forward(np.array(new), cache, last=min(n, last))
        assert bits(logits) == bits(one_by_one(model, tokens)[-len(logits) :])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "config", [GPT2, BIGCODE, LLAMA, LLAMA | {"vocab_size": 66, "head_dim": 6}], ids=["gpt2", "bigcode", "llama", "odd"]
)
def test_every_number_of_rows(config: dict[str, Any], dtype: Any, kernel: str) -> None:
    model = load(config, kernel, dtype)
    tokens = np.random.default_rng(0).integers(0, config["vocab_size"], 40).tolist()
    alone = bits(one_by_one(model, tokens))
    for n in range(1, 41):
        cache = model.network.new_cache()
        for start in range(0, 40, n):
            rows = np.array(tokens[start : start + n])
            assert bits(model.network.forward(rows, cache, last=len(rows))) == alone[start : start + n]
    assert bits(model.logits(tokens)) == alone


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_a_branch_of_a_tree_has_the_bits_of_its_text_alone(config: dict[str, Any], kernel: str) -> None:
    model = load(config, kernel)
    prefix, left, right = [1, 2, 3], [4, 5, 6], [7, 8]
    cache = model.network.new_cache()
    model.network.forward(np.array(prefix), cache)
    mask = np.ones((5, 8), bool)
    mask[:3, 3:] = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]]
    mask[3:, 3:] = [[0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]
    logits = model.network.forward(np.array(left + right), cache, 5, positions=np.array([3, 4, 5, 3, 4]), mask=mask)
    assert bits(logits) == bits(one_by_one(model, prefix + left)[3:]) + bits(one_by_one(model, prefix + right)[3:])


# ---- what it is for


def near_ties(folder: Path, config: dict[str, Any]) -> Path:
    """A model whose tokens come in pairs, with rows of the head that differ by their last bits: rounding picks the winner."""
    write_folder(folder, config | {"tie_word_embeddings": False}, tokenizer=False)
    tensors = load_file(folder / "model.safetensors")
    head = tensors["lm_head.weight"]
    head[1::2] = np.nextafter(head[::2], np.where(np.arange(head.shape[1]) % 2, 9, -9).astype(np.float32))
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("config", [GPT2 | {"n_embd": 36}, LLAMA], ids=["gpt2", "llama"])
def test_greedy_and_coupled_speculation_print_the_plain_tokens(
    config: dict[str, Any], kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(kernel, monkeypatch)
    model = refspec.load(near_ties(tmp_path / "target", config), row_invariant=True)
    draft = refspec.load(write_folder(tmp_path / "draft", config, seed=1, tokenizer=False))
    prompt = [7, 8, 9] * 9
    for settings_ in ({"temperature": 0.0}, {"temperature": 1.5, "verify": refspec.verify.coupled}):
        asked = {"max_new_tokens": 40, "stop": (), **settings_}
        plain = refspec.generate(model, prompt, **asked)
        for drafter, gamma in itertools.product((refspec.NgramDrafter(), draft, model), (1, 2, 4, 7, 18)):
            out = refspec.generate(model, prompt, drafter=drafter, gamma=gamma, **asked)
            assert out.tokens == plain.tokens
        assert out.stats.accepted_per_drafted == 1  # the model drafting for itself


@pytest.mark.parametrize("kernel", KERNELS)
def test_probabilities_have_the_same_bits_as_well(kernel: str) -> None:
    """The law that rules and races see is made from the logits row by row too."""
    model = load(LLAMA | {"vocab_size": 77}, kernel)
    tokens = tuple(np.random.default_rng(0).integers(0, 77, 30).tolist())
    warps = {"temperature": 0.8, "top_k": 50, "top_p": 0.9, "min_p": 0.01}
    alone = model.language_model(**warps)
    expected = [alone.probs(tokens[:n])[0].tobytes() for n in range(1, 31)]
    for last in (1, 2, 5, 9, 30):
        assert bits(model.language_model(**warps).probs(tokens, last)) == expected[-last:]


# ---- the products


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(3, 1), (40, 33), (45, 576), (1155, 576), (45, 1536)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_weight_gives_a_row_the_same_bits_whatever_is_beside_it(
    order: Any, dtype: Any, shape: tuple[int, int], kernel: str
) -> None:
    """Widths of real models, where an ordinary product adds up a row in several blocks; and rows that lie column by column."""
    random = np.random.default_rng(0)
    weight, x = random.standard_normal(shape).astype(dtype), random.standard_normal((130, shape[1])).astype(dtype, order=order)
    product = linear(weight, row_invariant=True, **named(kernel))
    alone = bits(np.concatenate([product(row[None]) for row in x]))
    for n in (*range(2, 20), 31, 96, 130):
        assert bits(product(x[-n:])) == alone[-n:]


@pytest.mark.parametrize("out", [1, 32, 77, 3072])
@pytest.mark.parametrize("width", [1, 33, 576, 4096])
@pytest.mark.parametrize(("layout", "multiply"), [(Rows, by_blocks), (Panels.of, by_panels)], ids=["rows", "panels"])
def test_no_number_of_rows_is_used_that_was_not_tried(
    layout: Any, multiply: Any, out: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[tuple[int, int]] = set()
    original = np.matmul

    def watched(x: np.ndarray, weight: np.ndarray, out: np.ndarray) -> np.ndarray:
        used.add((len(x), weight.shape[-1]))
        return original(x, weight, out)

    monkeypatch.setattr(np, "matmul", watched)
    if not counts_agree(multiply, out, width):
        pytest.skip("the product of this BLAS kernel differs from place to place, so that it is not used")
    tried = used.copy()
    used.clear()
    product = layout(np.ones((out, width), np.float32), row_invariant=True)
    for n in (*range(1, 40), 100):
        assert product(np.ones((n, width), np.float32)).shape == (n, out)
    assert used <= tried


def last_place_differs(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What the fifth and sixth row meet on other kernels: another order of additions."""
    y, half = x @ weight.T, x.shape[1] // 2
    y[5:] = x[5:, :half] @ weight[:, :half].T + x[5:, half:] @ weight[:, half:].T
    return y


def number_of_rows_matters(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    half = x.shape[1] // 2
    return x @ weight.T if len(x) < 9 else x[:, :half] @ weight[:, :half].T + x[:, half:] @ weight[:, half:].T


AVX512 = [("SkylakeX", "by_blocks", Rows), ("SkylakeX AMD", "by_panels", Panels)]


@pytest.mark.parametrize("product", [last_place_differs, number_of_rows_matters])
@pytest.mark.parametrize(("kernel", "name", "layout"), AVX512)
def test_a_product_whose_rows_differ_is_not_used(
    product: Any, kernel: str, name: str, layout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_module, name, product)
    weight = np.ones((132, 48), np.float32)  # says nothing about rounding: the numbers that are tried are not the weight's
    found = linear(weight, row_invariant=True, **named(kernel))
    assert isinstance(found, Columns)
    assert found.row_invariant
    assert isinstance(linear(weight, **named(kernel)), layout)


@pytest.mark.parametrize(("kernel", "name", "layout"), AVX512)
def test_a_product_whose_rows_agree_is_used(kernel: str, name: str, layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_module, name, lambda x, weight: np.stack([weight @ row for row in x]))
    assert isinstance(linear(np.ones((64, 48), np.float32), row_invariant=True, **named(kernel)), layout)


# ---- without it


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_without_the_flag_nothing_of_it_runs(config: dict[str, Any], kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("this belongs to row_invariant")

    monkeypatch.setattr(linear_module, "counts_agree", refuse)
    for family in (gpt2, llama):
        monkeypatch.setattr(family, "attention_by_row", refuse)
    model = load(config, kernel, row_invariant=False)
    assert not model.network.row_invariant
    assert not model.network.head.row_invariant
    assert model.logits([1, 2, 3] * 40).shape == (120, 264)


@pytest.mark.parametrize("n", [5, 16, 17, 36, 37, 120])
def test_without_the_flag_every_layout_multiplies_its_rows_at_once(n: int) -> None:
    random = np.random.default_rng(0)
    weight, x = (random.standard_normal(shape, dtype=np.float32) for shape in [(64, 40), (n, 40)])
    filled = np.concatenate([x, np.zeros((-n % 8, 40), np.float32)])
    columns = linear(weight, **named("Haswell"))
    side_by_side = np.concatenate([filled @ panel for panel in columns.weight], axis=1)
    assert np.array_equal(columns(x), side_by_side[:n, :64])
    at_once = np.concatenate([x @ block.T for block in weight.reshape(2, 32, 40)], axis=1) if n <= Rows.FEW else x @ weight.T
    assert np.array_equal(Rows(weight)(x), at_once)
    panels = Panels.of(weight)
    filled = np.concatenate([x, np.zeros((6 - n if 2 < n < 6 else n % 2, 40), np.float32)])
    if n < Panels.MANY:
        at_once = np.concatenate([filled @ panel for panel in panels.weight], axis=1)[:n]
    else:
        at_once = x @ np.concatenate(list(panels.weight), axis=1)
    assert np.array_equal(panels(x), at_once)
