"""One interface for the two families that can be distilled: our own GPT-2, and Llama-family models by transformers.

A network maps tokens [b, n] to logits [b, n, v] and can continue from a cache that it grows. What is left out:
padding; every sequence of a batch has the same length.
"""

import copy
import shutil
from functools import partial
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from refspec.errors import BadArgument, BadWeights, reason
from refspec.transformer.config import GPT2Config, read_config
from refspec.transformer.weights import tensor_headers
from weights_tools.checkpoint import replace_atomically
from weights_tools.errors import MissingLibrary
from weights_tools.model_folder import load_gpt2, load_tokenizer, save_gpt2
from weights_tools.torch_gpt2 import TorchGPT2


class Network(Protocol):
    """What distillation needs of a model. The cache's type is the network's own business."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def context(self) -> int: ...
    def new_cache(self) -> Any: ...
    def logits(self, tokens: Tensor, cache: Any = None) -> Tensor: ...
    def last_logits(self, tokens: Tensor, cache: Any) -> Tensor: ...  # [b, v]
    def save(self, folder: Path) -> None: ...


class OwnGPT2:
    """A `TorchGPT2` with its vocabulary."""

    def __init__(self, model: TorchGPT2, tokenizer: Tokenizer) -> None:
        self.module = model
        self.context = model.shape.context
        self._tokenizer = tokenizer

    def new_cache(self) -> Any:
        return self.module.new_cache()

    def logits(self, tokens: Tensor, cache: Any = None) -> Tensor:
        return self.module(tokens, cache)

    def last_logits(self, tokens: Tensor, cache: Any) -> Tensor:
        return self.module(tokens, cache)[:, -1]

    def save(self, folder: Path) -> None:
        save_gpt2(folder, self.module, self._tokenizer)


class ByTransformers:
    """A causal language model of the transformers library; `source` is the folder its tokenizer is copied from."""

    def __init__(self, model: Any, source: Path) -> None:
        self.module = model
        self.context = int(model.config.max_position_embeddings)
        self._source = source
        # from transformers 5.24 on it is called `cache`
        self._cache_name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"

    def new_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache()

    def logits(self, tokens: Tensor, cache: Any = None) -> Tensor:
        return self._run(tokens, cache).logits

    def last_logits(self, tokens: Tensor, cache: Any) -> Tensor:
        """Of the prompt's other positions no logits are made: with a large vocabulary they would outweigh the model."""
        return self._run(tokens, cache, logits_to_keep=1).logits[:, -1]

    def _run(self, tokens: Tensor, cache: Any, **more: Any) -> Any:
        return self.module(tokens, **{self._cache_name: cache}, use_cache=cache is not None, **more)

    def save(self, folder: Path) -> None:
        with TemporaryDirectory() as scratch:
            copy.deepcopy(self.module).half().save_pretrained(scratch)
            for path in [*Path(scratch).iterdir(), *self._source.glob("*token*")]:
                replace_atomically(folder / path.name, partial(shutil.copyfile, path))


def load_network(folder: Path) -> Network:
    """The model of a folder, in float32, for evaluation until someone says `train()`."""
    config = read_config(folder)
    own = config.model_type == "gpt2"
    network = OwnGPT2(load_gpt2(folder), load_tokenizer(folder)) if own else by_transformers(folder)
    network.module.eval()
    return network


def by_transformers(folder: Path) -> ByTransformers:
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging
    except ImportError as error:
        raise MissingLibrary("any model but GPT-2 needs transformers here: pip install '.[peers]'") from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would break into ours at every save
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # a tensor that is missing is said in one line, below
    tensor_headers(folder)  # damaged files are refused in one line
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except Exception as error:  # of any kind
        raise BadWeights(f"{folder}: transformers cannot load it ({reason(error)})") from error
    model, found = loaded
    if found["missing_keys"]:  # it would be filled with random numbers
        raise BadWeights(f"{folder} lacks the tensor {min(found['missing_keys'])}; fetch the model again")
    return ByTransformers(model, folder)


def draft_from_layers(folder: Path, layers: list[int]) -> Network:
    """A draft that is `layers` of the target between its own embedding and head, which stay as they are.

    Freezing the two keeps the draft's vocabulary space the target's, and saves most of the optimiser's work: in
    SmolLM2-135M the embedding outweighs eight layers.
    """
    config = read_config(folder)
    if isinstance(config, GPT2Config):
        raise BadArgument("--layers is for a target of the Llama family; train a GPT-2 draft on text and give it as --draft")
    if len(set(layers)) < len(layers) or not all(0 <= layer < config.layers for layer in layers):
        listed = " ".join(map(str, layers))
        raise BadArgument(f"layers is {listed}; they are different ones of the target's, 0 to {config.layers - 1}")
    network = by_transformers(folder)
    module = network.module.eval()
    module.model.layers = nn.ModuleList(module.model.layers[layer] for layer in layers)
    module.config.num_hidden_layers = len(layers)
    if getattr(module.config, "layer_types", None):
        module.config.layer_types = [module.config.layer_types[layer] for layer in layers]
    for index, layer in enumerate(module.model.layers):
        layer.self_attn.layer_idx = index  # where the layer finds its rows in a cache
    for embedding in (module.get_input_embeddings(), module.get_output_embeddings()):
        embedding.weight.requires_grad_(False)
    return network
