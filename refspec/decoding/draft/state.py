"""What a drafter carries from round to round, so that an enumeration may merge paths and go on from where they met.

A drafter may say it: `state`, any hashable, such that what it does next is a function of that, the text and chance. None says
that it carries nothing. Where neither its own class nor itself has one (an inherited one knows nothing of what a subclass
adds), its state is all that it holds, as pickle writes it down: equal bytes are equal drafters. Language models are
not written down: they answer a text alike, whatever was asked before.
"""

import io
import pickle
from collections.abc import Hashable
from types import FunctionType
from typing import Any

from refspec.decoding.draft import Drafter
from refspec.decoding.optional import optional
from refspec.errors import CannotMerge


def state_of(drafter: Drafter) -> Hashable:
    """What the drafter carries. Raises CannotMerge where that cannot be told."""
    name = type(drafter).__name__
    if says_its_state(drafter):
        state: Hashable = drafter.state  # type: ignore[attr-defined]
        try:
            hash(state)
        except TypeError:
            raise CannotMerge(
                f"the state of {name} is of type {type(state).__name__}, which has no hash; make it a tuple"
            ) from None
        return state
    try:
        return Writer(drafter).written
    except Exception as error:  # whatever its parts raise when they are pickled
        raise CannotMerge(
            f"{name} has no `state` and cannot be pickled ({error}); give it one, None where it carries nothing, or take `law`"
        ) from None


def says_its_state(drafter: Drafter) -> bool:
    return "state" in vars(type(drafter)) or "state" in getattr(drafter, "__dict__", ())


class Writer(pickle.Pickler):
    """Pickles a drafter but for what its copies may share: its language model, classes, functions that close over nothing."""

    def __init__(self, drafter: Drafter) -> None:
        bytes_ = io.BytesIO()
        super().__init__(bytes_)
        self.shared: dict[int, Any] = {}
        self._language_model = optional(drafter, "language_model")
        self.dump(drafter)
        self.written = bytes_.getvalue()

    def persistent_id(self, part: Any) -> int | None:
        plain = isinstance(part, type) or (isinstance(part, FunctionType) and part.__closure__ is None)
        if not plain and (part is None or part is not self._language_model):
            return None
        self.shared[id(part)] = part
        return id(part)


class Reader(pickle.Unpickler):
    """Makes a copy of what a Writer wrote."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(io.BytesIO(writer.written))
        self._shared = writer.shared

    def persistent_load(self, part: int) -> Any:
        return self._shared[part]


class Carried:
    """One drafter, in each of the states that it has been in. The one that was given stays as it is, if it can be copied."""

    def __init__(self, drafter: Drafter) -> None:
        self._copies: dict[Hashable, Writer | Exception] = {}
        self._own = drafter
        self.state = self.kept()
        if isinstance(copy := self._copies[self.state], Writer):
            self._own = Reader(copy).load()

    def at(self, state: Hashable) -> Drafter:
        """The drafter in this state: the one last used, if it is still or again in it, else a copy."""
        if not says_its_state(self._own) or state_of(self._own) != state:
            copy, name = self._copies[state], type(self._own).__name__
            if isinstance(copy, Exception):
                raise CannotMerge(f"{name} changes its state and cannot be pickled ({copy}); take `law`")
            self._own = Reader(copy).load()
            if says_its_state(self._own) and state_of(self._own) != state:
                raise CannotMerge(f"a copy of {name} is not in the state of the original; take `law`")
        return self._own

    def kept(self) -> Hashable:
        """The state that the drafter is in now, kept so that it can be had again."""
        state = state_of(self._own)
        if state not in self._copies:
            try:
                self._copies[state] = Writer(self._own)
            except Exception as error:
                self._copies[state] = error
        return state
