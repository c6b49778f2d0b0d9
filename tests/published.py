"""Configurations as they are published, made small enough to run.

published_configs.json has the keys and values of config.json files of every family and size that refspec runs, and of what
transformers 4 and 5 write with all their defaults. They were collected from public copies; those named "made up" hold keys that
files of this kind are known to have. `shrunk` replaces the sizes, and nothing that says which mathematics it is.
"""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "transformer" / "published_configs.json"
VOCAB = 97
SIZES = {
    "vocab_size": VOCAB, "max_position_embeddings": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "n_positions": 64, "n_ctx": 64, "n_embd": 24, "n_head": 3, "n_layer": 2, "n_inner": 40,
}  # fmt: skip


def published() -> dict[str, dict[str, Any]]:
    """name -> config.json, shrunk"""
    return {name: shrunk(config) for name, config in json.loads(FILE.read_text(encoding="utf-8")).items()}


def shrunk(config: dict[str, Any]) -> dict[str, Any]:
    small = config | {key: size for key, size in SIZES.items() if config.get(key) is not None}
    heads, groups, width = (config.get(key) for key in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    if groups:
        small["num_key_value_heads"] = 4 if groups == heads else 2
    if config["model_type"] == "gpt_bigcode" and groups:  # the same as multi_query, said again
        small["num_key_value_heads"] = 1 if groups == 1 else 3
    if width:  # of its own, or what hidden_size says as well
        small["head_dim"] = 8 if heads * width == config["hidden_size"] else 10
    if config.get("layer_types"):
        small["layer_types"] = config["layer_types"][:2]
    for key in config:
        if key.endswith("_token_id"):
            small[key] = in_vocabulary(config[key])
    return small


def in_vocabulary(ids: Any) -> Any:
    return [each % VOCAB for each in ids] if isinstance(ids, list) else ids if ids is None else ids % VOCAB
