"""Drawn cases: two rational models, a drafter, and what a generation is asked for.

One recipe, two sources of choices. It is written against `integer(lowest, highest)`: Hypothesis answers it in `cases()`,
so that a failing case shrinks, and a seeded generator in `fixed(n)`, so that a mutant always meets the same ones. Lists of
sizes hide the edges in the middle, since Hypothesis likes both ends of a range: so does a row, whose ends would be uniform.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st

import refspec
from refspec.decoding.draft import Draft
from refspec.decoding.lm import LanguageModel, Tokens

Integer = Callable[[int, int], int]
Row = list[Fraction]
T = TypeVar("T")

DRAFTERS = ("model", "adversary", "ngram", "coupled")
SIZES = (3, 2, 3, 2, 3, 2, 3, 1, 2, 3, 2, 3, 2, 3)  # of a vocabulary
GAMMAS = (2, 3, 1, 2, 4, 2, 3, 0, 1, 2, 3, 1, 2, 3, 2)
HORIZONS = (3, 4, 2, 3, 4, 3, 2, 1, 4, 2, 0, 3, 4, 3, 2, 4, 3, 4)
CONFIDENCES = tuple(Fraction(*each) for each in [(0,), (1, 3), (0,), (1, 2), (1,), (0,), (2, 5), (0,)])
PROMPTS = (4, 2, 3, 0, 1, 5, 3, 4)
SKEWS = {"target": 38, "draft": 86}  # the row that the digit 0 stands for: 3, 2, 1 and 1, 2, 3
CONTEXT = {1: 1, 2: 3, 3: 2}  # how many tokens back a row looks, by vocabulary: at most 15 rows a table


class Table(refspec.TableLM):
    """A TableLM that Hypothesis can print."""

    def __init__(self, table: dict[Tokens, Row]) -> None:
        super().__init__(table)
        self.table = table

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{context}: ({', '.join(map(str, row))})" for context, row in self.table.items()) + "}"


@dataclass(frozen=True)
class Case:
    """gamma and horizon as `speculative` takes them. drafter: one of DRAFTERS. confidence: where it stops, if it is a model.
    profile: the odds by which it bets, None for a drafter that does not. seed: whatever else is to be chosen.
    """

    target: Table
    draft: Table
    drafter: str
    prompt: Tokens
    gamma: int
    horizon: int
    stop: frozenset[int]
    seed: int
    confidence: Fraction = Fraction(0)
    profile: refspec.Profile | None = None

    @property
    def vocab_size(self) -> int:
        return self.target.vocab_size


def law(integer: Integer, v: int, allowed: Tokens, skew: int) -> Row:
    """Weights of 0 to 4 on the allowed ids, so that zeros, ties and one-hot rows are common; drawn as one number in base 5."""
    digits = (integer(0, 5 ** len(allowed) - 1) + skew) % 5 ** len(allowed)
    weights = [0] * v
    for i, token in enumerate(allowed):
        weights[token] = digits // 5**i % 5 if digits else 1
    return [Fraction(weight, sum(weights)) for weight in weights]


def table(integer: Integer, v: int, skew: int = 0, avoiding: Table | None = None) -> Table:
    """A row of its own for every context. avoiding: give no weight to what this table allows, where it leaves something."""
    contexts = itertools.chain.from_iterable(itertools.product(range(v), repeat=n) for n in range(CONTEXT[v] + 1))
    rows = {}
    for context in contexts:
        taken = avoiding.table[context] if avoiding else [0] * v
        rows[context] = law(integer, v, tuple(i for i in range(v) if not taken[i]) or tuple(range(v)), skew)
    return Table(rows)


def case(integer: Integer, v: int, drafter: str) -> Case:
    def chosen(among: Sequence[T]) -> T:
        return among[integer(0, len(among) - 1)]

    target = table(integer, v, SKEWS["target"])
    relation = integer(0, 9)
    draft = target if relation == 3 else table(integer, v, SKEWS["draft"], avoiding=target if relation == 4 else None)
    return Case(
        target,
        draft,
        drafter,
        prompt=tuple(integer(0, v - 1) for _ in range(chosen(PROMPTS))),
        gamma=chosen(GAMMAS),
        horizon=chosen(HORIZONS),
        stop=frozenset(range(v)[: integer(0, 4) % 4 // 3]),
        seed=integer(0, 2**16),
        confidence=chosen(CONFIDENCES),
        profile=odds(integer) if integer(0, 5) in (2, 3) else None,
    )


def odds(integer: Integer) -> refspec.Profile:
    """Costs from a quarter to twice a plain step: some below it, as on no machine, so that soon a round changes the next bet."""
    return refspec.Profile((1, *(integer(1, 8) / 4 for _ in range(4))), draft=integer(0, 1) / 10)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return case(lambda low, high: draw(st.integers(low, high)), draw(st.sampled_from(SIZES)), draw(st.sampled_from(DRAFTERS)))


def fixed(n: int) -> Iterator[Case]:
    """The same n cases every time, each drafter in turn; with the room in which bugs show: V of 3, rounds of 2 and more."""
    for i in range(n):
        integer = random.Random(100 + i).randint  # of the first 36, none tells block-residual-of-token
        drawn = case(integer, 3, DRAFTERS[i % 4])
        yield replace(drawn, gamma=2 + i // 4 % 2, horizon=3, confidence=Fraction(0), profile=None)


# A bet that turns on where the last draft stopped: of drawn odds, one in a thousand is as fine.
STOPPED = Case(
    target=Table({(): [Fraction(1, 2), Fraction(1, 2)]}),
    draft=Table({(): [Fraction(1, 3), Fraction(2, 3)]}),
    drafter="coupled",
    prompt=(),
    gamma=3,
    horizon=4,
    stop=frozenset(),
    seed=0,
    confidence=Fraction(1, 2),
    profile=refspec.Profile((1, 1.5, 1.25, 0.25, 2), draft=0),
)


class Adversary:
    """Proposes whatever the text makes it: fewer tokens than asked, point masses, or draws from the law of another text."""

    state = None

    def __init__(self, language_model: LanguageModel) -> None:
        self.language_model = language_model

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        mood = sum((place + 2) * (token + 1) for place, token in enumerate(tokens))
        drafted: list[int] = []
        rows = []
        for i in range(gamma - mood % 3 % (gamma + 1)):
            row = self.language_model.probs((*drafted, *reversed(tokens)))[-1]
            if (mood + i) % 4 == 1:
                row = np.array([Fraction(token == mood % len(row)) for token in range(len(row))])
            rows.append(row)
            drafted.append(chance.pick(row) if (mood + i) % 4 != 1 else mood % len(row))
        if mood % 5 == 2:  # never drawn from a law, so no law to show
            return Draft(tuple((mood + i) % self.language_model.vocab_size for i in range(gamma)))
        return Draft(tuple(drafted), np.stack(rows) if rows else None)
