"""The keys of a `config.json`: each is taken once, checked as it is taken, and what is left over must change nothing."""

from pathlib import Path
from typing import Any

from refspec.brief import PART, counted, cut, short
from refspec.errors import BadConfig, UnsupportedModel
from refspec.transformer.meaning import NEUTRAL, changes_nothing, equal

LARGEST = 1 << 40  # no size of a model is near it, and float arithmetic on it is exact
LEAST, MOST = 2.0**-126, (2 - 2.0**-23) * 2.0**127  # of float32, which a number must not be 0 or infinite in
SHOWN = 240  # characters of what is refused, so that a message stays one that is read


class Keys:
    """The keys of a configuration, each to be taken once. What is not implemented is collected, and refused at the end."""

    def __init__(self, path: Path, given: dict[str, Any]) -> None:
        self.path = path
        self.given = dict(given)
        self.left = set(given)
        self.reasons: list[str] = []

    def take(self, key: str, default: Any = None) -> Any:
        self.left.discard(key)
        value = self.given.get(key)
        return default if value is None else value

    def count(self, key: str, default: int | None = None) -> int:
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
            raise BadConfig(f"{self.path}: {key} is {value!r}; a whole number from 1 to {LARGEST} is needed")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.take(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not LEAST <= value <= MOST:
            raise BadConfig(f"{self.path}: {key} is {value!r}; a number above 0 is needed that float32 holds, 1.2e-38 to 3.4e38")
        return float(value)

    def switch(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise BadConfig(f"{self.path}: {key} is {value!r}; true or false is needed")
        return value

    def typed(self, key: str, kind: type) -> Any:
        """A list or an object, empty where there is none."""
        value = self.take(key, kind())
        if not isinstance(value, kind):
            raise BadConfig(f"{self.path}: {key} is {value!r}; {'a list' if kind is list else 'an object'} is needed")
        return value

    def must_be(self, key: str, *allowed: Any) -> None:
        """Refuse any value but these; an absent key has the first."""
        if key in self.left and not any(equal(self.given[key], each) for each in allowed):
            self.refuse(key, self.given[key], " or ".join(map(repr, allowed)))
        self.left.discard(key)

    def also_called(self, key: str, *others: str) -> None:
        """Several names of one thing: whichever is there counts. Raises BadConfig where two differ."""
        merged = Merged(self.path)
        for each in (key, *others):
            merged.add(key, self.take(each), each)
        self.given |= merged.values

    def divides(self, part: int, whole: int, part_name: str, whole_name: str) -> None:
        if whole % part:
            raise BadConfig(f"{self.path}: {whole_name} is {whole}, which {part_name} ({part}) does not divide")

    def refuse(self, key: str, value: Any, allowed: str) -> None:
        self.reasons.append(f"{key} is {short(value)}; refspec implements {allowed}")

    def judge_the_rest(self) -> None:
        """Collect what is left over and might change the logits."""
        rest = sorted(key for key in self.left if not changes_nothing(key, self.given))
        for key in [each for each in rest if each in NEUTRAL]:
            self.refuse(key, self.given[key], repr(NEUTRAL[key]))
        if unknown := [key for key in rest if key not in NEUTRAL]:
            self.reasons.append(
                f"{listed({key: self.given[key] for key in unknown})}, which refspec does not know; "
                "remove a key only if it does not change the model's mathematics"
            )

    def raise_what_was_refused(self) -> None:
        """Raises UnsupportedModel with all of it, in one message."""
        if self.reasons:
            raise UnsupportedModel(f"{self.path}: {'; '.join(self.reasons)}")


def listed(given: dict[str, Any]) -> str:
    """Keys and what they are; only their names where that gets too long, and as many as there is room for.

    >>> from refspec.transformer.keys import listed
    >>> listed({"num_experts": 8, "softcap": 30.0}), listed({f"key_{i}": "a" * 50 for i in range(9)})
    ('num_experts is 8, softcap is 30.0', 'key_0, key_1, key_2, key_3, key_4, key_5, key_6, key_7, key_8')
    """
    names = [cut(key, PART) for key in given]
    said = ", ".join(f"{name} is {short(value)}" for name, value in zip(names, given.values(), strict=True))
    if len(said) <= SHOWN:
        return said
    shown = max(1, sum(len(", ".join(names[:n])) <= SHOWN for n in range(1, len(names) + 1)))
    return ", ".join(names[:shown]) + (f" and {counted(len(names) - shown, 'more key')}" if shown < len(names) else "")


class Merged:
    """What several places of a file say of one thing, which must not contradict each other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        self._places: dict[str, str] = {}

    def add(self, key: str, value: Any, place: str) -> None:
        """Raises BadConfig where another place says something else of `key`."""
        if value is None:
            return
        if key in self.values and not equal(self.values[key], value):
            ours, theirs = f"{short(self.values[key])} in {self._places[key]}", f"{short(value)} in {place}"
            raise BadConfig(f"{self.path}: {key} is {ours} and {theirs}, which contradict each other; remove the wrong one")
        self.values[key] = value
        self._places[key] = place
