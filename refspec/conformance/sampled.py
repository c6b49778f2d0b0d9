"""The sampled level: an engine run from seeds, its texts counted and held against the law by G-tests.

The false alarm of a whole run, over all its tests together, is at most ALARM: each test has its share (Bonferroni) of a bound
that needs no limit (`gtest.py`). How many runs a case gets depends on the clock alone, never on what came of them: as many as
make the distance that it would find the same for all.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import cast

from refspec.conformance.adapter import Case, Dialect, Engine, Run, Sampled, Skip
from refspec.conformance.cases import CHECKS, Check
from refspec.conformance.checks import Finding, Report, asked, require
from refspec.conformance.expected import Law, row
from refspec.conformance.fixtures import fixture_checks
from refspec.conformance.gtest import View, blindness, detectable, divergence, seen_as, threshold, views
from refspec.conformance.judges import expected_law, said
from refspec.decoding.lm import Tokens
from refspec.proof.exact import total_variation

ALARM = 1e-9
BUDGET = 120.0  # seconds for an engine
FIRST, MOST = 100, 50_000  # runs of a case: to see how long one takes, and at most


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


def conform(engine: Engine, checks: Iterable[Check] = CHECKS.values(), budget: float = BUDGET) -> Report:
    """What each case of each check showed in about `budget` seconds. An engine that takes no tables gets the fixtures.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.sampled import conform
    >>> conform(Own(), [CHECKS["dead-draft"]], budget=0.1).code
    0
    """
    if not engine.dialect.tables:
        checks = [fixture_checks()[check.id] for check in checks if check.id in fixture_checks()]
    asked = [(check, case) for check in checks for case in check.cases if check.id != "zero-residual"]  # never seen in samples
    # of all checks, also where only some are run now: the others are run by themselves
    known = CHECKS if engine.dialect.tables else fixture_checks()
    every = (case for check in known.values() for case in check.cases if _able(engine.dialect, case))
    tests = sum(len(views(case.max_new_tokens)) + 2 for case in every)
    alpha = ALARM / max(1, tests)
    ends = time.perf_counter() + budget
    begun = [_begun(engine, check, case, alpha, seed=i * MOST) for i, (check, case) in enumerate(asked)]
    waiting, found = sum(each.cost for each in begun if isinstance(each, Begun)), []
    for each in begun:
        if isinstance(each, Finding):
            found.append(each)
            continue
        left = max(0.0, ends - time.perf_counter())
        found.append(_finished(engine, each, left * each.cost / waiting if each.cost else 0.0, alpha))
        waiting -= each.cost
    return Report(engine.dialect, "sampled", tuple(found))


def _able(dialect: Dialect, case: Case) -> bool:
    try:
        require(case, dialect)
    except Skip:
        return False
    return True


@dataclass(frozen=True)
class Begun:
    """The first runs of a case, from `seed` on, how many seconds one took, and what it costs to see as far as in the others."""

    check: Check
    case: Case
    seed: int
    runs: list[Run]
    pace: float
    cost: float


def _begun(engine: Engine, check: Check, case: Case, alpha: float, seed: int) -> Begun | Finding:
    def ask() -> Begun:
        require(case, engine.dialect)
        halves, times = [], [time.perf_counter()]
        for start in (seed, seed + FIRST // 2):  # the pace is that of the second half, when whatever warms up is warm
            halves += list(cast(Sampled, engine).sampled(case, range(start, start + FIRST // 2)))
            times.append(time.perf_counter())
        pace, cells = 2 * (times[2] - times[1]) / FIRST, len(expected_law(case, engine.dialect))
        # a text that is certain needs no law to be told
        return Begun(check, case, seed, halves, pace, pace * blindness(cells, alpha) ** 2 if cells > 1 else 0.0)

    begun: Begun | Finding = asked(ask, check.id, case.name, "sampled")
    return begun


def _finished(engine: Engine, begun: Begun, seconds: float, alpha: float) -> Finding:
    check, case = begun.check, begun.case

    def ask() -> Counted:
        more, start = min(MOST - FIRST, int(seconds / begun.pace)), begun.seed + FIRST
        return counted([*begun.runs, *(cast(Sampled, engine).sampled(case, range(start, start + more)) if more > 0 else ())])

    seen = asked(ask, check.id, case.name, "sampled")
    if isinstance(seen, Finding):
        return seen
    status, detail = judged(seen, check, case, engine.dialect, alpha)
    expected = expected_law(case, engine.dialect)
    distance = total_variation({text: Fraction(n, seen.runs) for text, n in seen.texts.items()}, expected)
    return Finding(check.id, case.name, "sampled", status, distance if status == "deviates" else Fraction(0), detail, seen)


def counted(runs: Sequence[Run]) -> Counted:
    """
    >>> from refspec.conformance.adapter import Run
    >>> from refspec.conformance.sampled import counted
    >>> counted([Run((0, 1)), Run((1, 0))]).pairs
    Counter({(0, 1): 1})
    """
    texts = [tuple(map(int, run.tokens)) for run in runs]
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
            return "deviates", f"the text {text} came {seen.texts[text]} times in {seen.runs}, and cannot"
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
