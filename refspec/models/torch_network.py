"""A PyTorch model as a network of ours: ids in, logits out, over a cache that goes back.

Whatever maps ids [1, n] to logits [1, n, v] will do: a transformers model, a module of one's own, a function. A transformers
model is fed new tokens alone, and what was rejected is cropped from its cache; any other reads the whole text anew each time.

Nothing is taken on trust. At the door three short texts are asked for, one of them behind a rollback: a cache that does not go
back is done without, and a model whose rows depend on what comes later, on what was asked before or on luck is refused.

Left out: several texts in one pass, and states that cannot go back (Mamba and its like are read anew).
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, counted, short
from refspec.errors import BadArgument, CacheRange, RefspecError
from refspec.numeric import whole

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


def parameters(model: Any) -> Mapping[str, Any]:
    """Of the function that is called; none where Python cannot say.

    >>> from refspec.models.torch_network import parameters
    >>> list(parameters(lambda ids: ids)), list(parameters(min))
    (['ids'], [])
    """
    try:
        return inspect.signature(getattr(model, "forward", model)).parameters
    except (TypeError, ValueError):
        return {}


def logits_of(given: Any) -> Any:
    """What a model returned, without what it may have returned beside the logits.

    >>> from refspec.models.torch_network import logits_of
    >>> logits_of({"logits": 1, "loss": None}), logits_of((1, None)), logits_of(1)
    (1, 1, 1)
    """
    if isinstance(given, Mapping):
        return given.get("logits", given)
    return getattr(given, "logits", given[0] if isinstance(given, (tuple, list)) and given else given)


class TorchNetwork:
    """What `cached_lm.Network` asks for. Raises BadArgument in one line for a model that does not answer as it must."""

    row_invariant = False  # PyTorch promises nothing of the kind

    def __init__(self, model: Any, *, name: str, vocab_size: int | None, context: int | None, cache: bool) -> None:
        try:
            import torch
        except ImportError:
            raise BadArgument("from_torch needs torch; run: pip install '.[peers]'") from None
        if not callable(model) or isinstance(model, type):
            raise BadArgument(f"the model is {short(model)}; give a PyTorch module, or a function from ids to logits")
        modules: Any = list(model.modules()) if isinstance(model, torch.nn.Module) else []
        if any(each.training for each in modules):
            raise BadArgument(f"{name} is in training mode, where dropout makes each answer another; call model.eval() first")
        given = getattr(model, "config", None)
        if getattr(given, "is_encoder_decoder", False):
            raise BadArgument(f"{name} is an encoder and a decoder; give a model that continues one text")
        if context is not None:
            whole("context", context, 1)
        weights: Any = [*model.parameters(), *model.buffers()] if modules else []
        self._torch, self._model, self._name = torch, model, name
        self._device = weights[0].device if weights else "cpu"
        # a row's rounding changes with the pass: by a few per cent in 16 bits, as a model without modules may compute
        self._close = (
            0.01 if modules and all(each.dtype in (torch.float32, torch.float64) for each in model.parameters()) else 0.1
        )

        takes = parameters(model)
        self._keeps_last = "logits_to_keep" in takes
        keeps = cache and is_from_transformers(model) and not getattr(model, "_is_stateful", False)
        self._columns = columns = self._find_a_way([each for each in CACHE_NAMES if keeps and each in takes])
        if vocab_size is not None:
            whole("vocab_size", vocab_size, 1)
            if vocab_size > columns:
                raise BadArgument(
                    f"vocab_size is {vocab_size}; {name} has logits for {columns} ids, of which the last may be padding"
                )
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

    def _find_a_way(self, cache_names: list[str]) -> int:
        """Choose the cache, or none, with which rows are a function of their text; how many columns logits have."""
        for self._cache_name in (*cache_names[:1], None):
            try:
                rows, again = self._asked_twice()
                with np.errstate(invalid="ignore", over="ignore"):
                    differ = np.abs(rows - again) > self._close * np.ptp(rows)  # not where a NaN stands: its first use tells
            except RefspecError:
                raise
            except Exception as error:
                if self._cache_name is not None:
                    continue
                raise BadArgument(
                    f"{self._name} cannot be asked: {short(error, 150)}; "
                    "it has to map ids [1, n], and nothing else, to logits [1, n, v]"
                ) from error
            if not differ.any():
                self.dtype = rows.dtype
                return rows.shape[1]
        raise BadArgument(
            f"{self._name} gives a text other logits when it is asked again, or when more tokens follow; "
            "give a causal model that draws nothing and keeps no state of its own"
        )

    def _asked_twice(self) -> tuple[Array, Array]:
        """[3, v] of one text twice: anew, and with another text before it, of which the cache forgets all but the first token."""
        cache = self.new_cache()
        first = self._read([0, 0], cache, 2)
        text = [0, *(each % first.shape[1] for each in (1, 2))]
        cache.rollback(1)
        then = self._read(text[1:], cache, 2)
        return self._read(text, self.new_cache(), 3), np.concatenate([first[:1], then])

    def forward(self, tokens: Array, cache: Any, last: int = 1) -> Array:
        """tokens [n] -> logits [last, v] after each of the last `last` of them; the cache grows by n."""
        logits = self._read(tokens.tolist(), cache, last)
        if logits.shape[1] != self._columns:
            raise BadArgument(
                f"{self._name} returned logits for {logits.shape[1]} ids, and for {self._columns} before; fix one size"
            )
        return logits[:, : self.config.vocab_size]

    def _read(self, new: list[int], cache: Any, last: int) -> Array:
        try:
            logits = self._logits(cache.ids + new if self._cache_name is None else new, cache.past, last)
        except BaseException:  # Ctrl-C too: some layers may hold the new tokens, and others not
            cache.forget()
            raise
        cache.ids += new
        return logits

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
        logits = logits_of(given)
        if not (isinstance(logits, torch.Tensor) and logits.is_floating_point()):
            raise BadArgument(f"{self._name} returned {short(given)}; it has to return logits, a tensor of floats [1, n, v]")
        rows = {len(ids), last} if self._keeps_last else {len(ids)}
        if not (logits.ndim == 3 and len(logits) == 1 and logits.shape[1] in rows and logits.shape[2] > 0):
            raise BadArgument(
                f"{self._name} returned logits of shape {list(logits.shape)} for ids of shape [1, {len(ids)}]; "
                f"it has to return a row for each id: [1, {len(ids)}, v]"
            )
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        found: Array = logits[0, -last:].to("cpu", wide).numpy().copy()  # a copy: the model may write there again
        # -inf forbids a token, whose probability is then 0; where it forbids all, or a NaN stands, that is for others to tell
        np.maximum(found, np.finfo(found.dtype).min, out=found, where=found.max(axis=-1, keepdims=True) > -np.inf)
        return found
