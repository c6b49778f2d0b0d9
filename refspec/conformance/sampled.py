"""The sampled level: an engine run from seeds, its texts counted and held against the law by G-tests.

The false alarm of a whole run, over all its tests together, is at most ALARM: each test has its share (Bonferroni) of a bound
that needs no limit (`gtest.py`). How many runs a case gets depends on the clock alone, never on what came of them: as many as
make the distance that it would find the same for all.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from itertools import product
from typing import Any, cast

from refspec.conformance.adapter import Case, Dialect, Engine, Run, Sampled, Skip
from refspec.conformance.answers import as_runs, impossible
from refspec.conformance.asking import Asking
from refspec.conformance.cases import CHECKS, Check
from refspec.conformance.checks import require
from refspec.conformance.expected import Law, row
from refspec.conformance.findings import Finding, Report
from refspec.conformance.fixtures import fixture_checks
from refspec.conformance.gtest import View, blindness, detectable, divergence, seen_as, threshold, views
from refspec.conformance.judges import expected_law, said
from refspec.conformance.limits import LIMIT
from refspec.conformance.seeds import same_seed
from refspec.decoding.lm import Tokens
from refspec.proof.exact import total_variation

ALARM = 1e-9
BUDGET = 120.0  # seconds for an engine
FIRST, MOST = 100, 50_000  # runs of a case: to see how long one takes, and at most
PART = 8  # a question asks for as many runs as should take this part of the limit


@dataclass(frozen=True)
class Counted:
    """What the runs of a case gave: how often each text, what was drafted and accepted, the first tokens of two runs."""

    texts: Mapping[Tokens, int]
    drafted: int | None
    accepted: int | None
    pairs: Mapping[Tokens, int]

    @property
    def runs(self) -> int:
        return sum(self.texts.values())


def conform(
    engine: Engine, checks: Iterable[Check] = CHECKS.values(), budget: float = BUDGET, limit: float | None = LIMIT
) -> Report:
    """What each case of each check showed in about `budget` seconds. An engine that takes no tables gets the fixtures.

    limit: seconds for the answer to one question, of as many runs as should take an eighth of it; None: any time.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.sampled import conform
    >>> conform(Own(), [CHECKS["dead-draft"]], budget=0.1).code
    0
    """
    checks = tuple(checks)
    twice = [check for check in checks if check.id == "same-seed"]
    if not engine.dialect.tables:
        checks = [fixture_checks()[check.id] for check in checks if check.id in fixture_checks()]
    wanted = [(check, case) for check in checks for case in check.cases if check.id != "zero-residual"]  # never seen in samples
    alpha, asking, began = alarm(engine.dialect), Asking(limit, engine), time.perf_counter()
    samples = [Sample(engine, check, case, i * MOST, alpha, asking) for i, (check, case) in enumerate(wanted)]
    for part in (0.0, 0.3, 1.0):  # first to see how long a run takes; and again, since the first look may meet a busy moment
        share(samples, began + part * budget)
    known = (CHECKS if engine.dialect.tables else fixture_checks())["multi-round-law"]
    again = [same_seed(engine, known.cases, asking) for _ in twice]
    return Report(engine.dialect, "sampled", (*(each.finding() for each in samples), *again))


def share(samples: Sequence["Sample"], ends: float) -> None:
    """Runs until then, of each case in proportion to `blindness` squared, so that `detectable` comes out the same for all."""
    waiting = [each for each in samples if each.failed is None]
    for i, each in enumerate(waiting):
        after = waiting[i:]
        left = max(0.0, ends - time.perf_counter()) + sum(other.pace * len(other.runs) for other in after)
        cost = sum(other.pace * other.weight for other in after)
        each.reach(int(left / cost * each.weight) if cost else FIRST)


@lru_cache
def alarm(dialect: Dialect) -> float:
    """Each test's share of ALARM, of all checks, also where only some are run now: the others are run by themselves.

    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.sampled import alarm
    >>> 1e-12 < alarm(Own().dialect) < 1e-11
    True
    """
    known = CHECKS if dialect.tables else fixture_checks()
    every = (case for check in known.values() for case in check.cases if _able(dialect, case))
    return ALARM / max(1, sum(len(views(case.max_new_tokens)) + 2 for case in every))


def _able(dialect: Dialect, case: Case) -> bool:
    try:
        require(case, dialect)
    except Skip:
        return False
    return True


class Sample:
    """A case's runs so far, from `seed` on. pace: seconds a run; weight: `blindness` squared; failed: why there are no more."""

    def __init__(self, engine: Engine, check: Check, case: Case, seed: int, alpha: float, asking: Asking) -> None:
        self._engine, self._check, self._case, self._seed, self._alpha = engine, check, case, seed, alpha
        self._asking = asking
        self.runs: list[Run] = []
        self.failed: Finding | None = self._asked(lambda: require(case, engine.dialect))
        cells = 1 if self.failed else len(expected_law(case, engine.dialect))
        self.pace, self.weight = 0.0, blindness(cells, alpha) ** 2 if cells > 1 else 0.0  # what is certain needs few runs

    def reach(self, runs: int) -> None:
        """At least FIRST, at most MOST. The pace is that of the latest, when whatever warms up is warm."""
        wanted = max(FIRST, min(MOST, runs))
        while (done := len(self.runs)) < wanted and not self.failed:
            first, began = self._seed + done, time.perf_counter()
            seeds = range(first, first + self._at_once(wanted - done))
            found = self._asked(partial(self._made, seeds))
            if isinstance(found, Finding):
                self.failed = found
                return
            self.runs += found
            self.pace = (time.perf_counter() - began) / len(seeds)

    def _made(self, seeds: Sequence[int]) -> list[Run]:
        return as_runs(cast(Sampled, self._engine).sampled(self._case, seeds), seeds)

    def _at_once(self, left: int) -> int:
        """How many of the runs that are left to ask for in one question: equal parts of them."""
        if self._asking.limit is None:
            return left
        most = self._asking.limit / PART / self.pace if self.pace else FIRST / 10
        return math.ceil(left / math.ceil(left / max(1, most)))

    def finding(self) -> Finding:
        if self.failed and not (self.failed.status == "skipped" and self.runs):  # since another case of the check has broken
            return self.failed
        seen, check, case, dialect = counted(self.runs), self._check, self._case, self._engine.dialect
        status, detail = judged(seen, check, case, dialect, self._alpha)
        observed = {text: Fraction(n, seen.runs) for text, n in seen.texts.items()}
        distance = total_variation(observed, expected_law(case, dialect)) if status == "deviates" else Fraction(0)
        return Finding(check.id, case.name, "sampled", status, distance, detail, seen)

    def _asked(self, ask: Callable[[], Any]) -> Any:
        return self._asking(ask, self._check.id, self._case.name, "sampled")


def counted(runs: Sequence[Run]) -> Counted:
    """
    >>> from refspec.conformance.adapter import Run
    >>> from refspec.conformance.sampled import counted
    >>> counted([Run((0, 1)), Run((1, 0))]).pairs
    Counter({(0, 1): 1})
    """
    texts = [run.tokens for run in runs]
    firsts = [text[:1] for text in texts]
    known = all(run.drafted is not None for run in runs), all(run.accepted is not None for run in runs)
    return Counted(
        Counter(texts),
        sum(run.drafted or 0 for run in runs) if known[0] else None,
        sum(run.accepted or 0 for run in runs) if known[1] else None,
        Counter(a + b for a, b in zip(firsts[::2], firsts[1::2], strict=False)),
    )


def judged(seen: Counted, check: Check, case: Case, dialect: Dialect, alpha: float) -> tuple[str, str]:
    """The status, and in words what is wrong; where nothing is, how small a distance would have been seen."""
    expected = expected_law(case, dialect)
    for text in sorted(seen.texts):
        if text not in expected:
            why = impossible(text, case)
            return "deviates", f"the text {text} came {seen.texts[text]} times in {seen.runs}, and cannot{': ' * bool(why)}{why}"
    for view in views(case.max_new_tokens):
        if wrong := _off(view, seen.texts, expected, alpha):
            return "deviates", wrong
    firsts = seen_as(View("", lambda text: text[:1]), expected)
    twice = {a + b: p * q for (a, p), (b, q) in product(firsts.items(), repeat=2)}  # type: ignore[operator]
    if wrong := _off(View("first tokens of one seed and the next", lambda pair: pair), seen.pairs, twice, alpha):
        return "deviates", wrong
    if case.max_new_tokens > 1 and not seen.drafted:
        return "vacuous", "the draft was never used, or the engine does not say so"
    smallest = f"{seen.runs} runs; finds {detectable(seen.runs, len(expected), alpha):.2g} in total variation"
    if check.judge == "alive" and seen.accepted is not None and seen.accepted <= case.gamma * seen.runs:
        return "vacuous", f"of {case.max_new_tokens} certain tokens {seen.accepted / seen.runs:.2g} came from the draft: it died"
    if check.judge == "acceptance" and seen.accepted is not None and seen.drafted:
        return _acceptance(seen, case, alpha, smallest)
    return "conforms", smallest


def _off(view: View, texts: Mapping[Tokens, int], law: Law | Mapping[Tokens, Fraction], alpha: float) -> str:
    """What is wrong in this view, where its G-test fails."""
    counts, expected = seen_as(view, texts), seen_as(view, law)
    x = divergence(counts, expected)
    if x < threshold(alpha, len(expected)) or len(expected) == 1:
        return ""
    n = sum(counts.values())
    worst = max(expected, key=lambda cell: abs(counts.get(cell, 0) - n * expected[cell]))
    where = f"{view.name}: {worst}" if view.name != "whole texts" else f"the text {worst}"
    times = counts.get(worst, 0)
    return f"{where} came {times} times in {n}, {times / n:.4g}, and should come with {said(expected[worst])} (G {2 * x:.0f})"


def _acceptance(seen: Counted, case: Case, alpha: float, smallest: str) -> tuple[str, str]:
    """By Hoeffding, since each drafted token is one test of the same chance."""
    assert seen.drafted is not None  # as the caller has seen
    assert seen.accepted is not None
    best = sum(map(min, row(case, case.target, case.prompt), row(case, case.draft, case.prompt)))
    rate, margin = seen.accepted / seen.drafted, math.sqrt(math.log(1 / alpha) / (2 * seen.drafted))
    if rate > best + margin:
        return "deviates", f"it says that {rate:.4g} of drafts were accepted; {best} is the most"
    return "conforms", f"slow: keeps {rate:.4g} of drafts where {best} could be" if rate < best - margin else smallest
