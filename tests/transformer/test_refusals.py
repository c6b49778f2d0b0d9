"""Bad input: each thing that can be wrong with a model folder ends in a named exception whose one line names it.

Every test starts from a folder that loads and breaks one thing, so the refusal is of that thing.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import BIGCODE, GPT2, LLAMA, write_folder
from safetensors.numpy import load_file, save_file

import refspec
from refspec.errors import BadConfig, BadTokenizer, BadWeights, ModelNotFound, RefspecError, UnsupportedModel
from refspec.transformer.config import read_config

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
QWEN2 = LLAMA | {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False, "max_window_layers": 28}
QWEN3 = QWEN2 | {"model_type": "qwen3", "head_dim": 8, "layer_types": ["full_attention"] * 2}
MULTIPLIERS = ("embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling")
GRANITE = LLAMA | {"model_type": "granite"} | dict.fromkeys(MULTIPLIERS, 0.5)
LLAMA3 = {key: value for key, value in LLAMA.items() if key != "rope_theta"}
LLAMA3 |= {"rope_parameters": LLAMA3_ROPE | {"rope_theta": 10000.0}}
FAMILIES = {
    "gpt2": GPT2,
    "gpt_bigcode": BIGCODE,
    "llama": LLAMA,
    "llama3": LLAMA3,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "granite": GRANITE,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model")


def refused(folder: Path | str, kind: type[RefspecError], *named: str) -> None:
    """Loading raises exactly `kind`, in one printable line that has all of `named` in it, or the beginning of what is long."""
    with pytest.raises(RefspecError, match="".join(f"(?=.*{re.escape(each[:60])})" for each in named)) as caught:
        refspec.load(folder)
    assert type(caught.value) is kind, caught.value
    assert str(caught.value).isprintable()  # so it is one line


def outcome(read: Callable[[Path], object], folder: Path) -> type[RefspecError] | None:
    """The kind of refusal, in one printable line; None where it was read. Any other exception goes through."""
    refusal = None
    try:
        read(folder)
    except RefspecError as error:
        refusal = error
    assert str(refusal).isprintable()
    return None if refusal is None else type(refusal)


def reconfigured(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_refusals_start_from_loads(family: str, tmp_path: Path) -> None:
    assert refspec.load(write_folder(tmp_path, FAMILIES[family])).config.model_type == FAMILIES[family]["model_type"]


# ---- config.json: other mathematics

OTHER_MATHEMATICS = [
    ("llama", {"model_type": "mistral"}),
    ("llama", {"model_type": None}),
    ("llama", {"model_type": ["llama"]}),
    ("llama", {"model_type": "Llama"}),
    ("llama", {"no_rope_layers": [1, 0]}),
    ("llama", {"quantization_config": {"quant_method": "gptq", "bits": 4}}),
    ("gpt2", {"quantization_config": {"quant_method": "bitsandbytes"}}),
    ("llama", {"partial_rotary_factor": 0.5}),
    ("llama", {"rope_interleaved": True}),
    ("llama", {"is_causal": False}),
    ("qwen3", {"is_causal": False}),
    ("gpt2", {"is_causal": False}),
    ("llama", {"sliding_window": 128}),
    ("qwen2", {"use_sliding_window": True}),
    ("qwen3", {"use_sliding_window": True}),
    ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}),
    ("llama", {"layer_types": ["linear_attention", "full_attention"]}),
    ("llama", {"hidden_act": "gelu"}),
    ("qwen2", {"hidden_act": "gelu_pytorch_tanh"}),
    ("granite", {"hidden_act": "relu"}),
    ("llama", {"final_logit_softcapping": 30.0}),
    ("llama", {"num_local_experts": 8}),
    ("llama", {"logits_scaling": 8.0}),  # Granite's
    ("qwen2", {"attention_bias": True}),
    ("qwen3", {"mlp_bias": True}),
    ("gpt2", {"activation_function": "relu"}),
    ("gpt2", {"activation_function": "gelu_10"}),  # clipped
    ("gpt2", {"activation_function": "quick_gelu"}),  # by a sigmoid
    ("gpt2", {"multi_query": True}),  # GPT-BigCode's
    ("gpt_bigcode", {"activation_function": "relu"}),
    ("gpt_bigcode", {"scale_attn_weights": False}),
    ("gpt_bigcode", {"add_cross_attention": True}),
    ("gpt_bigcode", {"num_local_experts": 8}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ("gpt2", {"scale_attn_weights": False}),
    ("gpt2", {"add_cross_attention": True}),
    ("gpt2", {"rope_theta": 10000.0}),
]


@pytest.mark.parametrize(("family", "change"), OTHER_MATHEMATICS, ids=str)
def test_other_mathematics_is_refused_by_name(family: str, change: dict[str, Any], tmp_path: Path) -> None:
    folder = reconfigured(write_folder(tmp_path, FAMILIES[family]), FAMILIES[family] | change)
    ((key, value),) = change.items()
    shown = next(each for each in value if each != "full_attention") if key == "layer_types" else value
    refused(folder, UnsupportedModel, "config.json", key, repr(shown))


@pytest.mark.parametrize("kind", ["yarn", "linear", "dynamic", "longrope", "", 3])
@pytest.mark.parametrize("spelling", ["rope_type", "type"])
@pytest.mark.parametrize("where", ["rope_scaling", "rope_parameters"])
def test_other_rope_scalings_are_refused(where: str, spelling: str, kind: Any, folder: Path) -> None:
    reconfigured(folder, LLAMA | {where: {spelling: kind, "factor": 2.0}})
    refused(folder, UnsupportedModel, "config.json", "rope_type", repr(kind))


@pytest.mark.parametrize("extra", [{"partial_rotary_factor": 0.5}, {"attention_factor": 0.7}, {"mscale": 1.0}], ids=str)
@pytest.mark.parametrize("rope", [LLAMA3_ROPE, {"rope_type": "default"}], ids=["llama3", "default"])
def test_unknown_keys_of_a_rope_scaling_are_refused(rope: dict[str, Any], extra: dict[str, Any], folder: Path) -> None:
    reconfigured(folder, LLAMA | {"rope_parameters": rope | extra})
    refused(folder, UnsupportedModel, "config.json", *extra, repr(*extra.values()))


# The keys beside the sizes, as these models have them on the Hugging Face hub.
PUBLISHED: dict[str, tuple[dict[str, Any], str]] = {
    "distilgpt2": (
        GPT2,
        """{"_num_labels": 1, "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
        "embd_pdrop": 0.1, "id2label": {"0": "LABEL_0"}, "initializer_range": 0.02, "label2id": {"LABEL_0": 0},
        "layer_norm_epsilon": 1e-05, "n_ctx": 1024, "resid_pdrop": 0.1, "summary_activation": null,
        "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
        "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}}""",
    ),
    "gpt2-medium": (
        GPT2,
        """{"activation_function": "gelu_new", "n_special": 0, "predict_special_tokens": true, "n_inner": null,
        "reorder_and_upcast_attn": false, "scale_attn_by_inverse_layer_idx": false, "scale_attn_weights": true,
        "gradient_checkpointing": false, "transformers_version": "4.12.5", "use_cache": true}""",
    ),
    "gpt2-xl": (GPT2, """{"output_past": true, "_name_or_path": "gpt2-xl"}"""),
    "smollm2": (
        LLAMA,
        """{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "hidden_act": "silu",
        "initializer_range": 0.041, "is_llama_config": true, "mlp_bias": false, "pad_token_id": 2, "pretraining_tp": 1,
        "rope_interleaved": false, "rope_scaling": null, "torch_dtype": "bfloat16", "use_cache": true,
        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}}}""",
    ),
    "llama-3.2": (
        LLAMA,
        """{"head_dim": 8, "eos_token_id": [256, 257, 258], "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
        "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0}""",
    ),
    "qwen3": (
        QWEN3,
        """{"sliding_window": null, "layer_types": null, "attention_bias": false, "attention_dropout": 0.0,
        "rope_scaling": null, "rope_theta": 1000000, "max_window_layers": 28}""",
    ),
    "granite-3": (GRANITE, """{"attention_bias": false, "mlp_bias": false, "rope_scaling": null, "logits_scaling": 16.0}"""),
    "transformers-5": (LLAMA3, """{"dtype": "float32", "transformers_version": "5.23.0", "pad_token_id": null}"""),
    "old": (GPT2, """{"torchscript": false, "use_bfloat16": false, "is_decoder": false, "finetuning_task": null}"""),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_harmless_keys_are_accepted(name: str, tmp_path: Path) -> None:
    config, published = PUBLISHED[name]
    refspec.load(reconfigured(write_folder(tmp_path, config), config | json.loads(published)))


# ---- config.json: values that are none

SIZES = {
    "gpt2": ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"],
    "llama": [
        "vocab_size", "max_position_embeddings", "num_hidden_layers", "hidden_size",
        "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
    ],
}  # fmt: skip


@pytest.mark.parametrize("value", [0, -4, 2.0, 1.5, True, False, "32", [32], {"a": 1}, 10**20, 10**400], ids=str)
@pytest.mark.parametrize(("family", "key"), [(family, key) for family, keys in SIZES.items() for key in keys])
def test_a_size_that_is_none(family: str, key: str, value: Any, tmp_path: Path) -> None:
    refused(reconfigured(tmp_path, FAMILIES[family] | {key: value}), BadConfig, "config.json", key, repr(value))


OPTIONAL = {"n_inner", "num_key_value_heads", "head_dim"}


@pytest.mark.parametrize("how", ["absent", "null"])
@pytest.mark.parametrize(("family", "key"), [(family, key) for family in SIZES for key in SIZES[family] if key not in OPTIONAL])
def test_a_size_that_is_not_given(family: str, key: str, how: str, tmp_path: Path) -> None:
    config = FAMILIES[family] | {key: None}
    if how == "absent":
        del config[key]
    refused(reconfigured(tmp_path, config), BadConfig, "config.json", key, "None")


@pytest.mark.parametrize("value", [0, -1.0, True, "1e-5", [1.0], 10**400], ids=str)
@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("gpt2", "layer_norm_epsilon"),
        ("llama", "rms_norm_eps"),
        ("qwen3", "rope_theta"),
        *(("granite", key) for key in MULTIPLIERS),
    ],
)
def test_a_number_that_is_none(family: str, key: str, value: Any, tmp_path: Path) -> None:
    refused(reconfigured(tmp_path, FAMILIES[family] | {key: value}), BadConfig, "config.json", key, repr(value))


@pytest.mark.parametrize("value", [1, 0, "true", []], ids=repr)
@pytest.mark.parametrize(
    ("family", "key"),
    [("gpt2", "tie_word_embeddings"), ("gpt_bigcode", "multi_query"), ("llama", "attention_bias"), ("granite", "mlp_bias")],
)
def test_a_switch_that_is_none(family: str, key: str, value: Any, tmp_path: Path) -> None:
    refused(reconfigured(tmp_path, FAMILIES[family] | {key: value}), BadConfig, "config.json", key, repr(value))


@pytest.mark.parametrize(
    ("family", "change", "named"),
    [
        ("gpt2", {"n_head": 5}, ["n_embd is 32", "n_head (5)"]),
        ("llama", {"num_attention_heads": 6, "num_key_value_heads": 2}, ["hidden_size is 32", "num_attention_heads (6)"]),
        ("llama", {"num_key_value_heads": 3}, ["num_attention_heads is 4", "num_key_value_heads (3)"]),
        ("llama", {"num_key_value_heads": 8}, ["num_attention_heads is 4", "num_key_value_heads (8)"]),
        ("qwen3", {"head_dim": 7}, ["head_dim", "is 7"]),
    ],
)
def test_heads_that_do_not_divide(family: str, change: dict[str, Any], named: list[str], tmp_path: Path) -> None:
    refused(reconfigured(tmp_path, FAMILIES[family] | change), BadConfig, "config.json", *named)


@pytest.mark.parametrize("value", [3, "default", True, [["rope_type", "default"]]], ids=repr)
@pytest.mark.parametrize("key", ["rope_parameters", "rope_scaling"])
def test_a_rope_scaling_that_is_no_object(key: str, value: Any, tmp_path: Path) -> None:
    refused(reconfigured(tmp_path, LLAMA | {key: value}), BadConfig, "config.json", key, repr(value))


@pytest.mark.parametrize("value", [5, "full_attention", False, {"0": "full_attention"}], ids=repr)
def test_layer_types_that_are_no_list(value: Any, tmp_path: Path) -> None:
    refused(reconfigured(tmp_path, LLAMA | {"layer_types": value}), BadConfig, "config.json", "layer_types", repr(value))


@pytest.mark.parametrize("value", [None, 0, -8.0, "8", True], ids=repr)
@pytest.mark.parametrize("key", ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"])
def test_a_llama3_scaling_without_one_of_its_numbers(key: str, value: Any, tmp_path: Path) -> None:
    config = LLAMA | {"rope_scaling": LLAMA3_ROPE | {key: value}}
    refused(reconfigured(tmp_path, config), BadConfig, "config.json", key, repr(value))


def test_a_llama3_scaling_with_an_empty_band(tmp_path: Path) -> None:
    config = LLAMA | {"rope_scaling": LLAMA3_ROPE | {"low_freq_factor": 4.0}}
    refused(reconfigured(tmp_path, config), BadConfig, "config.json", "high_freq_factor", "low_freq_factor")


def test_two_rope_scalings_that_differ(folder: Path) -> None:
    reconfigured(folder, LLAMA | {"rope_scaling": LLAMA3_ROPE, "rope_parameters": LLAMA3_ROPE})
    assert read_config(folder)
    reconfigured(folder, LLAMA | {"rope_scaling": LLAMA3_ROPE, "rope_parameters": LLAMA3_ROPE | {"factor": 4.0}})
    refused(folder, BadConfig, "config.json", "rope_scaling", "rope_parameters", "factor", "8.0", "4.0")


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("value", ["</s>", 2.0, True, [258, None], [[258]], {"id": 258}], ids=repr)
def test_end_tokens_that_are_no_ids(value: Any, file: str, folder: Path) -> None:
    (folder / file).write_text(json.dumps((LLAMA if file == "config.json" else {}) | {"eos_token_id": value}))
    refused(folder, BadConfig, file, "eos_token_id", repr(value))


STRANGE = [None, True, False, 0, -1, 2, 1.5, 1e308, 10**20, -(10**400), float("nan"), "", "x\ny", [], [None], {}, {"a": 1}]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_value_of_any_key_ends_in_another_exception(family: str, tmp_path: Path) -> None:
    """Whatever JSON can hold under the keys we read: a configuration, or a RefspecError of one line."""
    outcomes = set()

    def replaced(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for key, value in given.items():
            yield from ({**given, key: strange} for strange in STRANGE)
            if isinstance(value, dict):
                yield from ({**given, key: inner} for inner in replaced(value))

    for config in replaced(FAMILIES[family] | {"n\nl": None, "rope_scaling": {"factor": None}} if family != "gpt2" else GPT2):
        outcomes.add(outcome(read_config, reconfigured(tmp_path, config)))
    assert outcomes == {None, BadConfig, UnsupportedModel}


# ---- files that are no JSON, and folders that are no model

NO_OBJECT = {
    "empty": b"",
    "cut off": b'{"model_type": "llama"',
    "trailing comma": b'{"model_type": "llama",}',
    "not UTF-8": b'{"model_type": "\xff"}',
    "zeros": bytes(32),
    "nested too deep": b"[" * 100_000,
    "nested too deep to walk": b'{"a": ' * 80 + b"1" + b"}" * 80,
    "a key that stands twice": b'{"model_type": "llama", "a": {"b": 1, "b": 1}}',
    "NaN": b'{"rope_theta": NaN}',
    "a number that is infinite": b'{"rope_theta": 1e999}',
    "a number too long": b'{"vocab_size": ' + b"9" * 5000 + b"}",
    "a web page": b"<!DOCTYPE html>\n<html></html>",
    "list": b'["model_type", "llama"]',
    "number": b"3",
    "string": b'"llama"',
    "null": b"null",
}
JSON_FILES = ["config.json", "generation_config.json", "tokenizer_config.json"]


@pytest.mark.parametrize("case", NO_OBJECT)
@pytest.mark.parametrize("file", JSON_FILES)
def test_a_json_file_without_an_object(file: str, case: str, folder: Path) -> None:
    (folder / file).write_bytes(NO_OBJECT[case])
    refused(folder, BadConfig, file)


@pytest.mark.parametrize("case", NO_OBJECT)
def test_an_index_without_an_object(case: str, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_bytes(NO_OBJECT[case])
    refused(folder, BadConfig, "model.safetensors.index.json")


@pytest.mark.parametrize("case", NO_OBJECT)
def test_a_tokenizer_that_cannot_be_read(case: str, folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(NO_OBJECT[case])
    refused(folder, BadTokenizer, "tokenizer.json")


def test_a_tokenizer_without_tokens(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"], tokenizer["model"]["vocab"] = [], {}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(folder, BadTokenizer, "tokenizer.json")


def test_a_tokenizer_of_a_larger_model(tmp_path: Path) -> None:
    refused(write_folder(tmp_path, LLAMA | {"vocab_size": 258}), BadConfig, "vocab_size", "258")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", ModelNotFound, "nowhere")


@pytest.mark.parametrize("name", ["x" * 5000, "~no-such-user/model", "a\0b", "line\nbreak"], ids=["long", "~", "zero", "line"])
def test_a_name_that_can_be_no_folder(name: str) -> None:
    refused(name, ModelNotFound, name[:4].partition("\0")[0])


def test_an_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, ModelNotFound, str(tmp_path), "config.json")


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder, ModelNotFound, str(folder), "model.safetensors")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt", "model.ckpt", "weights.pkl"])
def test_a_pickle_only(name: str, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / name)
    refused(folder, BadWeights, str(folder), name, "pickle")


def test_a_pickle_beside_the_weights_is_left_alone(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    refspec.load(folder)


# ---- safetensors files


def header_length(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


@pytest.mark.parametrize("kept", ["0", "1", "7", "8", "header - 1", "header", "header + 1", "all - 1", "half"])
def test_a_truncated_file(kept: str, folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    header = 8 + header_length(data)
    length = {
        "header - 1": header - 1,
        "header": header,
        "header + 1": header + 1,
        "all - 1": len(data) - 1,
        "half": len(data) // 2,
    }
    path.write_bytes(data[: length[kept] if kept in length else int(kept)])
    refused(folder, BadWeights, "model.safetensors")


@pytest.mark.parametrize("more", [b"\0", b"x" * 4096], ids=len)
def test_an_overlong_file(more: bytes, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + more)
    refused(folder, BadWeights, "model.safetensors")


GARBAGE = {
    "header of another length": (1 << 60).to_bytes(8, "little") + b"{}",
    "header that is no JSON": (4).to_bytes(8, "little") + b"abcd",
    "header that is a list": (2).to_bytes(8, "little") + b"[]",
    "header with a line break": (22).to_bytes(8, "little") + b'{"x": {"dtype":"a\\nb"}}',
    "a web page": b"<!DOCTYPE html>\n<html><body>404</body></html>",
    "a pickle in disguise": b"\x80\x04\x95" + bytes(64),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 538090408\n",
}


@pytest.mark.parametrize("case", GARBAGE)
def test_a_file_that_is_no_safetensors(case: str, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(GARBAGE[case])
    refused(folder, BadWeights, "model.safetensors")


def test_no_damaged_header_ends_in_another_exception(tmp_path: Path) -> None:
    """One byte of the header changed, at 300 places: a RefspecError of one line, or the change was of no consequence."""
    folder = write_folder(tmp_path, tokenizer=False)
    path = folder / "model.safetensors"
    good, random, refusals = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        data = bytearray(good)
        data[random.integers(0, 8 + header_length(good))] = random.integers(0, 256)
        path.write_bytes(data)
        refusals += outcome(refspec.load, folder) is not None
    assert 250 < refusals < 300


# ---- tensors


def retensored(folder: Path, changed: dict[str, np.ndarray | None]) -> Path:
    """Replace, add or (None) remove tensors."""
    tensors = load_file(folder / "model.safetensors") | changed
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / "model.safetensors")
    return folder


WITH_BIASES = {"llama": LLAMA | {"attention_bias": True, "mlp_bias": True}, "gpt2": GPT2 | {"tie_word_embeddings": False}}
TENSOR_FAMILIES = {"qwen2": QWEN2, "qwen3": QWEN3, **WITH_BIASES}


@pytest.mark.parametrize("family", TENSOR_FAMILIES)
def test_every_tensor_is_missed(family: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TENSOR_FAMILIES[family], tokenizer=False)
    good = (folder / "model.safetensors").read_bytes()
    for name in load_file(folder / "model.safetensors"):
        refused(retensored(folder, {name: None}), BadWeights, f"lacks the tensor {name};")
        (folder / "model.safetensors").write_bytes(good)


@pytest.mark.parametrize("family", TENSOR_FAMILIES)
def test_every_tensor_has_one_shape(family: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TENSOR_FAMILIES[family], tokenizer=False)
    good = (folder / "model.safetensors").read_bytes()
    for name, tensor in load_file(folder / "model.safetensors").items():
        for wrong in (tensor[:-1], tensor[None], tensor.reshape(-1, 2), np.zeros((), np.float32)):
            refused(
                retensored(folder, {name: wrong}), BadWeights, f"{name} has shape {list(wrong.shape)}", str(list(tensor.shape))
            )
            (folder / "model.safetensors").write_bytes(good)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("family", TENSOR_FAMILIES)
def test_every_tensor_is_finite(family: str, bad: float, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, TENSOR_FAMILIES[family], tokenizer=False)
    good = (folder / "model.safetensors").read_bytes()
    for name, tensor in load_file(folder / "model.safetensors").items():
        wrong = tensor.copy()
        wrong.flat[-1] = bad
        refused(retensored(folder, {name: wrong}), BadWeights, f"{name} holds NaN or infinity")
        (folder / "model.safetensors").write_bytes(good)


@pytest.mark.parametrize(
    "name", ["model.layers.2.mlp.up_proj.weight", "lm_head.bias", "model.layers.0.self_attn.q_proj.bias", "x\ny"]
)
def test_an_extra_tensor(name: str, folder: Path) -> None:
    refused(retensored(folder, {name: np.ones(3, np.float32)}), BadWeights, str(folder), repr(name)[1:-1])


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("llama", "model.layers.1.self_attn.rotary_emb.inv_freq"),
        ("gpt2", "transformer.h.0.attn.bias"),
        ("gpt2", "transformer.h.1.attn.masked_bias"),
    ],
)
def test_buffers_of_older_checkpoints_are_left_alone(family: str, name: str, tmp_path: Path) -> None:
    refspec.load(retensored(write_folder(tmp_path, FAMILIES[family]), {name: np.ones(4, np.float32)}))


def retyped(path: Path, name: str, dtype: str, itemsize: int) -> None:
    """Give one tensor another type, by hand: NumPy has no float8."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + header_length(data)])
    body, out, entries = data[8 + header_length(data) :], b"", {}
    for each, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = body[begin:end]
        if each == name:
            entry["dtype"], raw = dtype, bytes(len(raw) // 4 * itemsize)
        entries[each] = entry | {"data_offsets": [len(out), len(out) + len(raw)]}
        out += raw
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + out)


@pytest.mark.parametrize(
    ("dtype", "itemsize"), [("I8", 1), ("U8", 1), ("F8_E4M3", 1), ("F8_E5M2", 1), ("BOOL", 1), ("I32", 4), ("I64", 8), ("F64", 8)]
)
def test_a_type_that_is_not_read(dtype: str, itemsize: int, folder: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    retyped(folder / "model.safetensors", name, dtype, itemsize)
    refused(folder, BadWeights, f"{name} is {dtype};")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_tied_head_that_differs(family: str, tmp_path: Path) -> None:
    config = FAMILIES[family] | {"tie_word_embeddings": True}
    folder = write_folder(tmp_path, config)
    embedding = load_file(folder / "model.safetensors")[
        "transformer.wte.weight" if family == "gpt2" else "model.embed_tokens.weight"
    ]
    refspec.load(retensored(folder, {"lm_head.weight": embedding}))  # a copy is no contradiction
    other = embedding.copy()
    other[-1, -1] = np.nextafter(other[-1, -1], np.float32(9))
    refused(retensored(folder, {"lm_head.weight": other}), BadWeights, str(folder), "lm_head.weight")
    refused(retensored(folder, {"lm_head.weight": embedding[:-1]}), BadWeights, "lm_head.weight has shape")


# ---- shards


@pytest.fixture
def sharded(folder: Path) -> Path:
    """The same model in two shards, a.safetensors with the norms and b.safetensors with the rest."""
    tensors = load_file(folder / "model.safetensors")
    placed = {name: "a.safetensors" if "norm" in name else "b.safetensors" for name in tensors}
    for shard in ("a.safetensors", "b.safetensors"):
        save_file({name: tensor for name, tensor in tensors.items() if placed[name] == shard}, folder / shard)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return folder


def reindexed(folder: Path, change: dict[str, Any]) -> Path:
    path = folder / "model.safetensors.index.json"
    placed = json.loads(path.read_text())["weight_map"] | change
    path.write_text(json.dumps({"weight_map": {name: shard for name, shard in placed.items() if shard is not None}}))
    return folder


def test_the_shards_that_the_refusals_start_from_load(sharded: Path) -> None:
    refspec.load(sharded)


PATHS = ["../x.safetensors", "/etc/x", "/etc/x.safetensors", "a\\b.safetensors", "sub/a.safetensors", "./a.safetensors", "..", ""]


@pytest.mark.parametrize("shard", [*PATHS, "a.bin", "a.safetensors.bin", "a.safetensors/"])
def test_a_shard_name_that_is_no_plain_file(shard: str, sharded: Path) -> None:
    # what the path names is really there: it is the name that is refused, not the file that is missed
    (sharded / "sub").mkdir()
    for place in (
        sharded.parent / "x.safetensors",
        sharded / "sub" / "a.safetensors",
        sharded / "a\\b.safetensors",
        sharded / "a.bin",
    ):
        place.write_bytes((sharded / "a.safetensors").read_bytes())
    reindexed(sharded, {"model.norm.weight": shard})
    refused(sharded, BadWeights, "model.safetensors.index.json", repr(shard), "plain")


@pytest.mark.parametrize(
    "shard", ["c.safetensors", "x" * 5000 + ".safetensors", "a\0.safetensors", "a\nb.safetensors", "\ud800.safetensors"]
)
def test_a_shard_that_is_not_there(shard: str, sharded: Path) -> None:
    refused(reindexed(sharded, {"model.norm.weight": shard}), BadWeights, "model.safetensors.index.json", repr(shard)[1:-1])


def test_a_shard_that_was_deleted(sharded: Path) -> None:
    (sharded / "b.safetensors").unlink()
    refused(sharded, BadWeights, "model.safetensors.index.json", "b.safetensors")


def test_a_damaged_shard(sharded: Path) -> None:
    (sharded / "b.safetensors").write_bytes((sharded / "b.safetensors").read_bytes()[:-1])
    refused(sharded, BadWeights, "b.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"model.norm.weight": "b.safetensors"},  # it is in a
        {"model.norm.weight": None},  # a has more than was promised
        {"model.more.weight": "a.safetensors"},  # and less
    ],
    ids=str,
)
def test_an_index_that_disagrees_with_its_shards(change: dict[str, Any], sharded: Path) -> None:
    refused(reindexed(sharded, change), BadWeights, "a.safetensors", "model.safetensors.index.json")


def test_a_tensor_in_two_shards(sharded: Path) -> None:
    both = load_file(sharded / "b.safetensors") | {"model.norm.weight": np.ones(32, np.float32)}
    save_file(both, sharded / "b.safetensors")
    refused(sharded, BadWeights, "b.safetensors", "model.safetensors.index.json")


@pytest.mark.parametrize(
    "placed", [None, 3, "a.safetensors", ["a.safetensors"], {"x": 3}, {"x": None}, {"x": ["a.safetensors"]}], ids=str
)
def test_a_weight_map_that_is_none(placed: Any, sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    refused(sharded, BadWeights, "model.safetensors.index.json", "weight_map")


def test_an_empty_weight_map(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    refused(sharded, BadWeights, "lacks the tensor model.embed_tokens.weight")
