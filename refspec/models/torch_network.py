"""A PyTorch model as a network of ours: ids in, logits out, over a cache that goes back.

Whatever maps ids [1, n] to logits [1, n, v] will do: a transformers model, a module of one's own, a function. A transformers
model is fed new tokens alone, and what was rejected is cropped from its cache; any other reads the whole text anew each time.

Left out: several texts in one pass, and states that cannot go back (Mamba and its like are read anew).
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, counted, short
from refspec.errors import BadArgument, CacheRange

CACHE_NAMES = "past_key_values", "cache"  # what transformers calls it: the second since 5.24


@dataclass(frozen=True)
class TorchConfig:
    """What can be told of a PyTorch model from outside. context: sys.maxsize where nobody says how long a text may be."""

    model_type: str
    vocab_size: int
    context: int

    def __str__(self) -> str:
        context = "any context" if self.context == sys.maxsize else f"context {self.context:,}"
        return f"{self.model_type} in PyTorch, {counted(self.vocab_size, 'token')}, {context}"


class TorchCache:
    """The ids that the model has read, and its own keys and values of them, where it keeps any (`past`).

    >>> from refspec.models.torch_network import TorchCache
    >>> cache = TorchCache(lambda: None)
    >>> cache.ids += [3, 1, 4]
    >>> cache.rollback(2)
    >>> cache.length, cache.ids
    (2, [3, 1])
    """

    def __init__(self, new_past: Callable[[], Any]) -> None:
        self._new_past = new_past
        self.forget()

    def forget(self) -> None:
        self.ids: list[int] = []
        self.past = self._new_past()

    @property
    def length(self) -> int:
        return len(self.ids)

    def rollback(self, length: int) -> None:
        """Keep the first `length` tokens (N10). Raises CacheRange out of range."""
        if not 0 <= length <= self.length:
            raise CacheRange(f"rollback to {length} of a cache with {counted(self.length, 'token')}")
        if length == 0:
            self.forget()
        elif self.past is not None and length < self.length:
            self.past.crop(length - self.length)  # a negative number drops as many, in every release of transformers
        del self.ids[length:]


def is_from_transformers(model: Any) -> bool:
    """Whether it is a model of that library, whose cache it then takes.

    >>> from refspec.models.torch_network import is_from_transformers
    >>> is_from_transformers(len)
    False
    """
    transformers: Any = sys.modules.get("transformers")  # without it there is none
    return transformers is not None and isinstance(model, transformers.PreTrainedModel)


class TorchNetwork:
    """What `cached_lm.Network` asks for. Raises BadArgument in one line for a model that does not answer as it must."""

    row_invariant = False  # PyTorch promises nothing of the kind

    def __init__(self, model: Any, *, name: str, vocab_size: int | None, context: int | None, cache: bool) -> None:
        try:
            import torch
        except ImportError:
            raise BadArgument("from_torch needs torch; run: pip install '.[peers]'") from None
        if not callable(model):
            raise BadArgument(f"the model is {short(model)}; give a PyTorch module, or a function from ids to logits")
        if getattr(model, "training", False):
            raise BadArgument(f"{name} is in training mode, where dropout makes each answer another; call model.eval() first")
        given = getattr(model, "config", None)
        if getattr(given, "is_encoder_decoder", False):
            raise BadArgument(f"{name} is an encoder and a decoder; give a model that continues one text")
        weights: Any = [*model.parameters(), *model.buffers()] if isinstance(model, torch.nn.Module) else []
        self._torch, self._model, self._name = torch, model, name
        self._device = weights[0].device if weights else "cpu"
        takes = inspect.signature(getattr(model, "forward", model)).parameters
        self._keeps_last = "logits_to_keep" in takes
        keeps = cache and is_from_transformers(model) and not getattr(model, "_is_stateful", False)
        self._cache_name = next((name for name in CACHE_NAMES if keeps and name in takes), None)

        probe = self.new_cache()
        logits = self._logits([0, 0], probe.past, 2)
        columns = logits.shape[-1]
        if vocab_size is not None and not 1 <= vocab_size <= columns:
            raise BadArgument(
                f"vocab_size is {vocab_size}; {name} has logits for {columns} ids, of which the last may be padding"
            )
        if probe.past is not None and probe.past.get_seq_length() != 2:
            raise BadArgument(f"{name} takes a cache and did not write its keys there; give cache=False to do without")
        self.dtype = logits.dtype
        known = context or getattr(given, "max_position_embeddings", None) or sys.maxsize
        self.config = TorchConfig(str(getattr(given, "model_type", name)), vocab_size or columns, known)

    def __repr__(self) -> str:
        return brief(self, str(self.config), str(self.dtype), "without a cache" if self._cache_name is None else "with its cache")

    def new_cache(self) -> Any:
        return TorchCache(self._new_past)

    def _new_past(self) -> Any:
        if self._cache_name is None:
            return None
        from transformers import DynamicCache

        return DynamicCache()  # without a configuration every layer keeps all it is given, and can go back

    def forward(self, tokens: Array, cache: Any, last: int = 1) -> Array:
        """tokens [n] -> logits [last, v] after each of the last `last` of them; the cache grows by n."""
        new = tokens.tolist()
        try:
            logits = self._logits(cache.ids + new if self._cache_name is None else new, cache.past, last)
        except BaseException:  # Ctrl-C too: some layers may hold the new tokens, and others not
            cache.forget()
            raise
        cache.ids += new
        return logits[:, : self.config.vocab_size]

    def forward_packed(self, texts: Sequence[Any]) -> Array:
        """New tokens of several texts, each with `tokens`, `cache` and `last` -> logits [last, v] of all, by a pass each."""
        return np.concatenate([self.forward(text.tokens, text.cache, text.last) for text in texts])

    def _logits(self, ids: list[int], past: Any, last: int) -> Array:
        """ids [n] -> [last, v], in float32, or float64 where the model's are. Raises BadArgument for an answer that is none."""
        torch = self._torch
        options: dict[str, Any] = {} if self._cache_name is None else {self._cache_name: past, "use_cache": True}
        if self._keeps_last:
            options["logits_to_keep"] = last  # the others need not pass the head
        with torch.inference_mode():
            given = self._model(torch.tensor([ids], device=self._device), **options)
        logits = getattr(given, "logits", given[0] if isinstance(given, tuple) and given else given)
        if not (isinstance(logits, torch.Tensor) and logits.is_floating_point()):
            raise BadArgument(f"{self._name} returned {short(given)}; it has to return logits, a tensor of floats [1, n, v]")
        rows = {len(ids), last} if self._keeps_last else {len(ids)}
        if not (logits.ndim == 3 and len(logits) == 1 and logits.shape[1] in rows and logits.shape[2] > 0):
            raise BadArgument(
                f"{self._name} returned logits of shape {list(logits.shape)} for ids of shape [1, {len(ids)}]; "
                f"it has to return a row for each id: [1, {len(ids)}, v]"
            )
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        rows_wanted: Array = logits[0, -last:].to("cpu", wide).numpy()
        return rows_wanted
