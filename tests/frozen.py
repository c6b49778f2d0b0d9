"""Frozen logits: what transformers computes from small models that NumPy alone can build again.

    python tests/frozen.py    # writes tests/transformer/frozen_logits.json; needs the extra `peers`

The file has one logit for each position of TOKENS, of token 0, 1, 2 and so on in turn, as hexadecimal float64: every row of the
network and every column of its head, in a few kilobytes a case. The ordinary run compares with the file and needs no torch;
`pytest -m peers` makes the numbers again and compares those with it.

Everything is chosen so that a wrong formula shows: norms, biases and multipliers are far from 1 and 0, eps is as large as the
mean square of an embedding, three heads share a key, and their width is not that of the model divided by their number.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import shapes
from safetensors.numpy import save_file

from refspec.arrays import Array
from refspec.transformer.config import read_config

FILE = Path(__file__).parent / "transformer" / "frozen_logits.json"
VOCAB = 13

GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "vocab_size": VOCAB,
    "n_positions": 150,
    "n_embd": 18,
    "n_layer": 2,
    "n_head": 3,
    "layer_norm_epsilon": 0.05,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
BIGCODE: dict[str, Any] = GPT2 | {"model_type": "gpt_bigcode", "activation_function": "gelu"}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": 24,
    "intermediate_size": 28,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 150,
    "rms_norm_eps": 0.05,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
    "tie_word_embeddings": False,
}
# With heads of 16 the wavelengths are 6 and 11 (kept), 20 and 35 (mixed), 63 and up (slowed down by 4).
LLAMA3: dict[str, Any] = LLAMA | {
    "head_dim": 16,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 100.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 48,
    },
}
GRANITE: dict[str, Any] = LLAMA | {
    "model_type": "granite",
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.4,
    "attention_multiplier": 0.8,  # 1 / sqrt(8) would be 0.35
    "logits_scaling": 0.3,
}
TIED = {"tie_word_embeddings": True}
CASES: dict[str, dict[str, Any]] = {
    "gpt2-tied": GPT2 | TIED,
    "gpt2-untied": GPT2 | {"tie_word_embeddings": False, "n_inner": 32},
    "bigcode-one-key-head": BIGCODE | TIED,
    "bigcode-all-heads": BIGCODE
    | {"multi_query": False, "activation_function": "gelu_pytorch_tanh", "tie_word_embeddings": False},
    "llama-tied": LLAMA | TIED,
    "llama-untied": LLAMA,
    "llama-biases": LLAMA | {"attention_bias": True, "mlp_bias": True},
    "llama3-tied": LLAMA3 | TIED,
    "llama3-untied": LLAMA3,
    "qwen2-tied": LLAMA | TIED | {"model_type": "qwen2"},
    "qwen2-untied": LLAMA | {"model_type": "qwen2"},
    "qwen3-tied": LLAMA | TIED | {"model_type": "qwen3"},
    "qwen3-biases": LLAMA | {"model_type": "qwen3", "attention_bias": True},
    "granite-tied": GRANITE | TIED,
    "granite-biases": GRANITE | {"attention_bias": True, "mlp_bias": True},
}


def uniform(random: np.random.PCG64, *shape: int) -> Array:
    """Multiples of 2**-16 in [-1, 1). From raw bits, as NumPy promises to keep those, and may change any distribution."""
    bits = random.random_raw(int(np.prod(shape))) >> np.uint64(47)  # 17 of 64
    return (bits.astype(np.float32) / np.float32(2**16) - 1).reshape(shape)


# 130 for a prefill in three blocks of queries, and ten to decode.
TOKENS = tuple(int(token) for token in np.random.PCG64(1).random_raw(140) % VOCAB)


def write_frozen_folder(path: Path, case: str) -> Path:
    """The folder of a case: norms around 1, biases around 0, matrices that keep sizes near 1. Returns `path`."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(CASES[case]), encoding="utf-8")
    random = np.random.PCG64(0)

    def values(name: str, shape: tuple[int, ...]) -> Array:
        noise = uniform(random, *shape)
        if len(shape) == 1:
            return np.float32(name.endswith("weight")) + noise / 2
        return noise * np.sqrt(np.float32(3) / np.float32(shape[-1]))

    tensors = {name: values(name, shape) for name, shape in shapes(read_config(path)).items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    return path


def in_turn(logits: Array) -> Array:
    """logits [n, v] -> [n]: of token 0 in the first row, of token 1 in the second, and so on, round and round"""
    rows = np.arange(len(logits))
    return logits[rows, rows % logits.shape[1]]


def frozen_logits() -> dict[str, Array]:
    """What the file says: [140] float64 for each case."""
    read = json.loads(FILE.read_text(encoding="utf-8"))
    return {case: np.array([float.fromhex(each) for each in logits]) for case, logits in read.items()}


def peer_logits(folder: Path, tokens: tuple[int, ...], dtype: str = "float32", *, float64_inside: bool = False) -> Array:
    """What transformers computes from the folder: tokens [n] -> [n, v]

    float64_inside: its RMS norms and rotary angles in float64 as well. They ask for `torch.float32` and `torch.float` by
    name, so for the forward pass the two names stand for float64.
    """
    import torch
    from transformers import AutoModelForCausalLM

    # "sdpa", because its "eager" attention takes the softmax in float32 whatever the model's type is
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation="sdpa").eval()
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        if float64_inside:
            patch.setattr(torch, "float32", torch.float64)
            patch.setattr(torch, "float", torch.float64)
            if hasattr(model.base_model, "rotary_emb"):  # the frequencies are made at construction
                model.base_model.rotary_emb = type(model.base_model.rotary_emb)(model.config)
                assert model.base_model.rotary_emb.inv_freq.dtype == torch.float64
        logits: Array = model(torch.tensor([tokens])).logits[0].numpy()
    assert logits.dtype == dtype
    return logits


def regenerated() -> dict[str, Array]:
    """What transformers says today: [140] float64 for each case."""
    found = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = write_frozen_folder(Path(folder), case)
            found[case] = in_turn(peer_logits(path, TOKENS, "float64", float64_inside=True))
    return found


if __name__ == "__main__":
    hexadecimal = {case: [float(each).hex() for each in logits] for case, logits in regenerated().items()}
    FILE.write_text(json.dumps(hexadecimal, indent=1) + "\n", encoding="utf-8")
