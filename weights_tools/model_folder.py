"""Model folders in the Hugging Face layout: float16 weights, config.json, and the tokenizer's two files."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from refspec.errors import BadTokenizer, UnsupportedModel, VocabularyMismatch, reason
from refspec.files import require_regular
from refspec.transformer.config import GPT2Config, read_config
from refspec.transformer.weights import Checkpoint
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
    replace_atomically(folder / "model.safetensors", partial(save_file, tensors, metadata={"format": "pt"}))
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


def load_gpt2(folder: Path) -> TorchGPT2:
    """The GPT-2 of a folder, in float32. Its files are read and checked by refspec."""
    config = read_config(folder)
    if not isinstance(config, GPT2Config) or config.model_type != "gpt2":
        raise UnsupportedModel(f"{folder} is of type {config.model_type}; a GPT-2 is needed here")
    if (config.inner, config.norm_eps, config.tied, config.exact_gelu) != (4 * config.width, 1e-5, True, False):
        unusual = "n_inner, layer_norm_epsilon, activation_function or tie_word_embeddings is unusual"
        raise UnsupportedModel(f"{folder} is no plain GPT-2: {unusual}")
    model = TorchGPT2(Shape(config.vocab_size, config.context, config.layers, config.width, config.heads))
    checkpoint = Checkpoint(folder)
    prefix = "" if "transformer.wte.weight" in checkpoint else "transformer."  # the original gpt2 lacks it
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    arrays = {name: checkpoint.read(name.removeprefix(prefix), *shape) for name, shape in shapes.items()}
    # the causal mask, saved as a buffer, and a copy of the embedding
    unread = (".attn.bias", ".attn.masked_bias", "lm_head.weight")
    checkpoint.ignore(*(name for name in checkpoint.headers if name.endswith(unread)))
    checkpoint.finish()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model


def load_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    require_regular(path, BadTokenizer)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exceptions
        raise BadTokenizer(f"{path} cannot be read ({reason(error)})") from None
    tokenizer.no_truncation()  # which would cut the corpus short
    tokenizer.no_padding()
    return tokenizer


def require_same_vocabulary(target: Path, draft: Path) -> None:
    """Raise unless every id means the same to both."""
    sizes = [read_config(folder).vocab_size for folder in (target, draft)]
    maps = [load_tokenizer(folder).get_vocab() for folder in (target, draft)]
    if sizes[0] != sizes[1] or maps[0] != maps[1]:
        raise VocabularyMismatch(f"{draft} has another vocabulary than {target}; choose a draft with the target's tokenizer")


def write_json(path: Path, content: dict[str, Any]) -> None:
    def write(scratch: Path) -> None:
        scratch.write_text(json.dumps(content, indent=2) + "\n")

    replace_atomically(path, write)
