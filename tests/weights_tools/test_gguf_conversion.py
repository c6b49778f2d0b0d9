"""A tiny GGUF comes out as the Hugging Face folder it was made from: names, values, rotary order, configuration."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from refspec.errors import BadTokenizer, BadWeights, UnsupportedModel

pytest.importorskip("gguf", reason="gguf is in the optional extra `weights`")
from weights_tools.gguf_llama import convert, hugging_face_name


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
