"""What torch's functions are to undrawn numbers, by their names without underscores: moves, arithmetic, questions, races."""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from refspec.conformance.races import Clock, log
from refspec.conformance.undrawn import UndrawnUniform

MOVES = frozenset(
    "getitem view reshape flatten ravel squeeze unsqueeze expand expand_as view_as repeat tile broadcast_to transpose permute "
    "swapaxes movedim t T mT unbind split chunk narrow select index_select gather take_along_dim masked_select flip roll "
    "repeat_interleave unflatten contiguous clone detach".split()
)
CASTS = frozenset("to float double half bfloat16 type type_as cpu".split())
JOINS = frozenset("cat concat concatenate stack hstack vstack".split())
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    name: function
    for names, function in (
        ("add radd", operator.add),
        ("sub subtract", operator.sub),
        ("rsub", lambda a, b: b - a),
        ("mul multiply rmul", operator.mul),
        ("div truediv true_divide divide", operator.truediv),
        ("rdiv rtruediv", lambda a, b: b / a),
        ("neg negative", operator.neg),
        ("reciprocal", lambda a: 1 / a),
        ("log", log),
        ("log1p", lambda a: log(1 + a)),
    )
    for name in names.split()
}
# What gives numbers, and their type: None for that of the tensor.
NUMBERS: dict[str, tuple[Callable[..., Any], torch.dtype | None]] = {
    name: (function, dtype)
    for names, function, dtype in (
        ("lt less", operator.lt, torch.bool),
        ("le less_equal", operator.le, torch.bool),
        ("gt greater", operator.gt, torch.bool),
        ("ge greater_equal", operator.ge, torch.bool),
        ("isnan", lambda entry: not is_open(entry) and math.isnan(entry), torch.bool),
        ("floor", math.floor, None),
        ("long", int, torch.int64),
    )
    for name in names.split()
}
READS: dict[str, Callable[[Any], Any]] = {
    "item": lambda found: found.item(),
    "tolist": lambda found: found.tolist(),
    "numpy": lambda found: found,
    "array": lambda found: found,
    "int": lambda found: int(found.item()),
}
# As torch has their arguments: the axis, how many win (None: all), whether the largest do, and whether the axis stays.
RACES: dict[str, Callable[..., tuple[int | None, int | None, bool, bool]]] = {
    "argmax": lambda dim=None, keepdim=False: (dim, 1, True, keepdim and dim is not None),
    "argmin": lambda dim=None, keepdim=False: (dim, 1, False, keepdim and dim is not None),
    "max": lambda dim, keepdim=False: (dim, 1, True, keepdim),
    "min": lambda dim, keepdim=False: (dim, 1, False, keepdim),
    "topk": lambda k, dim=-1, largest=True, sorted=True: (dim, k, largest, True),  # noqa: A006
    "sort": lambda dim=-1, descending=False, stable=False: (dim, None, descending, True),
    "argsort": lambda dim=-1, descending=False, stable=False: (dim, None, descending, True),
}
KNOWN = frozenset("shape dtype device ndim layout is_cuda requires_grad size dim numel len is_floating_point".split())


def is_open(entry: Any) -> bool:
    """Whether it is no number yet."""
    return isinstance(entry, (UndrawnUniform, Clock))
