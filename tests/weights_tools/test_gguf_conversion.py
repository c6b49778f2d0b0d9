"""A tiny GGUF comes out as the Hugging Face folder it was made from: names, values, rotary order, configuration."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from refspec.errors import BadTokenizer, BadWeights, UnsupportedModel

gguf = pytest.importorskip("gguf", reason="gguf is in the optional extra `weights`")

from weights_tools.gguf_llama import (  # noqa: E402
    CONFIG_KEYS,
    _arrays,
    convert,
    hugging_face_name,
    model_config,
    undo_rotary_permutation,
)
from weights_tools.gguf_tokenizer import byte_level_bpe, tokenizer_files  # noqa: E402


@pytest.mark.parametrize("tied", [True, False])
def test_every_tensor_comes_back_exactly(make_gguf: Any, tmp_path: Path, tied: bool) -> None:
    source = make_gguf(tied=tied)
    convert(source.path, tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    assert written.keys() == source.expected.keys()
    assert ("lm_head.weight" in written) is not tied
    for name, expected in source.expected.items():
        assert written[name].dtype == np.float32
        assert np.array_equal(written[name], expected), name  # the rows of q and k are back in place, to the bit
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is tied


def test_config_carries_the_metadata(make_gguf: Any, tmp_path: Path) -> None:
    convert(make_gguf().path, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    expected = {
        "model_type": "llama", "vocab_size": 16, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    assert {key: config[key] for key in expected} == expected  # 1e-5, not the float32 nearest to it
    assert "pad_token_id" not in config  # the file names none


def test_tokenizer_splits_digits_before_anything_else(make_gguf: Any, tmp_path: Path) -> None:
    convert(make_gguf().path, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))

    def pieces(text: str) -> list[str]:
        return tokenizer.encode(text).tokens

    assert pieces("123") == ["1", "2", "3"]  # although 2 and 3 could merge
    assert pieces("a  1") == ["a", "ĠĠ", "1"]  # GPT-2's pattern alone gives a, Ġ, Ġ, 1
    assert pieces("b ab") == ["b", "Ġa", "b"]  # merges in their order: Ġa comes before ab
    assert pieces("<|im_start|>a<tool>\n") == ["<|im_start|>", "a", "<tool>", "Ċ"]
    ids = tokenizer.encode("<|im_start|>a<tool>").ids
    assert tokenizer.decode(ids) == "a<tool>"  # a control token is special, a user-defined one is text
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (settings["bos_token"], settings["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert "message['content']" in settings["chat_template"]


def test_refuses_what_it_would_have_to_ignore(make_gguf: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"llama\.rope\.scaling\.factor"):
        convert(make_gguf(extra={"llama.rope.scaling.factor": 2}).path, tmp_path)
    with pytest.raises(BadTokenizer, match="llama-bpe"):
        convert(make_gguf(pre="llama-bpe").path, tmp_path)
    for name in ("rope_freqs.weight", "blk.0.attn_q.bias", "blk.x.attn_q.weight", "blk.0.ffn_gate_exps.weight"):
        with pytest.raises(UnsupportedModel, match=name):
            hugging_face_name(name)


def test_a_damaged_file_is_one_clear_error(make_gguf: Any, tmp_path: Path) -> None:
    source = make_gguf().path
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(BadWeights, match=r"tiny\.gguf is not a readable GGUF file"):
        convert(source, tmp_path)
    source.write_bytes(b"not a model" * 10)
    with pytest.raises(BadWeights, match=r"tiny\.gguf is not a readable GGUF file"):
        convert(source, tmp_path)


def test_what_is_quantised_comes_out_by_its_formula() -> None:
    """Blocks of 32: Q8_0 is a scale and 32 signed bytes; Q4_1 a scale, a minimum and 32 halves of bytes, the lower ones first."""
    rng = np.random.default_rng(0)
    rows, scale, least = 3, np.float16([[0.5], [-0.25], [2.0]]), np.float16([[-3], [1], [0.125]])
    whole, nibbles = rng.integers(-128, 128, (rows, 32)), rng.integers(0, 16, (rows, 32))
    packed = {
        "Q8_0": [scale.view(np.uint8), whole.astype(np.int8).view(np.uint8)],
        "Q4_1": [scale.view(np.uint8), least.view(np.uint8), np.uint8(nibbles[:, :16] | nibbles[:, 16:] << 4)],
    }
    expected = {"Q8_0": scale * np.float32(whole), "Q4_1": scale * np.float32(nibbles) + least}
    for kind, parts in packed.items():
        tensor = SimpleNamespace(name=kind, data=np.hstack(parts), tensor_type=gguf.GGMLQuantizationType[kind])
        (array,) = _arrays({kind: tensor}, {kind: (rows, 32)}, {})
        assert array.dtype == np.float32
        assert np.array_equal(array, expected[kind])


def test_rows_that_llama_cpp_rotates_as_neighbours_are_half_a_head_apart_again() -> None:
    """Two heads of six rows each: where 0 and 1 are a pair, the second one goes to row 3."""
    stored = np.array([0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11])
    assert undo_rotary_permutation(np.stack([stored, -stored], axis=1), 2).T.tolist() == [[*range(12)], [-n for n in range(12)]]


def test_a_number_that_is_none_is_refused(make_gguf: Any, tmp_path: Path) -> None:
    source = make_gguf()
    norm = source.expected["model.norm.weight"].tobytes()
    content = source.path.read_bytes()
    assert content.count(norm) == 1
    source.path.write_bytes(content.replace(norm, np.float32("nan").tobytes() + norm[4:]))
    with pytest.raises(BadWeights, match=r"output_norm\.weight in the GGUF file has values that are not finite"):
        convert(source.path, tmp_path)


METADATA = {"general.architecture": "llama", **{key: 10 + index for index, key in enumerate(CONFIG_KEYS)}}
GGML = "tokenizer.ggml."


def test_the_whole_configuration() -> None:
    ids = {f"{GGML}bos_token_id": 0, f"{GGML}eos_token_id": 2, f"{GGML}padding_token_id": 3}
    assert model_config(METADATA | ids, tied=True) == {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 10, "hidden_size": 11,
        "intermediate_size": 12, "num_hidden_layers": 13, "num_attention_heads": 14, "num_key_value_heads": 15, "head_dim": 16,
        "max_position_embeddings": 17, "rms_norm_eps": 18, "rope_theta": 19, "hidden_act": "silu", "attention_bias": False,
        "mlp_bias": False, "tie_word_embeddings": True, "torch_dtype": "float32",
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 3,
    }  # fmt: skip


def test_a_configuration_that_lacks_or_exceeds_what_is_known_is_refused() -> None:
    for key in CONFIG_KEYS:
        with pytest.raises(UnsupportedModel, match=rf"unknown keys \[\], missing keys \['{key}'\]"):
            model_config({name: value for name, value in METADATA.items() if name != key}, tied=True)
    with pytest.raises(UnsupportedModel, match=r"unknown keys \['llama\.other'\], missing keys \[\]"):
        model_config(METADATA | {"llama.other": 1}, tied=True)
    with pytest.raises(UnsupportedModel, match="architecture 'qwen2'; only 'llama'"):
        model_config(METADATA | {"general.architecture": "qwen2"}, tied=True)


def test_the_whole_configuration_of_the_tokenizer() -> None:
    metadata = {
        f"{GGML}model": "gpt2", f"{GGML}pre": "smollm", f"{GGML}tokens": ["a", "b", "c", "d"], f"{GGML}merges": [],
        f"{GGML}token_type": [1, 1, 1, 1], "llama.context_length": 99,
    }  # fmt: skip
    common = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 99,
    }
    assert tokenizer_files(metadata)["tokenizer_config.json"] == common | {"add_bos_token": False}
    ids = {"bos": 0, "eos": 1, "unknown": 2, "padding": 3}
    more = {f"{GGML}{name}_token_id": index for name, index in ids.items()} | {f"{GGML}add_bos_token": True}
    assert tokenizer_files(metadata | more | {"tokenizer.chat_template": "T"})["tokenizer_config.json"] == common | {
        "add_bos_token": True, "bos_token": "a", "eos_token": "b", "unk_token": "c", "pad_token": "d", "chat_template": "T",
    }  # fmt: skip


def test_each_token_has_a_type() -> None:
    with pytest.raises(ValueError, match="shorter"):
        byte_level_bpe(["a", "b"], [], [1])


def test_no_space_is_put_before_a_text() -> None:
    tokenizer = byte_level_bpe(["Ġ", "a", "Ġa"], ["Ġ a"], [1, 1, 1])
    assert tokenizer.encode("a a").tokens == ["a", "Ġa"]
    assert tokenizer.decode([2, 1], skip_special_tokens=False) == " aa"
