"""One interface for the two families that can be distilled: our own GPT-2, and Llama-family models by transformers.

A network maps tokens [b, n] to logits [b, n, v] and can continue from a cache that it grows. What is left out:
padding; every sequence of a batch has the same length.
"""

import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from weights_tools.model_folder import load_gpt2, load_tokenizer, model_type, save_gpt2
from weights_tools.torch_gpt2 import TorchGPT2


class Network(Protocol):
    """What distillation needs of a model. The cache's type is the network's own business."""

    @property
    def module(self) -> nn.Module: ...
    def new_cache(self) -> Any: ...
    def logits(self, tokens: Tensor, cache: Any = None) -> Tensor: ...
    def save(self, folder: Path) -> None: ...


class OwnGPT2:
    """A `TorchGPT2` with its vocabulary."""

    def __init__(self, model: TorchGPT2, tokenizer: Tokenizer) -> None:
        self.module = model
        self._tokenizer = tokenizer

    def new_cache(self) -> Any:
        return self.module.new_cache()

    def logits(self, tokens: Tensor, cache: Any = None) -> Tensor:
        return self.module(tokens, cache)

    def save(self, folder: Path) -> None:
        save_gpt2(folder, self.module, self._tokenizer)


class ByTransformers:
    """A causal language model of the transformers library; `source` is the folder its tokenizer is copied from."""

    def __init__(self, model: Any, source: Path) -> None:
        self.module = model
        self._source = source

    def new_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache()

    def logits(self, tokens: Tensor, cache: Any = None) -> Tensor:
        return self.module(tokens, past_key_values=cache, use_cache=cache is not None).logits

    def save(self, folder: Path) -> None:
        floats = self.module.dtype
        self.module.half().save_pretrained(folder)
        self.module.to(floats)
        for path in self._source.glob("*token*"):
            shutil.copy(path, folder)


def load_network(folder: Path) -> Network:
    """The model of a folder, in float32, for evaluation until someone says `train()`."""
    network: Network
    if model_type(folder) == "gpt2":
        network = OwnGPT2(load_gpt2(folder), load_tokenizer(folder))
    else:
        from transformers import AutoModelForCausalLM

        network = ByTransformers(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), folder)
    network.module.eval()
    return network


def draft_from_layers(folder: Path, layers: list[int]) -> Network:
    """A draft that is `layers` of the target between its own embedding and head, which stay as they are.

    Freezing the two keeps the draft's vocabulary space the target's, and saves most of the optimiser's work: in
    SmolLM2-135M the embedding outweighs eight layers.
    """
    network = load_network(folder)
    module: Any = network.module
    if not isinstance(network, ByTransformers):
        raise ValueError("a draft from the target's layers is for Llama-family targets; train a GPT-2 draft on text")
    if not all(0 <= layer < len(module.model.layers) for layer in layers):
        raise ValueError(f"--layers {layers}: the target has layers 0 to {len(module.model.layers) - 1}")
    module.model.layers = nn.ModuleList(module.model.layers[layer] for layer in layers)
    module.config.num_hidden_layers = len(layers)
    if getattr(module.config, "layer_types", None):
        module.config.layer_types = [module.config.layer_types[layer] for layer in layers]
    for index, layer in enumerate(module.model.layers):
        layer.self_attn.layer_idx = index  # where the layer finds its rows in a cache
    for embedding in (module.get_input_embeddings(), module.get_output_embeddings()):
        embedding.weight.requires_grad_(False)
    return network
