"""A model folder as one object: network, tokenizer, and the tokens that end its text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, short
from refspec.errors import BadArgument, BadConfig, BadTokenizer, ContextExceeded, ModelNotFound
from refspec.files import is_there, read_json
from refspec.models import home
from refspec.models.cached_lm import CachedLM, check_ids, tokens_of
from refspec.models.sampling import Sampling
from refspec.models.tokenizer import Tokenizer
from refspec.transformer.config import GPT2Config, LlamaConfig, read_config, size_of
from refspec.transformer.gpt2 import GPT2, load_gpt2
from refspec.transformer.llama import Llama, load_llama
from refspec.transformer.weights import Checkpoint


@dataclass(frozen=True)
class Model:
    """What `load` returns. tokenizer is None where the folder has none: then prompts are ids.

    >>> import refspec
    >>> from refspec.models.model import Model
    >>> model = refspec.load("tiny-draft")
    >>> model.name, model.vocab_size, model.context
    ('tiny-draft', 1024, 256)
    """

    name: str
    network: GPT2 | Llama
    tokenizer: Tokenizer | None
    end_tokens: tuple[int, ...]

    def __repr__(self) -> str:
        """
        >>> import refspec
        >>> refspec.load("tiny-target")
        Model('tiny-target', gpt2, 10 layers x 160, 1,024 tokens, context 256)
        """
        return brief(self, short(self.name), size_of(self.config))

    @property
    def config(self) -> GPT2Config | LlamaConfig:
        """What the mathematics needs to know: layers, widths, context and the like.

        >>> import refspec
        >>> refspec.load("tiny-draft").config.layers
        1
        """
        return self.network.config

    @property
    def token_map(self) -> Mapping[str, int] | None:
        """token -> id; None without a tokenizer. Speculation compares it between target and draft (N12).

        >>> import refspec
        >>> refspec.load("tiny-draft").token_map["R"]
        50
        """
        return None if self.tokenizer is None else self.tokenizer.token_map

    def language_model(self, sampling: Sampling | None = None, **options: Any) -> CachedLM:
        """The model under a sampling, with an empty cache of its own. options: those of `Sampling`, in place of one.

        >>> import refspec
        >>> target = refspec.load("tiny-target").language_model(temperature=0.8, top_p=0.95)
        >>> target.probs((10, 20, 30)).shape
        (1, 1024)
        """
        if sampling is not None and options:
            raise BadArgument(f"{sampling} was given, and {', '.join(options)} beside it; give one or the other")
        return CachedLM(self.network, sampling or Sampling(**options), self.token_map)

    @property
    def vocab_size(self) -> int:
        """How many tokens it can say.

        >>> import refspec
        >>> refspec.load("tiny-draft").vocab_size
        1024
        """
        return tokens_of(self.network, self.token_map)

    @property
    def context(self) -> int:
        """How many positions there are.

        >>> import refspec
        >>> refspec.load("tiny-draft").context
        256
        """
        return self.config.context

    def probs(self, tokens: Sequence[int], last: int = 1) -> Array:
        """As a LanguageModel, at temperature 1. Nothing is remembered from call to call: to decode, use `language_model`.

        >>> import refspec
        >>> refspec.load("tiny-target").probs((10, 20, 30), last=2).shape
        (2, 1024)
        """
        return self.language_model().probs(tuple(tokens), last)

    def logits(self, tokens: Sequence[int]) -> Array:
        """tokens [n] -> logits [n, v] after each of them: no memory of other calls, no sampling.

        >>> import refspec
        >>> refspec.load("tiny-draft").logits([10, 20, 30]).shape
        (3, 1024)
        """
        if not tokens:
            raise BadArgument("logits of no tokens; give at least one")
        if len(tokens) > self.config.context:
            raise ContextExceeded(f"{len(tokens)} tokens were given to a model with a context of {self.config.context}")
        check_ids(tuple(tokens), self.config.vocab_size)
        return self.network.forward(np.array(tokens), self.network.new_cache(), last=len(tokens))


def load(name: str | Path, *, dtype: Any = np.float32, row_invariant: bool = False) -> Model:
    """The model in a folder in the Hugging Face layout, or a known one by its name (`refspec models` lists them).

    dtype: float32, or float64 for the oracle's mode (N11). row_invariant: each row's logits have the same bits however many
    rows share its forward pass, so that greedy and coupled speculation print the very tokens of plain decoding.
    Raises a RefspecError that says what is wrong with the folder.

    >>> import refspec
    >>> refspec.load("tiny-target", row_invariant=True).name
    'tiny-target'
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise BadArgument(f"dtype is {dtype}; weights and activations are float32 or float64")
    folder = home.find(name)
    config = read_config(folder)
    checkpoint = Checkpoint(folder, dtype)
    network: GPT2 | Llama
    if isinstance(config, GPT2Config):
        network = load_gpt2(config, checkpoint, row_invariant=row_invariant)
    else:
        network = load_llama(config, checkpoint, row_invariant=row_invariant)
    tokenizer = Tokenizer(folder) if is_there(folder / "tokenizer.json", BadTokenizer) else None
    if tokenizer is not None and max(tokenizer.token_map.values()) >= config.vocab_size:
        raise BadConfig(
            f"{folder}: the tokenizer has ids up to {max(tokenizer.token_map.values())} where config.json says vocab_size "
            f"{config.vocab_size}; tokenizer and weights are not of one model"
        )
    return Model(folder.resolve().name, network, tokenizer, end_tokens(folder))


def end_tokens(folder: Path) -> tuple[int, ...]:
    """The ids that end the model's text: from generation_config.json, which overrides config.json.

    >>> from refspec.models.model import end_tokens
    >>> from refspec.models import home
    >>> end_tokens(home.find("tiny-target"))
    (0,)
    """
    for name in ("generation_config.json", "config.json"):
        if is_there(folder / name):
            given = read_json(folder / name).get("eos_token_id")
            if given is not None:
                ids = given if isinstance(given, list) else [given]
                if not all(isinstance(each, int) and not isinstance(each, bool) for each in ids):
                    raise BadConfig(f"{folder / name}: eos_token_id is {given!r}; an id or a list of ids is needed")
                return tuple(ids)
    return ()


__all__ = ["Model", "ModelNotFound", "load"]
