"""The plain forward pass and the fast one are one function: on every family, in float64 and in float32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import BIGCODE, GPT2, GRANITE, LLAMA, write_folder

import refspec
from refspec.models import home
from refspec.transformer import plain

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "gpt2, untied": {**GPT2, "tie_word_embeddings": False, "n_inner": 40},
    "gpt_bigcode": BIGCODE,
    "gpt_bigcode, untied, keys of every head": {**BIGCODE, "tie_word_embeddings": False, "multi_query": False},
    "llama": LLAMA,
    "llama, tied": {**LLAMA, "tie_word_embeddings": True},
    "llama with biases": {**LLAMA, "attention_bias": True, "mlp_bias": True},
    "llama 3": {**LLAMA, "head_dim": 16, "rope_theta": 100.0, "rope_scaling": LLAMA3_ROPE},
    "qwen2": {**LLAMA, "model_type": "qwen2"},
    "qwen3": {**LLAMA, "model_type": "qwen3", "head_dim": 10},
    "granite": GRANITE,
}
TOKENS = np.random.default_rng(0).integers(0, 264, 90)


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
# Some hundred roundings on the way to a logit of size 10: each 1e-16 of it in float64, 6e-8 in float32.
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-4)], ids=["float64", "float32"])
def test_plain_and_fast_agree(tmp_path: Path, config: dict[str, Any], dtype: Any, tolerance: float) -> None:
    folder = write_folder(tmp_path / "model", config, tokenizer=False)
    fast = refspec.load(folder, dtype=dtype).logits(tuple(TOKENS))
    assert np.abs(plain.logits(TOKENS, *plain.read(folder)) - fast).max() < tolerance


@pytest.mark.parametrize("name", ["tiny-target", "tiny-draft"])
def test_the_embedded_pair(name: str) -> None:
    found = plain.logits(TOKENS, *plain.read(home.find(name)))
    assert np.abs(found - refspec.load(name, dtype=np.float64).logits(tuple(TOKENS))).max() < 1e-11


def test_softmax_does_not_overflow() -> None:
    assert plain.softmax(np.array([1000.0, 1000.0, -np.inf])).tolist() == [0.5, 0.5, 0.0]
