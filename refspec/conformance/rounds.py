"""An engine's exact law round by round: equal texts are followed once, from one of the ways in which they came about.

The engine runs from its own beginning along the answers that led to a text, with its cache and its processors as they are then,
and is branched in the next round alone. Texts count as equal that have the same tokens, and whose last draft was kept whole in
both or in neither. Taken for granted: that what follows depends on nothing else. An engine that carries more from round to round
is seen along one of its ways, not along all.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Any, cast

from refspec.conformance.adapter import Answered, Case, Run
from refspec.conformance.answered import AnsweredGenerator
from refspec.conformance.answers import as_run
from refspec.conformance.judges import Observed
from refspec.decoding.lm import Tokens
from refspec.proof.exact import Branch, law


@dataclass
class _Text:
    """Where a text stands after so many rounds: one way there, as a run and its answers, and the weight of all ways."""

    run: Run
    rounds: int
    answers: tuple[int, ...]
    weight: Fraction


class _Onward:
    """A branch whose first answers are given."""

    def __init__(self, given: Sequence[int], branch: Branch) -> None:
        self._branch, self.answers, self._asked = branch, list(given), 0

    def ask(self, weigh: Any) -> int:
        if self._asked == len(self.answers):
            self.answers.append(self._branch.ask(weigh))
        self._asked += 1
        return self.answers[self._asked - 1]


class _Ended(BaseException):
    """Leaves the engine where a round has ended: no Exception, which an engine may catch."""


def round_by_round(engine: Answered, case: Case, max_paths: int = 100_000) -> Observed:
    """The engine's law of a case. Raises EnumerationLimit beyond max_paths runs of one round.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.rounds import round_by_round
    >>> round_by_round(Own(), CHECKS["one-round-law"].cases[0]).accepted
    Fraction(5, 8)
    """
    finished: defaultdict[Tokens, Fraction] = defaultdict(Fraction)
    waiting: list[dict[Hashable, _Text]] = [{} for _ in range(case.max_new_tokens)]
    waiting[0][()] = _Text(Run((), 0, 0), 0, (), Fraction(1))
    drafted = accepted = Fraction(0)
    for text in chain.from_iterable(texts.values() for texts in waiting):
        onward: Any = partial(_one_round, engine, case, text)
        outcomes = law(onward, chance=cast(Any, partial(_Onward, text.answers)), max_paths=max_paths)
        for (run, rounds, answers), share in outcomes.items():
            weight = text.weight * share
            new_drafted, kept = _since(text.run, run)
            drafted, accepted = drafted + weight * new_drafted, accepted + weight * kept
            if not rounds:
                finished[run.tokens] += weight
                continue
            alike = waiting[len(run.tokens)]
            alike.setdefault((run.tokens, kept == new_drafted), _Text(run, rounds, answers, Fraction(0))).weight += weight
    return Observed(dict(finished), drafted, accepted)


def _one_round(engine: Answered, case: Case, text: _Text, path: _Onward) -> tuple[Run, int, tuple[int, ...]]:
    """How the text goes on in one round: the run so far, after how many rounds (0: it is whole), and the answers up to there."""
    ended: list[Run] = []

    def round_ended(run: Run) -> None:
        ended.append(as_run(run))
        new = len(ended) > text.rounds and len(ended[-1].tokens) > len(text.run.tokens)
        if new and len(run.tokens) < case.max_new_tokens and ended[-1].tokens[-1] not in case.stop:
            raise _Ended

    try:
        run = engine.answered(case, AnsweredGenerator(cast(Any, path), round_ended))
    except _Ended:
        return ended[-1], len(ended), tuple(path.answers)
    return as_run(run), 0, ()


def _since(before: Run, after: Run) -> tuple[int, int]:
    """How many tokens were drafted, and accepted, between the two; none where the engine does not say."""
    return (after.drafted or 0) - (before.drafted or 0), (after.accepted or 0) - (before.accepted or 0)
