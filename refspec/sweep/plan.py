"""A plan: lists, whose product are the cells of an experiment."""

import hashlib
import itertools
import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refspec.brief import short
from refspec.decoding.draft.profile import Profile
from refspec.decoding.verify import RULES
from refspec.errors import BadArgument, did_you_mean
from refspec.files import read_text

Cell = dict[str, Any]  # the options of `refspec.generate` by their names, as JSON


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Key:
    """A key of a plan. option: the option whose values it lists; `allowed` says which fit. default: where the key is left out;
    None where it may not be."""

    option: str
    fits: Callable[[Any], bool]
    allowed: str
    default: list[Any] | None


LISTS = {
    "models": Key("model", lambda value: isinstance(value, str), "names or folders", None),
    "prompts": Key("prompt", lambda value: isinstance(value, str) and bool(value), "texts", None),
    "drafters": Key("draft", lambda value: isinstance(value, str), '"none", "ngram", names or folders', ["none"]),
    "rules": Key("verify", lambda value: value in RULES, ", ".join(RULES), ["token"]),
    "gammas": Key("gamma", lambda value: value == "auto" or is_whole(value), 'whole numbers or "auto"', [4]),
    "temperatures": Key("temperature", is_number, "numbers", [1.0]),
    "seeds": Key("seed", is_whole, "whole numbers", [0]),
}
SINGLE = {
    "max_new_tokens": (is_whole, "a whole number", 64),
    "row_invariant": (lambda value: isinstance(value, bool), "true or false", False),
}


@dataclass(frozen=True)
class Plan:
    """digest: of all cells, in their order; results name it."""

    cells: tuple[Cell, ...]

    @property
    def digest(self) -> str:
        return digest(self.cells)

    @classmethod
    def read(cls, path: str | Path) -> "Plan":
        """Raises BadArgument, in one line, for what is no plan."""
        try:
            given = tomllib.loads(read_text(Path(path), kind=BadArgument))
        except tomllib.TOMLDecodeError as error:
            raise BadArgument(f"{path} is not TOML ({error})") from None
        try:
            return cls.of(given)
        except BadArgument as error:
            raise BadArgument(f"{path}: {error}") from None

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Plan":
        """
        >>> from refspec.sweep.plan import Plan
        >>> plan = Plan.of({"models": ["tiny-target"], "prompts": ["ROMEO:"], "gammas": [1, 2], "seeds": [0, 1, 2]})
        >>> len(plan.cells), plan.cells[0]["gamma"], plan.cells[-1]["seed"]
        (6, 1, 2)
        """
        known = (*LISTS, *SINGLE, "profile")
        for name in given:
            if name not in known:
                raise BadArgument(f"{short(name)} is no key of a plan{did_you_mean(name, known)}; there are {', '.join(known)}")
        lists = {key.option: listed(name, key, given) for name, key in LISTS.items()}
        single = {name: one(name, *how, given) for name, how in SINGLE.items()}
        if "auto" in lists["gamma"]:
            # in the cell, so that each worker bets alike
            path = given.get("profile")
            profile = Profile.embedded(few_rows_are_cheap=True) if path is None else Profile.load(path)
            single["profile"] = json.loads(json.dumps(asdict(profile)))
        elif "profile" in given:
            raise BadArgument('profile has no effect where gammas do not hold "auto"; leave it out')
        cells = (dict(zip(lists, values, strict=True)) | single for values in itertools.product(*lists.values()))
        return cls(tuple(cells))


def listed(name: str, key: Key, given: dict[str, Any]) -> list[Any]:
    values = given.get(name, key.default)
    if values is None:
        raise BadArgument(f"{name} is missing; it is a list of {key.allowed}")
    if not isinstance(values, list) or not values:
        raise BadArgument(f"{name} is {short(values)}; it is a list of {key.allowed}")
    for value in values:
        if not key.fits(value):
            raise BadArgument(f"{name} holds {short(value)}; it is a list of {key.allowed}")
    if len({json.dumps(value) for value in values}) < len(values):
        raise BadArgument(f"{name} holds a value twice: {short(values)}; its cells would be run twice")
    return values


def one(name: str, fits: Callable[[Any], bool], allowed: str, default: Any, given: dict[str, Any]) -> Any:
    value = given.get(name, default)
    if not fits(value):
        raise BadArgument(f"{name} is {short(value)}; it is {allowed}")
    return value


def digest(value: Any) -> str:
    """Sixteen digits that stand for a cell, or for all of them.

    >>> from refspec.sweep.plan import digest
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
