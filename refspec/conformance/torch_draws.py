"""PyTorch's draws, taken from a generator that is given: an engine's unmodified torch code under exact answers, tapes or seeds.

Inside `drawing_from(generator)` a uniform of torch (`rand`, `rand_like`, `uniform_`) is `generator.random()`, an exponential one
-log of it, and `multinomial` is `generator.choice(n, p=row)`, whatever `generator=` torch was handed. From a NumPy Generator come
ordinary tensors. From an `AnsweredGenerator` come tensors that are not drawn yet (`Undrawn`): what can be done with their entries
is written in `answered.py` and `races.py`, here is what moves them about. Any other draw, or use of one, raises by name.

Left out: a seed set inside is without effect, so that two draws from one seed count as independent; and code behind
`torch.compile` draws for itself.
"""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from refspec.conformance.answered import UndrawnUniform
from refspec.conformance.races import EPSILON, Clock, log, race
from refspec.errors import BadArgument

# What moves entries without looking at them. It is done to a tensor of their places instead.
MOVES = frozenset(
    "getitem view reshape flatten squeeze unsqueeze expand expand_as view_as repeat transpose permute t movedim unbind split "
    "chunk narrow select index_select gather T mT contiguous clone detach to float double cpu type_as".split()
)
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "radd": operator.add,
    "sub": operator.sub,
    "subtract": operator.sub,
    "rsub": lambda a, b: b - a,
    "mul": operator.mul,
    "multiply": operator.mul,
    "rmul": operator.mul,
    "div": operator.truediv,
    "truediv": operator.truediv,
    "true_divide": operator.truediv,
    "divide": operator.truediv,
    "rdiv": lambda a, b: b / a,
    "rtruediv": lambda a, b: b / a,
    "neg": operator.neg,
    "negative": operator.neg,
    "log": log,
}
COMPARISONS: dict[str, Callable[..., Any]] = {
    name: function
    for names, function in (
        ("lt less", operator.lt),
        ("le less_equal", operator.le),
        ("gt greater", operator.gt),
        ("ge greater_equal", operator.ge),
    )
    for name in names.split()
}
KNOWN = frozenset("shape dtype device ndim layout is_cuda requires_grad size dim numel len is_floating_point".split())
# Draws that are not answered. What is not listed here and draws all the same is not seen.
REFUSED = frozenset(
    "randn randn_like randint randint_like randperm normal normal_ random_ cauchy_ log_normal_ geometric_ poisson binomial "
    "gumbel_softmax".split()
)


class Undrawn(torch.Tensor):
    """A tensor of draws that are not drawn yet. Below `entries`, which are looked at, lie NaNs, which are not."""

    entries: np.ndarray[Any, Any]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return _answer(func, args, kwargs or {})


class _Drawing(TorchFunctionMode):
    def __init__(self, generator: Any) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in REFUSED:
            raise BadArgument(
                f"the engine drew with torch's {name}; rand, uniform_, exponential_, bernoulli and multinomial are answered"
            )
        if name == "multinomial":
            return self._multinomial(func, args, kwargs)
        if name in ("rand", "rand_like"):
            return self._fill(func(*args, **kwargs), self._uniform)
        if name == "uniform_":
            low, high = _bounds(*args[1:], **kwargs)
            return self._fill(args[0], lambda: low + (high - low) * self._uniform())
        if name == "exponential_":
            rate = kwargs.get("lambd", args[1] if len(args) > 1 else 1)
            return self._fill(args[0], lambda: _exponential(self._uniform()) / rate)
        if name == "bernoulli":
            return self._below(torch.empty_like(args[0]), args[0])
        if name == "bernoulli_":
            return self._below(args[0], kwargs.get("p", args[1] if len(args) > 1 else 0.5))
        return func(*args, **kwargs)

    def _uniform(self) -> Any:
        return self._generator.random()

    def _fill(self, tensor: torch.Tensor, draw: Callable[[], Any]) -> torch.Tensor:
        return _become(tensor, _objects([draw() for _ in range(tensor.numel())], tuple(tensor.shape)))

    def _below(self, tensor: torch.Tensor, chances: Any) -> torch.Tensor:
        wanted = np.broadcast_to(_numbers(chances), tuple(tensor.shape)).ravel()
        return tensor.copy_(torch.tensor([bool(self._uniform() < p) for p in wanted]).view(tensor.shape))

    def _multinomial(self, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
        drawn = func(*args, **kwargs)  # torch's own, for its shape, and for torch's own errors about the weights
        weights = args[0] if args else kwargs["input"]
        replacement = kwargs.get("replacement", args[2] if len(args) > 2 else False)
        for row, picked in zip(weights.double().reshape(-1, weights.shape[-1]), drawn.view(-1, drawn.shape[-1]), strict=True):
            left = row.numpy().copy()
            for i in range(len(picked)):
                picked[i] = int(self._generator.choice(len(left), p=left / left.sum()))
                if not replacement:
                    left[picked[i]] = 0
        return drawn


@contextmanager
def drawing_from(generator: Any) -> Iterator[None]:
    """Within it torch draws from `generator`: a NumPy Generator, or an AnsweredGenerator.

    >>> import torch
    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.torch_draws import drawing_from
    >>> def engine(generator):
    ...     with drawing_from(generator):
    ...         return bool(torch.rand(1) * 0.5 < torch.tensor(0.125)), int(torch.multinomial(torch.tensor([1.0, 3.0]), 1))
    >>> answered_law(engine)[True, 0]
    Fraction(1, 16)
    """
    with torch.random.fork_rng(devices=[]), _Drawing(generator):
        yield


def _answer(func: Any, args: Any, kwargs: Any) -> Any:
    name = func.__name__
    if name in ("__get__", "__set__"):  # a property
        name = func.__self__.__name__
    dunder, in_place = name.startswith("__"), not name.startswith("__") and name.endswith("_")
    plain = name.strip("_")
    if dunder and plain.startswith("i") and plain[1:] in ELEMENTWISE:
        plain, in_place = plain[1:], True
    if plain in KNOWN:
        return func(*args, **kwargs)
    if plain in ("item", "tolist"):
        return args[0].entries.item() if plain == "item" else args[0].entries.tolist()
    if plain in MOVES and not in_place and (not dunder or plain == "getitem") and isinstance(args[0], Undrawn):
        return _moved(func, args[0], args[1:], kwargs)
    if plain in ("argmax", "argmin") and isinstance(args[0], Undrawn):
        return _raced(args[0], *args[1:], largest=plain == "argmax", **kwargs)
    if plain in ("clamp", "clip", "clamp_min") and _clamps_nothing(*args[1:], **kwargs):
        return args[0]
    if plain == "searchsorted" and not kwargs and not isinstance(args[0], Undrawn):
        return _searched(*args)
    if plain in COMPARISONS and not kwargs:
        return torch.tensor(_each(COMPARISONS[plain], *args).astype(bool))
    if plain in ELEMENTWISE and not kwargs:
        entries = _each(ELEMENTWISE[plain], *args)
        return _become(args[0], entries) if in_place else _undrawn(entries)
    raise BadArgument(
        f"the engine used undrawn numbers in torch's {name}; + - * / by numbers, log, comparisons, argmax and argmin, .item(), "
        ".tolist() and moving them about are answered"
    )


def _become(tensor: torch.Tensor, entries: np.ndarray[Any, Any]) -> torch.Tensor:
    """The tensor with these entries, in place: as numbers where all are drawn, else as Undrawn."""
    if not _open(entries):
        top = 1 - torch.finfo(tensor.dtype).eps / 2  # a uniform stays below 1 when it is rounded
        numbers = [top if top < entry < 1 else entry for entry in entries.ravel()]
        return tensor.copy_(torch.tensor(numbers, dtype=tensor.dtype).view(tensor.shape))
    if tensor._base is not None:
        raise BadArgument("the engine drew into a part of a tensor; drawing into a whole one is answered")
    if entries.shape != tuple(tensor.shape):
        raise BadArgument(f"the engine put draws of shape {entries.shape} into a tensor of shape {tuple(tensor.shape)}")
    tensor.fill_(math.nan)
    tensor.__class__ = Undrawn
    tensor.entries = entries  # type: ignore[attr-defined]
    return tensor


def _undrawn(entries: np.ndarray[Any, Any]) -> torch.Tensor:
    return _become(torch.empty(entries.shape), entries)


def _moved(func: Any, tensor: Undrawn, args: Any, kwargs: Any) -> Any:
    places = torch.arange(tensor.entries.size).view(tensor.entries.shape)
    if getattr(func, "__name__", "") in ("to", "float", "double", "cpu", "type_as"):
        return _undrawn(tensor.entries)
    moved = func(places, *args, **kwargs)
    flat = tensor.entries.ravel()

    def there(places: torch.Tensor) -> torch.Tensor:
        return _undrawn(flat[places.numpy()] if places.ndim else _objects([flat[int(places)]], ()))

    return tuple(map(there, moved)) if isinstance(moved, Sequence) else there(moved)


def _raced(tensor: Undrawn, dim: int | None = None, keepdim: bool = False, *, largest: bool) -> torch.Tensor:
    entries = tensor.entries.reshape(-1) if dim is None else np.moveaxis(tensor.entries, dim, -1)
    rows = entries.reshape(-1, entries.shape[-1]).tolist()
    winners = torch.tensor([race(row, largest=largest) for row in rows]).view(entries.shape[:-1])
    return winners.unsqueeze(dim) if keepdim and dim is not None else winners


def _searched(ladder: torch.Tensor, values: Undrawn) -> torch.Tensor:
    """How many steps of each ladder [..., n] lie below each of its values [..., k]: the inverse CDF."""
    steps = _numbers(ladder)
    ladders = np.broadcast_to(steps, (*values.entries.shape[:-1], steps.shape[-1])).reshape(-1, steps.shape[-1])
    rows = values.entries.reshape(len(ladders), -1)
    found = [
        next((i for i, step in enumerate(row) if u <= step), len(row)) for row, us in zip(ladders, rows, strict=True) for u in us
    ]
    return torch.tensor(found).view(values.entries.shape)


def _each(function: Callable[..., Any], *operands: Any) -> np.ndarray[Any, Any]:
    rows = np.broadcast_arrays(*map(_numbers, operands))
    return _objects([function(*entries) for entries in zip(*(row.ravel() for row in rows), strict=True)], rows[0].shape)


def _numbers(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Undrawn):
        return value.entries
    if isinstance(value, torch.Tensor):
        flat = value.detach().flatten().tolist()
        return _objects(flat, tuple(value.shape))
    return _objects([value], ())


def _objects(entries: list[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    made = np.empty(len(entries), dtype=object)
    made[:] = entries
    return made.reshape(shape)


def _open(entries: np.ndarray[Any, Any]) -> bool:
    return any(isinstance(entry, (UndrawnUniform, Clock)) for entry in entries.ravel())


def _exponential(uniform: Any) -> Any:
    return -log(1 - uniform) if isinstance(uniform, UndrawnUniform) else -math.log1p(-uniform)


def _bounds(low: float = 0, high: float = 1, **given: Any) -> tuple[float, float]:
    return given.get("from", low), given.get("to", high)


def _clamps_nothing(min: float | None = None, max: float | None = None) -> bool:  # noqa: A002
    """A clamp that keeps a uniform away from 0 or 1 by no more than an epsilon."""
    return (min is None or min <= EPSILON) and (max is None or max >= 1 - EPSILON)
