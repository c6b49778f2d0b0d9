"""Short reprs: an object as one line of fewer than LIMIT characters, with what a person wants to see first.

A notebook prints the repr of whatever stands last in a cell, and that of a model, written out, is half a million characters.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

LIMIT = 200
PART = 60  # characters for one field, or one argument


def brief(self: object, *parts: str) -> str:
    """`Name(part, part)`, cut where it gets too long. Write it as the body of a `__repr__`.

    >>> from refspec.brief import brief
    >>> brief(object(), "'tiny'", "2 layers")
    "object('tiny', 2 layers)"
    """
    return f"{type(self).__name__}({cut(', '.join(parts), LIMIT - len(type(self).__name__) - 3)})"


def by_fields(self: Any) -> str:
    """The repr of a dataclass from its fields, each of them short, without those that have their default.

    It goes into the class body as `__repr__ = by_fields`: `dataclass` keeps a repr that it finds there.

    >>> import numpy as np
    >>> from refspec.decoding.draft import Draft
    >>> Draft(tuple(range(1000)), np.ones((1000, 5)) / 5)
    Draft(tokens=(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... 989 more), probs=float64 [1000, 5])
    """
    given = {each.name: getattr(self, each.name) for each in fields(self) if each.repr}
    defaults = {each.name: each.default for each in fields(self)}
    return brief(self, *(f"{name}={short(value)}" for name, value in given.items() if value is not defaults[name]))


def short(value: object, width: int = PART) -> str:
    """A value in about `width` characters: what has a shape as its type and shape, a sequence by its first items.

    >>> import numpy as np
    >>> from refspec.brief import short
    >>> short(np.zeros((2, 3))), short("a" * 100, width=10), short((1, 2))
    ('float64 [2, 3]', "'aaaaaa...", '(1, 2)')
    """
    if isinstance(value, np.generic):
        return str(value)
    if (shape := getattr(value, "shape", None)) is not None:
        return f"{value.dtype if isinstance(value, np.ndarray) else type(value).__name__} {list(shape)}"
    if isinstance(value, str):
        return cut(repr(value[:width]), width) if len(value) <= width else cut(repr(value[:width]) + "...", width)
    if isinstance(value, tuple | list):
        return items(value, width)
    return cut(repr(value), width)


def items(values: Sequence[object], width: int) -> str:
    """As many items as there is width for, at least one, and how many more there are."""
    shown: list[str] = []
    for each in values:
        shown.append(short(each, width))
        if sum(map(len, shown)) + 2 * len(shown) > width // 2 and len(shown) < len(values):
            shown.append(f"... {len(values) - len(shown):,} more")
            break
    inside = ", ".join(shown) + ("," if len(values) == 1 and isinstance(values, tuple) else "")
    return f"[{inside}]" if isinstance(values, list) else f"({inside})"


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def counted(n: int, noun: str) -> str:
    """
    >>> from refspec.brief import counted
    >>> counted(1, "layer"), counted(49152, "token")
    ('1 layer', '49,152 tokens')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
