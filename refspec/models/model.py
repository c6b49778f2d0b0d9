"""A model folder as one object: network, tokenizer, and the tokens that end its text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, counted, short
from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument, BadConfig, BadTokenizer, ContextExceeded, ModelNotFound
from refspec.files import is_there, read_json
from refspec.models import home
from refspec.models.cached_lm import CachedLM, check_ids, finite_logits, tokens_of
from refspec.models.sampling import Sampling
from refspec.models.tokenizer import Tokenizer
from refspec.models.torch_network import TorchConfig, TorchNetwork
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
    network: GPT2 | Llama | TorchNetwork
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
    def config(self) -> GPT2Config | LlamaConfig | TorchConfig:
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
        if self.tokenizer is None:
            return None
        rows, every = self.config.vocab_size, self.tokenizer.token_map
        return every if max(every.values()) < rows else {token: i for token, i in every.items() if i < rows}

    @property
    def chat_end_tokens(self) -> Tokens:
        """The ids that end a chat's turn: `end_tokens`, and the tokenizer's own end token.

        >>> import refspec
        >>> refspec.load("tiny-target").chat_end_tokens
        (0,)
        """
        return tuple(dict.fromkeys(self.end_tokens + own_end(self.tokenizer, self.config.vocab_size)))

    def language_model(self, sampling: Sampling | None = None, **options: Any) -> CachedLM:
        """The model under a sampling, with an empty cache of its own. options: those of `Sampling`, in place of one.

        >>> import refspec
        >>> target = refspec.load("tiny-target").language_model(temperature=0.8, top_p=0.95)
        >>> target.probs((10, 20, 30)).shape
        (1, 1024)
        """
        if sampling is not None and options:
            raise BadArgument(f"{sampling} was given, and {', '.join(options)} beside it; give one or the other")
        return CachedLM(self.network, sampling or Sampling(**options), self.token_map, self.name)

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
        return finite_logits(self.network, np.array(tokens), self.network.new_cache(), len(tokens), self.name)


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
    return Model(folder.resolve().name, network, *words(folder, config.vocab_size))


def words(folder: Path, rows: int) -> tuple[Tokenizer | None, Tokens]:
    """The tokenizer, if there is one, and the end tokens, for a network that knows so many tokens.

    >>> from refspec.models import home
    >>> from refspec.models.model import words
    >>> words(home.find("tiny-target"), 1024)
    (Tokenizer(1,024 tokens), (0,))
    """
    tokenizer = Tokenizer(folder) if is_there(folder / "tokenizer.json", BadTokenizer) else None
    if tokenizer is not None:
        _require_fit(tokenizer, rows, folder)
    return tokenizer, end_tokens(folder, tokenizer, rows)


def _require_fit(tokenizer: Tokenizer, rows: int, folder: Path) -> None:
    """Raises BadConfig for a learnt token without a row. An added one may have none ([PAD], for training): it is never drawn."""
    beyond = [token for token, i in tokenizer.token_map.items() if i >= rows and token not in tokenizer.added]
    if beyond:
        raise BadConfig(
            f"{folder}: the tokenizer has {counted(len(beyond), 'token')} without a row, such as {short(beyond[0])}, since "
            f"config.json says vocab_size {rows}; tokenizer and weights are not of one model"
        )


def end_tokens(folder: Path, tokenizer: Tokenizer | None, rows: int) -> tuple[int, ...]:
    """The ids that end the model's text, as the table in special_tokens.py has it. rows: how many tokens the network knows.

    >>> from refspec.models.model import end_tokens
    >>> from refspec.models import home
    >>> end_tokens(home.find("tiny-target"), None, 1024)
    (0,)
    """
    for name in ("generation_config.json", "config.json"):
        if is_there(folder / name):
            given = read_json(folder / name).get("eos_token_id")
            if given is not None:
                ids = given if isinstance(given, list) else [given]
                if not all(isinstance(each, int) and not isinstance(each, bool) and 0 <= each < rows for each in ids):
                    raise BadConfig(
                        f"{folder / name}: eos_token_id is {short(given)}; with vocab_size {rows}, ids run from 0 to {rows - 1}"
                    )
                return tuple(ids)
    return own_end(tokenizer, rows)


def own_end(tokenizer: Tokenizer | None, rows: int) -> tuple[int, ...]:
    """The tokenizer's eos_token; none where it has none, or one that is never drawn.

    >>> import refspec
    >>> from refspec.models.model import own_end
    >>> own_end(refspec.load("tiny-target").tokenizer, 1024)
    (0,)
    """
    end = None if tokenizer is None else tokenizer.token_map.get(tokenizer.names.get("eos_token", ""))
    return () if end is None or end >= rows else (end,)


__all__ = ["Model", "ModelNotFound", "load"]
