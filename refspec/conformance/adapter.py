"""What an engine implements to be tested: one function from a case and a generator to a text."""

from dataclasses import dataclass
from typing import Any, Protocol

from refspec.decoding.lm import TableLM, Tokens


@dataclass(frozen=True)
class Case:
    """What to decode: two tables of float64 rows, a prompt, and the options.

    >>> import refspec
    >>> from refspec.conformance.adapter import Case
    >>> coin = refspec.TableLM({(): [0.5, 0.5]})
    >>> Case("coin", coin, coin, gamma=1, max_new_tokens=2).stop
    ()
    """

    name: str
    target: TableLM
    draft: TableLM
    gamma: int
    max_new_tokens: int
    prompt: Tokens = ()
    stop: Tokens = ()


@dataclass(frozen=True)
class Run:
    """The new tokens, without the prompt; how many were drafted in all rounds together, and how many of those were accepted.

    >>> from refspec.conformance.adapter import Run
    >>> Run((0, 1), drafted=1, accepted=1).tokens
    (0, 1)
    """

    tokens: Tokens
    drafted: int
    accepted: int


class Engine(Protocol):
    """An engine. Its draws come from `generator` alone: a NumPy Generator, or one that answers instead (`answered.py`)."""

    def __call__(self, case: Case, generator: Any) -> Run: ...
