"""Tensors of draws that are not drawn yet: what torch's functions do with them.

What moves entries about is done to a tensor of their places, by torch itself, which so also tells what is a copy and what a view
that shares them. Arithmetic, logarithms, comparisons and races are those of `undrawn.py` and `races.py`, entry by entry. All
other functions raise, by name.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from refspec.conformance.casts import refuse_float
from refspec.conformance.races import EPSILON, ranked
from refspec.conformance.torch_names import CASTS, ELEMENTWISE, JOINS, KNOWN, MOVES, NUMBERS, RACES, READS, is_open
from refspec.errors import BadArgument


class Undrawn(torch.Tensor):
    """A tensor of draws that are not drawn yet. The numbers below are NaNs, which are not looked at.

    shared: the entries of its storage, one list for all tensors on it. places: where in the list its own lie, laid out alike.
    """

    shared: list[Any]
    places: torch.Tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return answer(func, args, kwargs or {})


def answer(func: Any, args: Any, kwargs: Any) -> Any:
    """What a function of torch gives that was handed undrawn numbers. Raises BadArgument, by name, for what is not answered."""
    with torch._C.DisableTorchFunctionSubclass():
        return _answer(func, args, kwargs)


def _answer(func: Any, args: Any, kwargs: Any) -> Any:
    name = func.__name__
    if name in ("__get__", "__set__"):  # a property
        name = func.__self__.__name__
    dunder, in_place = name.startswith("__"), not name.startswith("__") and name.endswith("_")
    plain = name.strip("_")
    if dunder and plain.startswith("i") and plain[1:] in ELEMENTWISE:
        plain, in_place = plain[1:], True
    first: Any = args[0] if args else None
    if isinstance(first, Undrawn):
        if plain in KNOWN:
            return func(*args, **kwargs)
        if name == "__float__":
            refuse_float()
        if plain in READS and all(each is None for each in (*args[1:], *kwargs.values())):
            return READS[plain](entries(first))
        if plain in MOVES and not in_place and (not dunder or plain == "getitem"):
            return _moved(func, first, args[1:], kwargs)
        if plain in CASTS and not in_place and not dunder:
            return _cast(first, func(*args, **kwargs))
        if plain in RACES and (name not in ("max", "min") or isinstance(kwargs.get("dim", args[1] if args[1:] else None), int)):
            return _raced(plain, *args, **kwargs)
        if plain in ("clamp", "clip", "clamp_min", "clamp_max") and _clamps_nothing(plain, *args[1:], **kwargs):
            return first
        if plain == "masked_fill" and not kwargs:
            mask, value = args[1:]
            return _put(first, mask, value) if in_place else _joined(torch.where, [value, first], mask)
    if plain in JOINS:
        return _joined(lambda *rows, **more: func(rows, *args[1:], **more), first, **kwargs)
    if plain == "where" and len(args) == 3 and not isinstance(first, Undrawn):
        return _joined(torch.where, args[1:], first)
    if plain == "setitem" or (name == "copy_" and not kwargs and len(args) == 2):
        return _put(first, *(args[1:] if plain == "setitem" else (..., args[1])))
    if plain in ("searchsorted", "bucketize") and kwargs.keys() <= {"right", "side", "out_int32"}:  # one point has no weight
        return _searched(*(args if plain == "searchsorted" else reversed(args)))
    if plain in NUMBERS and not in_place and not kwargs:
        function, dtype = NUMBERS[plain]
        rows = _each(function, *args)
        return torch.tensor(rows.tolist(), dtype=dtype or _dtype(args))
    if plain in ("add", "sub", "subtract") and kwargs.keys() == {"alpha"}:
        args, kwargs = (args[0], _answer(torch.mul, (args[1], kwargs["alpha"]), {})), {}
    if plain in ELEMENTWISE and not kwargs:
        found = _each(ELEMENTWISE[plain], *args)
        return become(first, found) if in_place else _undrawn(found, _dtype(args))
    raise BadArgument(
        f"the engine used undrawn numbers in torch's {name}; + - * / by numbers, log, comparisons, argmax and argmin, .item(), "
        ".tolist() and moving them about are answered"
    )


def become(tensor: torch.Tensor, found: np.ndarray[Any, Any]) -> torch.Tensor:
    """The tensor with these entries, in place: as numbers where all are drawn, else as Undrawn."""
    if not isinstance(tensor, Undrawn) and not any(map(is_open, found.ravel())):
        top = 1 - torch.finfo(tensor.dtype).eps / 2  # a uniform stays below 1 when it is rounded
        numbers = [top if top < entry < 1 else entry for entry in found.ravel()]
        return tensor.copy_(torch.tensor(numbers, dtype=tensor.dtype).view(tensor.shape))
    return _put(tensor, ..., found)


def entries(value: Any) -> np.ndarray[Any, Any]:
    """What lies in a tensor, an array or a number, as objects.

    >>> from refspec.conformance.torch_undrawn import entries
    >>> entries(0.5).tolist()
    0.5
    """
    if isinstance(value, Undrawn):
        return objects([value.shared[place] for place in value.places.flatten().tolist()], tuple(value.shape))
    if isinstance(value, torch.Tensor):
        return objects(value.detach().flatten().tolist(), tuple(value.shape))
    return value if isinstance(value, np.ndarray) else objects([value], ())


def objects(found: list[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    made = np.empty(len(found), dtype=object)
    made[:] = found
    return made.reshape(shape)


def _taken(tensor: Any) -> Undrawn:
    """The tensor, with entries that may be anything from now on. So has the tensor that it is a part of."""
    if isinstance(tensor, Undrawn):
        return tensor
    whole = tensor if tensor._base is None else tensor._base
    if not isinstance(whole, Undrawn):
        storage = whole.untyped_storage()
        # itself, the storage as an object of Python's, and the part: who else reads this memory would find nothing in it
        if torch._C._storage_Use_Count(storage._cdata) > 2 + (whole is not tensor) or not storage.resizable():
            raise BadArgument("the engine drew into memory that another tensor or array shares; draw into a tensor of its own")
        count = storage.nbytes() // whole.element_size()
        whole.shared = whole.detach().as_strided((count,), (1,), 0).tolist()
        whole.places = torch.arange(count).as_strided(whole.size(), whole.stride(), whole.storage_offset())
        whole.data.fill_(math.nan)
        whole.__class__ = Undrawn
    if tensor is not whole:
        tensor.shared = whole.shared
        tensor.places = whole.places.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
        tensor.__class__ = Undrawn
    return tensor


def _put(tensor: Any, index: Any, value: Any) -> torch.Tensor:
    """tensor[index] = value, for all tensors that share it."""
    taken = _taken(tensor)
    places = taken.places[index]
    for place, entry in zip(places.flatten().tolist(), np.broadcast_to(entries(value), tuple(places.shape)).ravel(), strict=True):
        taken.shared[place] = entry
    return taken


def _undrawn(found: np.ndarray[Any, Any], dtype: torch.dtype) -> torch.Tensor:
    return become(torch.empty(found.shape, dtype=dtype), found)


def _over(shared: list[Any], places: torch.Tensor, dtype: torch.dtype) -> Undrawn:
    """A tensor of this list's entries."""
    made = torch.full(tuple(places.shape), math.nan, dtype=dtype).as_subclass(Undrawn)
    made.shared, made.places = shared, places
    return made


def _moved(func: Any, tensor: Undrawn, args: Any, kwargs: Any) -> Any:
    def there(places: torch.Tensor) -> torch.Tensor:
        if places.untyped_storage().data_ptr() == tensor.places.untyped_storage().data_ptr():  # a view
            return _over(tensor.shared, places, tensor.dtype)
        return _undrawn(objects([tensor.shared[place] for place in places.flatten().tolist()], tuple(places.shape)), tensor.dtype)

    moved = func(tensor.places, *args, **kwargs)
    return tuple(map(there, moved)) if isinstance(moved, Sequence) else there(moved)


def _cast(tensor: Undrawn, cast: torch.Tensor) -> torch.Tensor:
    """cast: what torch makes of the NaNs below."""
    if cast is tensor:
        return tensor
    found = entries(tensor)
    if cast.dtype.is_floating_point:
        return _undrawn(found, cast.dtype)
    return torch.tensor(_each(bool if cast.dtype == torch.bool else int, tensor).tolist(), dtype=cast.dtype)


def _joined(func: Any, operands: Sequence[Any], *before: Any, **kwargs: Any) -> torch.Tensor:
    """func(*before, *operands), where what stands in the operands comes out again in other places."""
    found = [entries(operand) for operand in operands]
    pool = [entry for each in found for entry in each.ravel()]
    starts = np.cumsum([0, *(each.size for each in found)])
    rows = [torch.arange(start, start + each.size).view(each.shape) for start, each in zip(starts, found, strict=False)]
    places = func(*before, *rows, **kwargs)
    return _undrawn(objects([pool[place] for place in places.flatten().tolist()], tuple(places.shape)), _dtype(operands))


def _raced(name: str, tensor: Undrawn, *given: Any, **more: Any) -> Any:
    """Of clocks: the indices of those that win, with their values where torch gives both."""
    dim, count, largest, keepdim = RACES[name](*given, **more)
    rows = entries(tensor).reshape(-1) if dim is None else np.moveaxis(entries(tensor), dim, -1)
    count = rows.shape[-1] if count is None else count
    winners = [ranked(row.tolist(), count, largest=largest) for row in rows.reshape(-1, rows.shape[-1])]
    indices = np.array(winners).reshape(*rows.shape[:-1], count)
    found = [np.moveaxis(each, -1, dim or 0) for each in (np.take_along_axis(rows, indices, -1), indices)]
    values, places = found if keepdim else (each.squeeze(dim or 0) for each in found)
    if name.startswith("arg"):
        return torch.tensor(places)
    both = _undrawn(objects(values.ravel().tolist(), values.shape), tensor.dtype), torch.tensor(places)
    return getattr(torch.return_types, name)(both)


def _searched(ladder: torch.Tensor, values: Any) -> torch.Tensor:
    """How many steps of each ladder [..., n] lie below each of its values [..., k]: the inverse CDF."""
    steps, wanted = entries(ladder), entries(values)
    ladders = np.broadcast_to(steps, (*wanted.shape[:-1], steps.shape[-1])).reshape(-1, steps.shape[-1])
    rows = wanted.reshape(len(ladders), -1)
    found = [
        next((i for i, step in enumerate(row) if u <= step), len(row)) for row, us in zip(ladders, rows, strict=True) for u in us
    ]
    return torch.tensor(found).view(wanted.shape)


def _each(function: Callable[..., Any], *operands: Any) -> np.ndarray[Any, Any]:
    rows = np.broadcast_arrays(*map(entries, operands))
    return objects([function(*each) for each in zip(*(row.ravel() for row in rows), strict=True)], rows[0].shape)


def _dtype(operands: Any) -> torch.dtype:
    """That of the first tensor of floats."""
    floats = (each.dtype for each in operands if isinstance(each, torch.Tensor) and each.dtype.is_floating_point)
    return next(floats, torch.float32)


def _clamps_nothing(name: str, low: float | None = None, high: float | None = None, **given: float) -> bool:
    """A clamp that keeps a uniform away from 0 or 1 by no more than an epsilon."""
    low, high = given.get("min", low), given.get("max", high)
    if name == "clamp_max":
        low, high = None, low if high is None else high
    return (low is None or low <= EPSILON) and (high is None or high >= 1 - EPSILON)
