"""`refspec compare` and `golden`: right numbers agree in float32 and float64, and a planted error is named where it was made."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import BIGCODE, GPT2, GRANITE, LLAMA, write_folder
from mutants.planting import patched
from safetensors.numpy import load_file, save_file

from refspec.arrays import Array
from refspec.cli.main import main
from refspec.models import home
from refspec.models.activations import Comparison, compare
from refspec.transformer import plain
from refspec.transformer.rounding import TYPES

FAMILIES = {
    "gpt2": GPT2,
    "gpt2-untied": {**GPT2, "tie_word_embeddings": False, "activation_function": "gelu"},
    "bigcode": BIGCODE,
    "llama": LLAMA,
    "llama-tied": {**LLAMA, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    "qwen2": {**LLAMA, "model_type": "qwen2"},
    "qwen3": {**LLAMA, "model_type": "qwen3", "head_dim": 10},
    "granite": GRANITE,
}
TOKENS = np.random.default_rng(0).integers(0, 264, 40)
PLAIN = "refspec.transformer.plain"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: write_folder(root / name, config, tokenizer=False) for name, config in FAMILIES.items()}


def recorded(path: Path, found: dict[str, Array], dtype: Any = np.float32, tokens: Array = TOKENS) -> Path:
    """What an engine would write, with the front of Hugging Face's names, and an axis for the batch."""
    save_file({"input_ids": tokens[None], **{f"model.{name}": each.astype(dtype)[None] for name, each in found.items()}}, path)
    return path


def engine(
    folder: Path, logits: Callable[..., Array] = plain.logits, kind: str = "float32", tokens: Array = TOKENS, **changed: Any
) -> dict[str, Array]:
    """All modules, each from the one before, as an engine computes them. changed: numbers of the configuration."""
    weights, config = plain.read(folder)
    of = TYPES[kind].of
    found: dict[str, Array] = {}

    def see(name: str, result: Array) -> Array:
        found[name] = of(result)
        return found[name]

    logits(tokens, {name: of(each) for name, each in weights.items()}, replace(config, **changed), see)
    return found


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("float32", np.float32),
        ("float32", np.float64),
        ("float16", np.float16),
        ("float16", np.float32),
        ("bfloat16", np.float32),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_engine_differs_nowhere(family: str, kind: str, dtype: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    """Also where its numbers of 16 bits were widened for the file."""
    found = compare(folders[family], recorded(tmp_path / "file", engine(folders[family], kind=kind), dtype))
    assert (found.first, found.type) == (None, kind)
    assert (found.absent, found.unknown) == ((), ())
    assert len(found.modules) > 15


def test_powers_of_float32_are_explained(tmp_path: Path) -> None:
    """A base raised in float32, as transformers does, is off by several roundings, which a long text multiplies."""
    folder = write_folder(tmp_path / "model", {**LLAMA, "head_dim": 64, "rope_theta": 5e5, "num_hidden_layers": 1})
    frequencies = "np.float32(1) / np.float32(config.rope_theta) ** (np.arange(0, 64, 2, dtype=np.float32) / 64)"
    in_float32 = patched(PLAIN, ("rotary_frequencies(config))", f"{frequencies})")).logits
    tokens = np.arange(250)
    found = compare(folder, recorded(tmp_path / "file", engine(folder, in_float32, tokens=tokens), tokens=tokens))
    assert found.first is None


def first(comparison: Comparison) -> str:
    assert comparison.first is not None
    return comparison.first.name


# the source of an engine with one line wrong: family, old, new, the module that must be named
GPT2_ATTENDED = "merge_heads(attention(queries, keys, values, e**-0.5))"
WRONG = {
    "gpt2 positions from 1": ("gpt2", '"wpe.weight"][: len(tokens)]', '"wpe.weight"][1 : len(tokens) + 1]', "wpe"),
    "gpt2 bias of one layer missing": (
        "gpt2",
        '+ weights[f"{name}.bias"]',
        '+ weights[f"{name}.bias"] * (name != "h.1.mlp.c_fc")',
        "h.1.mlp.c_fc",
    ),
    "gpt2 heads swapped": (
        "gpt2",
        GPT2_ATTENDED,
        GPT2_ATTENDED.replace("e**-0.5)", "e**-0.5)[[1, 0, *range(2, h)] if i else slice(None)]"),
        "h.1.attn.c_proj.input",
    ),
    "gpt2 no residual in one layer": (
        "gpt2",
        'x + linear(attended, f"{attn}.c_proj")',
        'x * (i != 1) + linear(attended, f"{attn}.c_proj")',
        "h.1.ln_2",
    ),
    "gpt2 a doubled MLP": ("gpt2", 'x + linear(inner, f"{mlp}.c_proj")', 'x + 2 * linear(inner, f"{mlp}.c_proj")', "h.0"),
    "gpt2 silu for gelu": ("gpt2", "exact_gelu if config.exact_gelu else gelu", "silu", "h.0.mlp.act"),
    "llama positions from 1": ("llama", "np.arange(len(tokens))", "np.arange(1, len(tokens) + 1)", "rotary_emb.0"),
    "llama keys dealt in turn": (
        "llama",
        "np.repeat(each, h // g, axis=0) for each in (keys, values))  # [h, n, e]: h",
        "np.tile(each, (h // g, 1, 1)) for each in (keys, values))  # [h, n, e]: h",
        "layers.0.self_attn.o_proj.input",
    ),
    "llama values rotated": (
        "llama",
        "queries, keys = rotate(queries, cos, sin), rotate(keys, cos, sin)",
        "queries, keys, values = (rotate(each, cos, sin) for each in (queries, keys, values))",
        "layers.0.self_attn.o_proj.input",
    ),
    "llama gelu for silu": ("llama", "silu(linear", "gelu(linear", "layers.0.mlp.act_fn"),
    "llama gate and up added": ("llama", "gate * linear", "gate + linear", "layers.0.mlp.down_proj.input"),
    "llama last norm left out": ("llama", 'norm(x, "norm") @', 'see("norm", x) @', "norm"),
    "bias of queries missing": (
        "llama-tied",
        'weights.get(f"{name}.bias", 0)',
        '(0 if name == "layers.1.self_attn.q_proj" else weights[f"{name}.bias"])',
        "layers.1.self_attn.q_proj",
    ),
}
SMALL = {  # 5e-4 at most, which bfloat16 rounds away
    "gpt2 exact gelu for its tanh form": ("gpt2", "exact_gelu if config.exact_gelu else gelu", "exact_gelu", "h.0.mlp.act"),
}
FINE = [(what, "float32") for what in SMALL] + [("llama gelu for silu", "float16"), ("gpt2 positions from 1", "float16")]


@pytest.mark.parametrize(("what", "kind"), [(what, kind) for what in WRONG for kind in ("float32", "bfloat16")] + FINE)
def test_a_planted_error_is_named_where_it_was_made(what: str, kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    family, old, new, module = (WRONG | SMALL)[what]
    wrong = engine(folders[family], patched(PLAIN, (old, new)).logits, kind)
    found = compare(folders[family], recorded(tmp_path / "file", wrong))
    assert (found.type, first(found)) == (kind, module)


@pytest.mark.parametrize(
    ("family", "changed", "module"),
    [
        ("gpt2", {"norm_eps": 2e-5}, "h.0.ln_1"),
        ("llama", {"norm_eps": 2e-5}, "layers.0.input_layernorm"),
        ("llama", {"rope_theta": 10100.0}, "rotary_emb.0"),
        ("granite", {"attention_scale": 10**-0.5}, "layers.0.self_attn.o_proj.input"),
        ("granite", {"residual_multiplier": 1.0}, "layers.0.post_attention_layernorm"),
    ],
)
def test_a_wrong_number_is_named_too(
    family: str, changed: dict[str, float], module: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    assert first(compare(folders[family], recorded(tmp_path / "file", engine(folders[family], **changed)))) == module


@pytest.mark.parametrize(
    ("family", "changed", "module"),
    [
        ("gpt2", {"norm_eps": 0.05}, "h.0.ln_1"),
        ("llama", {"norm_eps": 0.05}, "layers.0.input_layernorm"),
        ("llama", {"rope_theta": 20000.0}, "rotary_emb.0"),
        ("granite", {"attention_scale": 10**-0.5}, "layers.0.self_attn.o_proj.input"),
        ("granite", {"residual_multiplier": 1.0}, "layers.0.post_attention_layernorm"),
    ],
)
def test_in_bfloat16_a_number_has_to_be_further_off(
    family: str, changed: dict[str, float], module: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    file = recorded(tmp_path / "file", engine(folders[family], kind="bfloat16", **changed))
    assert first(compare(folders[family], file)) == module


def test_where_rotary_embeddings_were_not_recorded_attention_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    wrong = engine(folders["llama"], rope_theta=20000.0)
    del wrong["rotary_emb.0"], wrong["rotary_emb.1"]
    found = compare(folders["llama"], recorded(tmp_path / "file", wrong))
    assert first(found) == "layers.0.self_attn.o_proj.input"
    assert "rotation" in found.first.cause  # type: ignore[union-attr]
    assert found.absent == ("rotary_emb.0", "rotary_emb.1")


def test_an_error_does_not_travel(folders: dict[str, Path], tmp_path: Path) -> None:
    """One module is wrong, all that follows is computed from it, and it alone differs."""

    def logits(tokens: Array, weights: plain.Weights, config: Any, see: plain.See) -> Array:
        def spoil(name: str, result: Array) -> Array:
            return see(name, result * 1.001 if name == "h.0.mlp.act" else result)

        return plain.logits(tokens, weights, config, spoil)

    seen = engine(folders["gpt2"], logits)
    found = compare(folders["gpt2"], recorded(tmp_path / "file", seen))
    assert [each.name for each in found.modules if each.differs] == ["h.0.mlp.act"]


# ---- the commands


def run_command(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(arguments)
    return code, *capsys.readouterr()


def test_golden_agrees_with_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, model = str(tmp_path / "golden.safetensors"), ["--model", "tiny-draft"]
    code, said, _ = run_command("golden", *model, "--ids", "3,1,4,1,5,3,1,4", "--rounds", "3", "--out", out, capsys=capsys)
    assert (code, said) == (0, f"{out}: 13 modules, in float64, and the cache after 3 rounds\n")
    code, said, _ = run_command("compare", *model, "--activations", out, capsys=capsys)
    assert (code, said) == (0, "13 modules compared: none differs by more than 8 times what float32 rounds there\n")

    file = load_file(out)
    assert file["transformer.wte"].dtype == np.float64
    cached, keys = file["cache.ids"], file["cache.0.keys"]
    assert cached[:8].tolist() == [3, 1, 4, 1, 5, 3, 1, 4]
    # a text and its cache: layer 0's keys are a function of each token and its place
    weights, config = plain.read(home.find("tiny-draft"))
    seen: dict[str, Array] = {}
    plain.logits(cached, weights, config, seen.setdefault)
    expected = np.split(plain.split_heads(seen["h.0.attn.c_attn"], 3 * config.heads), 3)[1]
    assert keys.shape == expected.shape
    assert np.abs(keys - expected).max() < 1e-12  # the same float64 sums in another order


def test_a_difference_is_exit_code_1(folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = engine(folders["llama"], norm_eps=2e-5)
    wrong["layers.1"][0, 0] = np.nan
    file = str(recorded(tmp_path / "file", wrong))
    code, said, _ = run_command("compare", "--model", str(folders["llama"]), "--activations", file, capsys=capsys)
    assert code == 1
    assert "layers.0.input_layernorm is the first that differs; look at the norm: its epsilon or weight" in said
    code, said, _ = run_command("compare", "--model", str(folders["llama"]), "--activations", file, "--json", capsys=capsys)
    told = json.loads(said)
    assert (code, told["first"]) == (1, "layers.0.input_layernorm")
    assert next(each["error"] for each in told["modules"] if each["name"] == "layers.1") is None  # NaN


def test_what_is_no_module_of_ours_is_counted_and_never_read(folders: dict[str, Path], tmp_path: Path) -> None:
    found = engine(folders["gpt2"])
    more = {"position_ids": np.arange(40), "mask": np.ones((40, 40), bool), "h.7.ln_1": np.ones((40, 32))}
    save_file({"input_ids": TOKENS, **found, **more}, tmp_path / "file")
    comparison = compare(folders["gpt2"], tmp_path / "file")
    assert (comparison.first, comparison.unknown) == (None, ("h.7.ln_1", "mask", "position_ids"))


def test_numbers_beyond_float32_are_null_in_json(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {name: each * 1e300 for name, each in engine(folders["llama"], kind="float64").items()}
    file = str(recorded(tmp_path / "file", found, np.float64))
    code, said, _ = run_command("compare", "--model", str(folders["llama"]), "--activations", file, "--json", capsys=capsys)
    told = json.loads(said)
    assert (code, told["first"]) == (1, "embed_tokens")
    assert any(each["allowed"] is None for each in told["modules"])


@pytest.mark.parametrize("command", ["compare", "golden"])
def test_a_damaged_model_is_one_line(
    command: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "model", LLAMA, tokenizer=False)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    file = str(recorded(tmp_path / "file", {"norm": np.zeros((40, 32))}))
    more = ("--activations", file) if command == "compare" else ("--ids", "1", "--out", str(tmp_path / "out"))
    code, said, error = run_command(command, "--model", str(folder), *more, capsys=capsys)
    assert (code, said, error.count("\n")) == (2, "", 1)
    assert "lacks the tensor model.layers.1.mlp.up_proj.weight" in error


def bad_files() -> dict[str, tuple[dict[str, Array], str]]:
    ids = np.array([1, 2, 3])
    return {
        "no ids": ({"wte": np.zeros((3, 32))}, "has no input_ids"),
        "two texts": ({"input_ids": np.ones((2, 3), np.int64)}, "input_ids has shape [2, 3]; give one text"),
        "float ids": ({"input_ids": np.ones(3)}, "input_ids is F64; it has to be I64 or I32"),
        "whole numbers": (
            {"input_ids": ids, "wte": np.zeros((3, 32), np.int64)},
            "wte is I64; it has to be one of F64, F32, F16",
        ),
        "one name twice": ({"input_ids": ids, "wte": ids / 3, "model.wte": ids / 3}, "has wte twice, with and without"),
        "another id": ({"input_ids": np.array([264]), "wte": np.zeros((1, 32))}, "264 is not in the vocabulary"),
        "another shape": ({"input_ids": ids, "wte": np.zeros((3, 31))}, "wte has shape [3, 31]; it is [3, 32]"),
        "no module": ({"input_ids": ids, "tte": np.zeros((3, 32))}, "has none of the modules below the head, such as wte"),
        "another model": (
            {"input_ids": ids, "lm_head": np.zeros((3, 264)), "layers.0": np.zeros((3, 32))},
            "it has ('layers.0',): is it of another model",
        ),
        "too long": ({"input_ids": np.ones(257, np.int64)}, "257 input_ids for a model with a context of 256"),
    }


@pytest.mark.parametrize("what", bad_files())
def test_a_bad_file_is_one_line(what: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors, message = bad_files()[what]
    save_file(tensors, tmp_path / "file")
    arguments = "compare", "--model", str(folders["gpt2"]), "--activations", str(tmp_path / "file")
    code, said, error = run_command(*arguments, capsys=capsys)
    assert (code, said, error.count("\n")) == (2, "", 1)
    assert message in error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--ids", "1,x"], "--ids is '1,x'; give token ids with commas between"),
        (["--ids", "1024"], "token id 1024 is not in the vocabulary"),
        (["--ids", "1", "--rounds", "-1"], "--rounds is -1; it is a whole number"),
        (["--ids", ",".join(["1"] * 257)], "257 tokens for a model with a context of 256"),
        (["--ids", ",".join(["1"] * 255), "--rounds", "9"], "--rounds is 9; the context of 256 ends after 1: give no more"),
    ],
)
def test_golden_refuses_in_one_line(more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, error = run_command("golden", "--model", "tiny-draft", "--out", str(tmp_path / "file"), *more, capsys=capsys)
    assert (code, said, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not (tmp_path / "file").exists()


def test_a_place_that_cannot_be_written_and_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere, text = str(tmp_path / "no" / "file"), tmp_path / "text"
    text.write_text("no tensors at all")
    for arguments, message in (
        (("golden", "--ids", "1", "--out", nowhere), "No such file or directory"),
        (("compare", "--activations", nowhere), "cannot be read"),
        (("compare", "--activations", str(text)), "write it again"),
    ):
        code, said, error = run_command(*arguments, "--model", "tiny-draft", capsys=capsys)
        assert (code, said, error.count("\n")) == (2, "", 1)
        assert message in error
