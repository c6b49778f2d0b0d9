"""MLP speculators in IBM's layout, small and random, for tests that need a folder to load or numbers to compare with.

folder = write_speculator(tmp_path / "head", width=32, vocab_size=264)
numbers = tensors(folder)
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from refspec.arrays import Array
from refspec.transformer.config import GPT2Config


def network(width: int, vocab_size: int, dtype: Any = np.float64, *, tied: bool = True, **more: Any) -> Any:
    """As much of a target as a loader looks at: the sizes of a GPT-2 of one layer, and what more is given."""
    config = GPT2Config("gpt2", vocab_size, 8, 1, width, 2, 2, 8, 1e-5, tied, False)
    return SimpleNamespace(config=config, dtype=np.dtype(dtype), **more)


def config_of(width: int, vocab_size: int, **more: Any) -> dict[str, Any]:
    """config.json as IBM's code writes it."""
    return {
        "architectures": ["MLPSpeculatorPreTrainedModel"],
        "emb_dim": width,
        "inner_dim": 24,
        "model_type": "mlp_speculator",
        "n_candidates": 5,
        "n_predict": 3,
        "scale_input": False,
        "tie_weights": False,
        "top_k_tokens_per_head": [5, 4, 3],
        "torch_dtype": "float32",
        "transformers_version": "4.38.2",
        "vocab_size": vocab_size,
        **more,
    }


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names without the prefix. Tied steps are stored once."""
    inner, n = config["inner_dim"] or config["emb_dim"], config["n_predict"]
    words = config.get("draft_vocab_size", config["vocab_size"])
    found: dict[str, tuple[int, ...]] = {}
    for i in range(n):
        first = i == 0 or not config["tie_weights"]
        if first:
            found |= {f"emb.{i}.weight": (config["vocab_size"], inner), f"head.{i}.weight": (words, inner)}
            found |= {f"ln.{i}.weight": (inner,), f"ln.{i}.bias": (inner,)}
        if first or i == 1:
            found[f"proj.{i}.weight"] = (inner, config["emb_dim"] if i == 0 else inner)
    return found


def write_speculator(
    path: Path, width: int, vocab_size: int, *, seed: int = 0, prefix: str = "speculator.", ids: Any = None, **more: Any
) -> Path:
    """ids: the tokens that the head can say, None for all. more: keys of config.json. Returns `path`."""
    path.mkdir(parents=True, exist_ok=True)
    if ids is not None:
        more["draft_vocab_size"] = len(ids)
    config = config_of(width, vocab_size, **more)
    random = np.random.default_rng(seed)

    def values(name: str, shape: tuple[int, ...]) -> Array:
        noise = random.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            return np.float32(name.endswith("weight")) + np.float32(0.3) * noise
        return noise * np.float32((3 if name.startswith("head") else 1) / shape[-1] ** 0.5)

    found = {f"{prefix}{name}": values(name, shape) for name, shape in shapes_of(config).items()}
    if ids is not None:
        found[f"{prefix}ids"] = np.array(ids, np.int32)
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(found, path / "model.safetensors")
    return path


def tensors(path: Path) -> dict[str, Array]:
    """Of a folder, without the prefix."""
    return {name.removeprefix("speculator."): tensor for name, tensor in load_file(path / "model.safetensors").items()}


def change(path: Path, config: dict[str, Any] | None = None, weights: dict[str, Array | None] | None = None) -> Path:
    """Set keys of config.json and tensors by their full names; None takes one out."""
    given = json.loads((path / "config.json").read_text()) | (config or {})
    (path / "config.json").write_text(json.dumps({key: value for key, value in given.items() if value is not None}))
    if weights:
        found = load_file(path / "model.safetensors") | weights
        save_file({name: tensor for name, tensor in found.items() if tensor is not None}, path / "model.safetensors")
    return path
