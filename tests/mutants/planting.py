"""How a bug is planted: the production source with one line changed, or a few lines of one's own."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

from properties import Subject

import refspec
from refspec.proof import exact


@dataclass(frozen=True)
class Known:
    """What is known of the bug: the law of the first token where every row of the target is p and of the draft q."""

    p: tuple[Fraction, ...]
    q: tuple[Fraction, ...]
    law: tuple[Any, ...]
    gamma: int = 1
    drafter: str = "model"
    tolerance: float = 0  # above 0 where only digits are known


@dataclass(frozen=True)
class Mutant:
    """A bug that people have written. room: the file here. source: who wrote it."""

    name: str
    room: str
    what: str
    source: str
    subject: Subject
    known: Known | None = None


def patched(name: str, *changes: tuple[str, str], **replaced: Any) -> ModuleType:
    """A copy of the module with each (old, new) made to its source, where old stands once, and these names replaced."""
    original = importlib.import_module(name)
    # mutmut runs the tests on a rewritten copy in mutants/; the source as it was written lies beside that folder
    source = Path(original.__file__.replace("/mutants/refspec/", "/refspec/")).read_text(encoding="utf-8")
    for old, new in changes:
        assert source.count(old) == 1, f"{name} has {source.count(old)} places that read {old!r}; move the mutant along"
        source = source.replace(old, new)
    copy = ModuleType(name)  # of the same name, so that dataclasses find their module
    exec(compile(source, f"{original.__file__} (mutant)", "exec"), vars(copy))
    vars(copy).update(replaced)
    return copy


def first_token_law(subject: Subject, known: Known) -> tuple[Fraction, ...]:
    target, draft = refspec.TableLM({(): known.p}), refspec.TableLM({(): known.q})

    def first(chance: refspec.Chance) -> int:
        # a prompt that holds every token, so that an n-gram drafter always proposes: token 0
        found = subject.rounds(
            target,
            subject.drafters[known.drafter](draft),
            (0, 0),
            gamma=known.gamma,
            max_new_tokens=known.gamma + 1,
            stop=(),
            chance=chance,
            verify=subject.rule,
        )
        return next(found).tokens[0]

    found = exact.law(first)
    return tuple(found.get(token, Fraction(0)) for token in range(len(known.p)))


def planted(room: str) -> tuple[list[Mutant], Callable[..., None]]:
    """An empty list, and what adds a mutant of this room to it."""
    mutants: list[Mutant] = []

    def plant(name: str, what: str, source: str, *, known: Known | None = None, **parts: Any) -> None:
        mutants.append(Mutant(name, room, what, source, Subject(**parts), known))

    return mutants, plant
