"""A Llama-architecture GGUF file as a Hugging Face folder: names, shapes, and the rotary permutation undone.

llama.cpp rotates neighbouring pairs (rows 0 and 1, 2 and 3, ...) of each query and key head; Hugging Face rotates row
i with row i + e/2. Its converter therefore reorders the rows of those two projections, and we put them back.
What is left out: quantisation. Every tensor is dequantised to float32.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from refspec.errors import BadWeights, UnsupportedModel
from weights_tools.errors import MissingLibrary
from weights_tools.gguf_tokenizer import tokenizer_files
from weights_tools.safetensors_stream import write_float32

try:
    import gguf
except ImportError as error:
    raise MissingLibrary("reading GGUF weights needs the gguf library: pip install '.[weights]'") from error

OUTSIDE_LAYERS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",  # absent where embeddings are tied
}
IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Everything the file may say about the mathematics; whatever else it says, we would be ignoring.
CONFIG_KEYS = {
    "llama.vocab_size": "vocab_size",
    "llama.embedding_length": "hidden_size",
    "llama.feed_forward_length": "intermediate_size",
    "llama.block_count": "num_hidden_layers",
    "llama.attention.head_count": "num_attention_heads",
    "llama.attention.head_count_kv": "num_key_value_heads",
    "llama.rope.dimension_count": "head_dim",
    "llama.context_length": "max_position_embeddings",
    "llama.attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "llama.rope.freq_base": "rope_theta",
}


def convert(source: Path, folder: Path) -> None:
    """Write the GGUF file `source` into `folder` as config.json, tokenizer files and model.safetensors."""
    with tqdm(desc="reading the vocabulary, some seconds", bar_format="{desc}", leave=False, disable=None):
        reader = open_gguf(source)
    metadata = {key: field.contents() for key, field in reader.fields.items()}
    config = model_config(metadata, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
    files = {"config.json": config, **tokenizer_files(metadata)}
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    tensors = {hugging_face_name(tensor.name): tensor for tensor in reader.tensors}
    # GGUF lists the fastest axis first
    shapes = {name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in tensors.items()}
    write_float32(folder / "model.safetensors", shapes, _arrays(tensors, shapes, config), label="converting to float32")


def open_gguf(source: Path) -> gguf.GGUFReader:
    """Read the metadata and map the tensors of the file; none is in memory yet."""
    try:
        return gguf.GGUFReader(source)
    except (ValueError, IndexError, KeyError) as error:
        raise BadWeights(f"{source.name} is not a readable GGUF file ({error}); fetch it again") from error


def model_config(metadata: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    """`config.json` from GGUF metadata; refuses by name what it could not carry over."""
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise UnsupportedModel(f"the GGUF file has architecture {architecture!r}; only 'llama' can be converted")
    unknown = sorted(key for key in metadata if key.startswith("llama.") and key not in CONFIG_KEYS)
    missing = sorted(key for key in CONFIG_KEYS if key not in metadata)
    if unknown or missing:
        raise UnsupportedModel(f"cannot convert this GGUF file: unknown keys {unknown}, missing keys {missing}")
    config: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    config |= {ours: _shortest(metadata[theirs]) for theirs, ours in CONFIG_KEYS.items()}
    config |= {
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "torch_dtype": "float32",
    }
    tokens = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    ids = {ours: metadata.get(f"tokenizer.ggml.{theirs}_token_id") for ours, theirs in tokens.items()}
    return config | {key: value for key, value in ids.items() if value is not None}


def _shortest(value: int | float) -> int | float:
    """GGUF stores 1e-05 as the nearest float32; print the number that was meant, not 9.999999747378752e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def hugging_face_name(name: str) -> str:
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    if name in OUTSIDE_LAYERS:
        return OUTSIDE_LAYERS[name]
    match name.split("."):
        case ["blk", layer, part, "weight"] if part in IN_LAYER and layer.isdigit():
            return f"model.layers.{layer}.{IN_LAYER[part]}.weight"
    raise UnsupportedModel(f"the GGUF file has a tensor {name!r}, which no plain Llama model has")


def _arrays(tensors: dict[str, Any], shapes: dict[str, tuple[int, ...]], config: dict[str, Any]) -> Iterator[np.ndarray]:
    for name, tensor in tensors.items():
        array = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(shapes[name]).astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise BadWeights(f"{tensor.name} in the GGUF file has values that are not finite; fetch it again")
        if name.endswith("q_proj.weight"):
            array = undo_rotary_permutation(array, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            array = undo_rotary_permutation(array, config["num_key_value_heads"])
        yield array


def undo_rotary_permutation(weight: np.ndarray, heads: int) -> np.ndarray:
    """Row 2i + j of each head (pair i, half j) goes back to row j * e/2 + i.  [h * e, d] -> [h * e, d]"""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)
