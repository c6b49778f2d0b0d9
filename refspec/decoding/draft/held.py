"""A drafter may hold others, and those others again: what is asked of a drafter is asked of all of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from refspec.decoding.draft import is_drafter
from refspec.decoding.optional import optional


def held(drafter: Any) -> Iterator[Any]:
    """The drafter and those that it holds, however deep: in an attribute, or in a list, tuple or dict that is one.

    What a function closes over is not seen.

    >>> import refspec
    >>> from refspec.decoding.draft.held import held
    >>> from refspec.decoding.draft.several import Several
    >>> inner = Several(refspec.NgramDrafter())
    >>> [type(each).__name__ for each in held(refspec.AdaptiveDrafter(inner, refspec.Profile((1, 2), 0)))]
    ['AdaptiveDrafter', 'Several', 'NgramDrafter']
    """
    seen: set[int] = set()
    waiting = [drafter]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        for part in getattr(each, "__dict__", {}).values():
            inside = part.values() if isinstance(part, Mapping) else part if isinstance(part, list | tuple) else (part,)
            waiting += [one for one in inside if is_drafter(one)]


def forget_texts(target: Any, drafter: Any = None) -> None:
    """Let all that a text is decoded with forget the text before, whose rows need not have the bits that they get anew (N11).

    >>> import refspec
    >>> from refspec.decoding.draft.held import forget_texts
    >>> lm = refspec.load("tiny-draft").language_model()
    >>> rows = lm.probs((1, 2, 3))
    >>> forget_texts(lm)
    >>> lm.cache.length
    0
    """
    for each in held(drafter):
        for part in (target, each, optional(each, "language_model")):
            if forget := optional(part, "forget_text"):
                forget()
