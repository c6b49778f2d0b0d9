"""The exact distribution of what a program does with chance: run it along every branch, and add up what each branch weighs.

`law` gives it, as {outcome: probability}, for any program. It is run once a path; at each question
that is new on the path the first possible answer is given and the others are put aside for later runs. Weights are ints or
Fractions, so the result is exact and sums to 1. The production loop runs under it as it is: nothing here knows what it decodes.

`sequence_law` gives that of a whole generation faster. Paths meet where they lead to one text and one state of the
drafter, and it enumerates one round for each of those and lets the weights flow. That is right where what follows depends
on nothing else; it checks that of every round, and raises CannotMerge where it does not hold.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeVar, Unpack

import numpy as np

from refspec.arrays import Array
from refspec.decoding import loop
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Drafter
from refspec.decoding.draft.state import Carried
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.loop import EachRound
from refspec.decoding.round import Round
from refspec.errors import BadProbabilities, EnumerationLimit
from refspec.numeric import whole
from refspec.proof.lazy_race import LazyRace
from refspec.proof.left_over import Race, Races, left_over, require_untold

Outcome = TypeVar("Outcome", bound=Hashable)
Row = tuple[Fraction | int, ...]


def law(
    program: Callable[[Chance], Outcome],
    *,
    chance: "Callable[[Branch], Chance] | None" = None,
    max_paths: int = 1_000_000,
    max_questions: int = 10_000,
) -> dict[Outcome, Fraction]:
    """{outcome: probability} of `program(chance)`, over every branch of positive probability.

    chance: how a question branches; by default over exact rationals (`ExactChance`). Raises EnumerationLimit beyond
    max_paths runs or max_questions on one path, BadProbabilities for a float where exact weights are needed.

    >>> from refspec.exact import law
    >>> law(lambda chance: chance.pick([1, 2]) + chance.pick([1, 2]))
    {0: Fraction(1, 9), 1: Fraction(4, 9), 2: Fraction(4, 9)}
    """
    answers = ExactChance if chance is None else chance
    total: defaultdict[Outcome, Fraction] = defaultdict(Fraction)
    open_branches: list[Branch] = []
    open_branches.append(Branch((), Fraction(1), open_branches, max_questions))
    paths = 0
    while open_branches:
        if paths == max_paths:
            raise EnumerationLimit(f"more than {max_paths} paths (max_paths); shorten the program or raise the limit")
        branch = open_branches.pop()
        outcome = program(answers(branch))
        total[outcome] += branch.weight
        paths += 1
    return dict(total)


class Branch:
    """One path through a program: the answers it must give again, then the first possible one to every new question.

    >>> from refspec.exact import law
    >>> law(lambda branch: branch.ask(lambda: (1, 2)), chance=lambda branch: branch)
    {0: Fraction(1, 3), 1: Fraction(2, 3)}
    """

    def __init__(self, given: tuple[int, ...], weight: Fraction, put_aside: "list[Branch]", max_questions: int) -> None:
        self.given = list(given)
        self.asked = 0
        self.weight = weight
        self.put_aside = put_aside
        self.max_questions = max_questions

    def ask(self, weigh: Callable[[], Sequence[Fraction | int]]) -> int:
        """Which of several answers this path takes.

        weigh: their weights, which need not sum to one; called only where the question is new. A weight of 0 is never taken.
        """
        if self.asked == len(self.given):
            if self.asked == self.max_questions:
                raise EnumerationLimit(f"a path asks more than {self.max_questions} questions (max_questions); does it end?")
            weights = weigh()
            total, before = sum(weights), self.weight
            first, *others = [index for index, weight in enumerate(weights) if weight > 0]
            for index in others:
                share = before * Fraction(weights[index], total)
                self.put_aside.append(Branch((*self.given, index), share, self.put_aside, self.max_questions))
            if others:
                self.weight = before * Fraction(weights[first], total)
            self.given.append(first)
        self.asked += 1
        return self.given[self.asked - 1]


class ExactChance:
    """Chance over the rationals: every question is answered in each possible way, with its exact probability.

    >>> from refspec.exact import ExactChance, law
    >>> law(lambda chance: chance.accept(1, 3), chance=ExactChance)
    {True: Fraction(1, 3), False: Fraction(2, 3)}
    """

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        self._raced: defaultdict[Hashable, tuple[list[Array], list[int]]] = defaultdict(lambda: ([], []))

    def accept(self, p: Any, q: Any) -> bool:
        def weigh() -> tuple[Fraction | int, Fraction | int]:
            ours, theirs = exactly(p), exactly(q)
            return (1, 0) if ours >= theirs else (ours, theirs - ours)

        return self._branch.ask(weigh) == 0

    def pick(self, weights: Array) -> int:
        return self._branch.ask(lambda: exact_row(weights))

    def race(self, key: Hashable, weights: Array) -> int:
        rows, winners = self._raced[key]
        rows.append(weights)

        def weigh() -> list[Fraction | int]:
            # of the winners of every race of this key so far, this one included
            together = race_law(tuple(exact_row(row) for row in rows))
            return [together.get((*winners, z), 0) for z in range(len(weights))]

        winners.append(self._branch.ask(weigh))
        return winners[-1]

    @property
    def races(self) -> list[Race]:
        """Those of this path: (key, row, winner), key by key."""
        return [
            (key, exact_row(row), winner)
            for key, (rows, winners) in self._raced.items()
            for row, winner in zip(rows, winners, strict=True)
        ]


@lru_cache(maxsize=10_000)
def race_law(rows: tuple[Row, ...]) -> dict[Tokens, Fraction]:
    """{winners: probability} of races of one key under these weights, one after another.

    >>> from refspec.exact import race_law
    >>> race_law(((1, 1), (1, 2)))
    {(0, 1): Fraction(1, 6), (0, 0): Fraction(1, 3), (1, 1): Fraction(1, 2)}
    """

    def races(chance: Chance) -> Tokens:
        clocks = LazyRace(len(rows[0]))
        return tuple(clocks.run(row, chance) for row in rows)

    return law(races)


def exact_row(weights: Array) -> Row:
    """Weights to pick from, as ints and Fractions. Raises BadProbabilities where there is nothing to pick.

    >>> import numpy as np
    >>> from refspec.exact import exact_row
    >>> exact_row(np.array([1, 2]))
    (1, 2)
    """
    row = tuple(exactly(weight) for weight in weights)
    if not row or min(row) < 0 or max(row) == 0:
        raise BadProbabilities(f"cannot pick from the weights {row}; they are >= 0 and not all zero")
    return row


def exactly(weight: Any) -> Fraction | int:
    """A weight as an int or a Fraction; a NumPy integer would overflow in silence inside one. Floats are refused.

    >>> from fractions import Fraction
    >>> import numpy as np
    >>> from refspec.exact import exactly
    >>> exactly(np.int64(2)), exactly(Fraction(1, 2))
    (2, Fraction(1, 2))
    """
    if isinstance(weight, Fraction):
        return weight
    if isinstance(weight, (int, np.integer)):
        return int(weight)
    raise BadProbabilities(f"the weight {weight!r} is a {type(weight).__name__}; exact enumeration takes ints and Fractions")


Rounds = Callable[..., Iterator[Round]]  # the loop, a round at a time: `loop.rounds`, or another one to be tested like it


def sequence_law(
    target: LanguageModel,
    drafter: Drafter,
    prompt: Sequence[int] = (),
    *,
    max_new_tokens: int,
    stop: Collection[int] = (),
    rounds: Rounds = loop.rounds,
    max_paths: int = 1_000_000,
    **options: Unpack[EachRound],
) -> dict[Tokens, Fraction]:
    """{generated tokens: probability} of `speculative`, one round enumerated for each distinct text.

    Texts merge on their tokens, which fix the remaining length, and on what the drafter carries (`draft.state`). Each
    round starts its races anew, which is right where the noise of a position that a rejected draft has raced is independent
    of the text and the state (`left_over`). max_paths bounds each round. Agrees with `law`, or raises CannotMerge; of
    `rounds`, and of a target, it takes for granted that they carry nothing from round to round.

    Options: gamma, max_new_tokens, stop=(), verify=refspec.verify.token, as in `speculative`.

    >>> from fractions import Fraction
    >>> import refspec
    >>> from refspec.exact import sequence_law
    >>> target, draft = (refspec.TableLM({(): [Fraction(p, 4), Fraction(4 - p, 4)]}) for p in (2, 1))
    >>> found = sequence_law(target, refspec.ModelDrafter(draft), gamma=2, max_new_tokens=2)
    >>> sorted(found), set(found.values())
    ([(0, 0), (0, 1), (1, 0), (1, 1)], {Fraction(1, 4)})
    """
    whole("max_new_tokens", max_new_tokens, 0)
    target, prompt = Remembered(target), tuple(prompt)
    finished: dict[Tokens, Fraction] = {}
    carried = Carried(drafter)
    # By length: every round emits at least one token, so the texts of one length are complete when all shorter ones are done.
    waiting: list[defaultdict[tuple[Tokens, Hashable], Fraction]] = [defaultdict(Fraction) for _ in range(max_new_tokens + 1)]
    waiting[0][(), carried.state] = Fraction(1)

    def ended(text: Tokens) -> bool:
        return len(text) == max_new_tokens or (text != () and text[-1] in stop)

    for length, texts in enumerate(waiting):
        for (text, state), weight in texts.items():
            if ended(text):
                finished[text] = weight
                continue

            def one_round(chance: Chance, text: Tokens = text, state: Hashable = state) -> tuple[Tokens, Hashable, Races]:
                assert isinstance(chance, ExactChance)  # as `law` has it
                left, here = max_new_tokens - len(text), prompt + text
                coming = rounds(target, carried.at(state), here, max_new_tokens=left, stop=stop, chance=chance, **options)
                emitted = next(coming).tokens
                if ended(text + emitted):
                    return emitted, None, ()
                start = len(prompt) + len(text)
                return emitted, carried.kept(), left_over(chance.races, start, start + len(emitted))

            outcomes: defaultdict[tuple[Tokens, Hashable], dict[Races, Fraction]] = defaultdict(dict)
            for (tokens, after, races), share in law(one_round, max_paths=max_paths).items():
                outcomes[tokens, after][races] = share
            for (tokens, after), shares in outcomes.items():
                require_untold(shares)
                waiting[length + len(tokens)][text + tokens, after] += weight * sum(shares.values())
    return finished


class Remembered:
    """A language model that answers a question it has heard before from memory: along branches, most are.

    >>> import refspec
    >>> from refspec.exact import Remembered
    >>> coin = Remembered(refspec.TableLM({(): [0.5, 0.5]}))
    >>> coin.probs((0,)) is coin.probs((0,))
    True
    """

    def __init__(self, language_model: LanguageModel) -> None:
        self._language_model = language_model
        self._rows: dict[tuple[Tokens, int], Array] = {}
        self.vocab_size = language_model.vocab_size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._language_model, name)

    def probs(self, tokens: Tokens, last: int = 1) -> Array:
        key = tokens, last
        if key not in self._rows:
            self._rows[key] = self._language_model.probs(tokens, last)
        return self._rows[key]


def total_variation(a: Mapping[Any, Fraction], b: Mapping[Any, Fraction]) -> Fraction:
    """Half the sum of the differences of two distributions: 0 iff they are equal, 1 iff they share no outcome.

    >>> from fractions import Fraction
    >>> from refspec.exact import total_variation
    >>> total_variation({0: Fraction(1, 2), 1: Fraction(1, 2)}, {0: Fraction(1)})
    Fraction(1, 2)
    """
    apart = (abs(a.get(key, Fraction(0)) - b.get(key, Fraction(0))) for key in a.keys() | b.keys())
    return sum(apart, Fraction(0)) / 2
