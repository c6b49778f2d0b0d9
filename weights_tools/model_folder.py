"""Model folders in the Hugging Face layout: float16 weights, config.json, and the tokenizer's two files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from weights_tools.checkpoint import replace_atomically
from weights_tools.corpus import END
from weights_tools.torch_gpt2 import Shape, TorchGPT2


def save_gpt2(folder: Path, model: TorchGPT2, tokenizer: Tokenizer) -> None:
    """A folder that transformers and refspec load. Every file is replaced whole."""
    end = tokenizer.token_to_id(END)
    shape = model.shape
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": shape.vocab,
        "n_positions": shape.context,
        "n_ctx": shape.context,
        "n_layer": shape.layers,
        "n_embd": shape.width,
        "n_head": shape.heads,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": end,
        "eos_token_id": end,
        "dtype": "float16",
    }
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    # "format": transformers refuses a safetensors file that doesn't name its framework

    def write(path: Path) -> None:
        save_file(tensors, path, metadata={"format": "pt"})
        path.chmod(0o644)  # the library writes files that only their owner may read

    replace_atomically(folder / "model.safetensors", write)
    save_tokenizer(folder, tokenizer, shape.context)
    write_json(folder / "config.json", config)


def save_tokenizer(folder: Path, tokenizer: Tokenizer, context: int) -> None:
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    replace_atomically(folder / "tokenizer.json", lambda path: tokenizer.save(str(path)))
    write_json(folder / "tokenizer_config.json", settings)


def load_gpt2(folder: Path, *, dropout: float = 0.0) -> TorchGPT2:
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(config["vocab_size"], config["n_positions"], config["n_layer"], config["n_embd"], config["n_head"])
    model = TorchGPT2(shape, dropout=dropout)
    tensors = load_file(folder / "model.safetensors")
    model.load_state_dict({name: tensor.to(torch.float32) for name, tensor in tensors.items()})
    return model


def load_tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def model_type(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text())["model_type"])


def write_json(path: Path, content: dict[str, Any]) -> None:
    def write(scratch: Path) -> None:
        scratch.write_text(json.dumps(content, indent=2) + "\n")

    replace_atomically(path, write)
