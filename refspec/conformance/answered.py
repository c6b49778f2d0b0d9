"""Generators that answer instead of drawing: an engine's unmodified code runs along every branch, and its law is exact.

`random()` gives a uniform that is not drawn yet (`undrawn.py`), `choice` branches over its weights. Some paths are run twice: an
engine that does something else under the same answers draws elsewhere as well, and has no law that could be found so.
"""

from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import Any, NoReturn, TypeVar, cast

import numpy as np

from refspec.conformance.undrawn import Drawn, UndrawnUniform, as_fraction
from refspec.errors import BadArgument
from refspec.proof.exact import Branch, law

Outcome = TypeVar("Outcome", bound=Hashable)
REPEATED = frozenset(4**n for n in range(10))  # which paths are run twice


class AnsweredGenerator:
    """In the place of a NumPy Generator: random, choice with p, choices with weights. branch: for the draws of other libraries.

    round_ended: what an adapter calls after each round, with the Run so far (`adapter.round_ended`).

    >>> from refspec.conformance.answered import answered_law
    >>> answered_law(lambda generator: int(generator.choice(2, p=[0.25, 0.75])))
    {0: Fraction(1, 4), 1: Fraction(3, 4)}
    """

    def __init__(self, branch: Branch, round_ended: Callable[[Any], None] = lambda run: None) -> None:
        self.branch, self.round_ended = branch, round_ended

    def random(self, size: Any = None) -> Any:
        return self._shaped(lambda: UndrawnUniform(Drawn(self.branch)), size)

    def uniform(self, low: Any = 0, high: Any = 1, size: Any = None) -> Any:
        return self.random(size) * (high - low) + low

    def exponential(self, scale: Any = 1, size: Any = None) -> Any:
        return self._shaped(lambda: -self.random().log(), size) * scale

    def standard_exponential(self, size: Any = None) -> Any:
        return self.exponential(size=size)

    def gumbel(self, loc: Any = 0, scale: Any = 1, size: Any = None) -> Any:
        return self._shaped(lambda: -(-self.random().log()).log(), size) * scale + loc

    def choice(self, a: Any, size: Any = None, replace: bool = True, p: Any = None, **_: Any) -> Any:
        ids = range(a) if isinstance(a, (int, np.integer)) else a
        weights = [Fraction(1)] * len(ids) if p is None else list(map(as_fraction, p))

        def drawn() -> Any:
            found = self._weighed(tuple(weights))
            if not replace:
                weights[found] = Fraction(0)
            return ids[found]

        made = self._shaped(drawn, size)
        return made if size is None else np.array(made.tolist())

    def choices(self, population: Sequence[Any], weights: Any = None, *, k: int = 1) -> list[Any]:
        return [self.choice(population, p=weights) for _ in range(k)]

    def multinomial(self, n: int, pvals: Any, size: Any = None) -> Any:
        rows = [np.bincount(self.choice(len(pvals), n, p=pvals), minlength=len(pvals)) for _ in range(int(np.prod(size or ())))]
        return rows[0] if size is None else np.array(rows).reshape(*np.empty(size).shape, len(pvals))

    def _weighed(self, weights: Any) -> int:
        return self.branch.ask(lambda: weights)

    @staticmethod
    def _shaped(draw: Callable[[], Any], size: Any) -> Any:
        if size is None:
            return draw()
        made = np.empty(size, dtype=object)
        for place in np.ndindex(made.shape):
            made[place] = draw()
        return made

    def __getattr__(self, name: str) -> NoReturn:
        raise BadArgument(
            f"the engine drew with {name}(); what can be answered is random(), uniform(), choice(), choices(), multinomial(), "
            "exponential() and gumbel()"
        )


def answered_law(program: Callable[[Any], Outcome], *, max_paths: int = 100_000) -> dict[Outcome, Fraction]:
    """{outcome: probability} of a program that draws from the generator it is given, over every branch.

    Raises EnumerationLimit beyond max_paths runs, BadArgument for a draw that cannot be answered.

    >>> from refspec.conformance.answered import answered_law
    >>> answered_law(lambda generator: generator.random() * 0.5 < 0.125)
    {True: Fraction(1, 4), False: Fraction(3, 4)}
    """
    paths = 0

    def watched(generator: Any) -> Outcome:
        nonlocal paths
        outcome = program(generator)
        paths += 1
        for _ in range((paths in REPEATED) * (1 if generator.branch.asked else 32)):  # more where nothing at all was asked
            _require_same(program, generator.branch, outcome)
        return outcome

    return law(cast(Any, watched), chance=cast(Any, AnsweredGenerator), max_paths=max_paths)


def _require_same(program: Callable[[Any], Outcome], path: Branch, outcome: Outcome) -> None:
    """Raises BadArgument where the program does something else under the same answers."""
    again = Branch(tuple(path.given), path.weight, [], path.max_questions)
    try:
        same = program(AnsweredGenerator(again)) == outcome and (again.asked, again.given) == (path.asked, path.given)
    except (Exception, SystemExit):  # whatever an engine does with answers that were meant for other questions
        same = False
    if not same:
        raise BadArgument(
            "the engine did something else under the same answers: it carries something over from run to run, or also draws "
            "where nobody answers, from a generator made before the run or by a function imported by its name"
        )
