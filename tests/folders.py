"""Model folders in the Hugging Face layout, small and random, for tests that need a real one to load.

    folder = write_folder(tmp_path / "target")                                   # a Llama of two layers, with a tokenizer
    folder = write_folder(tmp_path / "draft", {**LLAMA, "num_hidden_layers": 1}, seed=1)
    folder = write_folder(tmp_path / "ids-only", GPT2, tokenizer=False)

Every parameter is random, norms and biases included, so that a forgotten one shows. To test a broken folder, write a
good one and break it: shapes come from refspec's own reading of config.json.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from refspec.transformer.config import Config, GPT2Config, LlamaConfig, read_config

BEGIN, TURN, END = "<|begin|>", "<|turn|>", "<|end|>"
BEGIN_ID, TURN_ID, END_ID = 256, 257, 258  # the 256 ids before them are the bytes

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 264,  # padded: the tokenizer has 259
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": BEGIN_ID,
    "eos_token_id": END_ID,
}
GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "vocab_size": 264,
    "n_positions": 256,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "bos_token_id": BEGIN_ID,
    "eos_token_id": END_ID,
}

BIGCODE: dict[str, Any] = GPT2 | {"model_type": "gpt_bigcode", "activation_function": "gelu"}

GRANITE: dict[str, Any] = {
    **LLAMA,
    "model_type": "granite",
    "embedding_multiplier": 7.0,
    "residual_multiplier": 0.3,
    "attention_multiplier": 0.2,
    "logits_scaling": 0.7,
}

CHAT_TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def write_folder(path: Path, config: dict[str, Any] | None = None, *, seed: int = 0, tokenizer: bool = True) -> Path:
    """Write config.json, model.safetensors and, unless told not to, a tokenizer with a chat template. Returns `path`.

    config: as in config.json, of any family that refspec runs; LLAMA by default. seed: of the weights.
    """
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(LLAMA if config is None else config), encoding="utf-8")
    write_weights(path, seed=seed)
    if tokenizer:
        write_tokenizer(path)
    return path


def write_weights(path: Path, *, seed: int = 0) -> None:
    """model.safetensors for the config.json in `path`: norms and biases around their usual 1 and 0, matrices of unit gain."""
    random = np.random.default_rng(seed)

    def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = random.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            return np.float32(name.endswith("weight")) + np.float32(0.1) * noise
        return noise / np.float32(shape[-1] ** 0.5)

    save_file({name: values(name, shape) for name, shape in shapes(read_config(path)).items()}, path / "model.safetensors")


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The tensors of a model, by their names in a Hugging Face checkpoint."""
    found = gpt2_shapes(config) if isinstance(config, GPT2Config) else llama_shapes(config)
    return found if config.tied else {**found, "lm_head.weight": (config.vocab_size, config.width)}


def gpt2_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    d, inner = config.width, config.inner
    found: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (config.vocab_size, d),
        "transformer.wpe.weight": (config.context, d),
        "transformer.ln_f.weight": (d,),
        "transformer.ln_f.bias": (d,),
    }
    fused = d + 2 * config.kv_heads * d // config.heads
    matrices = {"attn.c_attn": (d, fused), "attn.c_proj": (d, d), "mlp.c_fc": (d, inner), "mlp.c_proj": (inner, d)}
    turned = config.model_type == "gpt_bigcode"
    for i in range(config.layers):
        layer = f"transformer.h.{i}"
        for norm in ("ln_1", "ln_2"):
            found |= {f"{layer}.{norm}.weight": (d,), f"{layer}.{norm}.bias": (d,)}
        for name, shape in matrices.items():
            found |= {f"{layer}.{name}.weight": shape[::-1] if turned else shape, f"{layer}.{name}.bias": shape[1:]}
    return found


def llama_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    d, e, inner = config.width, config.head_width, config.inner
    queries, keys = config.heads * e, config.kv_heads * e
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, d), "model.norm.weight": (d,)}
    matrices = {
        "self_attn.q_proj": (queries, d, config.qkv_bias),
        "self_attn.k_proj": (keys, d, config.qkv_bias),
        "self_attn.v_proj": (keys, d, config.qkv_bias),
        "self_attn.o_proj": (d, queries, config.output_bias),
        "mlp.gate_proj": (inner, d, config.mlp_bias),
        "mlp.up_proj": (inner, d, config.mlp_bias),
        "mlp.down_proj": (d, inner, config.mlp_bias),
    }
    for i in range(config.layers):
        layer = f"model.layers.{i}"
        found |= {f"{layer}.input_layernorm.weight": (d,), f"{layer}.post_attention_layernorm.weight": (d,)}
        if config.qk_norm:
            found |= {f"{layer}.self_attn.q_norm.weight": (e,), f"{layer}.self_attn.k_norm.weight": (e,)}
        for name, (out, inputs, bias) in matrices.items():
            found[f"{layer}.{name}.weight"] = (out, inputs)
            if bias:
                found[f"{layer}.{name}.bias"] = (out,)
    return found


def write_tokenizer(
    path: Path, *, special: Sequence[str] = (BEGIN, TURN, END), merges: Sequence[tuple[str, str]] = (), begin: bool = False
) -> None:
    """A byte-level BPE in which id = byte, then the special tokens, then a token for each merge ("t", "h").

    begin: put the first special token in front of every text, as Llama does. chat_template goes to tokenizer_config.json.
    """
    vocabulary = {character: byte for byte, character in enumerate(byte_characters())}
    vocabulary |= {token: 256 + i for i, token in enumerate(special)}
    vocabulary |= {"".join(pair): 256 + len(special) + i for i, pair in enumerate(merges)}
    library = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken(token, special=True) for token in special])
    if begin:
        library.post_processor = processors.TemplateProcessing(single=f"{special[0]} $A", special_tokens=[(special[0], 256)])
    library.save(str(path / "tokenizer.json"))
    settings = {"bos_token": special[0], "eos_token": special[-1], "chat_template": CHAT_TEMPLATE}
    (path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def byte_characters() -> list[str]:
    """The character GPT-2's byte-level alphabet writes each byte as: itself where it prints, else one from U+0100 on."""
    printing = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printing else next(others)) for byte in range(256)]
