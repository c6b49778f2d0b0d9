"""Every bug that the kit knows, put to the kit: `python -m refspec.conformance.zoo [BUG ...]` prints what each level finds.

A bug is found where a vector or a case deviates, and named where the diagnosis has it first. The sampled level is given as many
runs of each case as find a distance of FINDS, DRAWS times over. They are drawn from the law that the exact level enumerated: to
run the engine would take two minutes a bug, for runs that are independent and of that law.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

from refspec.conformance import replay, sampled
from refspec.conformance.bugs import BUGS
from refspec.conformance.cases import CHECKS
from refspec.conformance.diagnosis import answer_of, diagnosed
from refspec.conformance.findings import Finding, Report
from refspec.conformance.gtest import blindness, seen_as, views
from refspec.conformance.judges import expected_law
from refspec.decoding.chance import seeded_generator
from refspec.errors import did_you_mean

FINDS, DRAWS = 0.1, 10  # what two minutes find of an engine that makes a text in half a millisecond
EVERY = tuple(f"{check.id}/{case.name}" for check in CHECKS.values() for case in check.cases)


@dataclass(frozen=True)
class Shown:
    """What a level shows of a bug. check: the first that deviates, "" where none does. wrong: how many of how many findings.
    distance: the largest in total variation. named: the bugs of the diagnosis, the likeliest first.

    >>> from refspec.conformance.zoo import exactly
    >>> shown = exactly("processors-miss-the-prompt", ["length/one token", "processors/of the prompt"])
    >>> shown.check, shown.wrong, shown.asked, shown.named[0]
    ('processors', 1, 2, 'processors-miss-the-prompt')
    """

    bug: str
    check: str
    wrong: int
    asked: int
    distance: float
    named: tuple[str, ...]

    @property
    def is_named(self) -> bool:
        return self.named[:1] == (self.bug,)


def replayed(bug: str) -> Shown:
    return shown(bug, replay.conform(BUGS[bug].engine))


def exactly(bug: str, ids: Sequence[str] = EVERY) -> Shown:
    return shown(bug, Report(BUGS[bug].engine.dialect, "exact", tuple(answer_of(bug, *each.split("/")) for each in ids)))


def in_samples(bug: str, seed: int, ids: Sequence[str] = EVERY) -> Shown:
    """Of runs drawn from the bug's exact laws."""
    found = tuple(_drawn(bug, each, seed) for each in ids if not each.startswith("zero-residual"))  # as `sampled.conform`
    return shown(bug, Report(BUGS[bug].engine.dialect, "sampled", found))


def _drawn(bug: str, asked: str, seed: int) -> Finding:
    exact = answer_of(bug, *asked.split("/"))
    if exact.seen is None:
        return replace(exact, level="sampled")
    check = CHECKS[exact.check]
    case = next(each for each in check.cases if each.name == exact.case)
    dialect = BUGS[bug].engine.dialect
    alpha, cells = sampled.alarm(dialect), len(expected_law(case, dialect))
    n = max(sampled.FIRST, round((blindness(cells, alpha) / FINDS) ** 2)) if cells > 1 else sampled.FIRST
    generator = seeded_generator(seed)

    def counts(law: Mapping[Any, Fraction], n: int) -> dict[Any, int]:
        drawn = generator.multinomial(n, [float(p) for p in law.values()])
        return {cell: int(times) for cell, times in zip(law, drawn, strict=True) if times}

    firsts = seen_as(views(1)[1], exact.seen.texts)
    pairs = {a + b: p * q for (a, p), (b, q) in product(firsts.items(), repeat=2)}  # type: ignore[operator]
    drafted, accepted = (None if each is None else round(n * each) for each in (exact.seen.drafted, exact.seen.accepted))
    seen = sampled.Counted(counts(exact.seen.texts, n), drafted, accepted, counts(pairs, n // 2))
    status, detail = sampled.judged(seen, check, case, dialect, alpha)
    return Finding(check.id, case.name, "sampled", status, exact.distance, detail, seen)


def shown(bug: str, report: Report) -> Shown:
    """What a report says of a bug.

    >>> from refspec.conformance.bugs import BUGS
    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.zoo import shown
    >>> found = shown("u-fixed", conform(BUGS["u-fixed"].engine, [CHECKS["one-round-law"]]))
    >>> found.check, "u-fixed" in found.named
    ('one-round-law', True)
    """
    asked = [each for each in report.findings if each.status != "skipped"]
    wrong = [each for each in asked if each.status != "conforms"]
    named = diagnosed(report, patience=float("inf")).equal if any(each.status == "deviates" for each in wrong) else ()
    distance = float(max((each.distance for each in asked), default=0))
    return Shown(bug, wrong[0].check if wrong else "", len(wrong), len(asked), distance, named)


def rows(bugs: Sequence[str]) -> Iterator[str]:
    """A line of Markdown a bug."""
    yield f"| bug | replay: vectors that fail | exact: cases that fail, largest distance | sampled: found in {DRAWS} draws |"
    yield "|---|---|---|---|"
    for bug in bugs:
        replays, laws = replayed(bug), exactly(bug)
        found = [each for each in (in_samples(bug, seed) for seed in range(DRAWS)) if each.wrong]
        unnamed = sum(not each.is_named for each in found)
        cells = (
            _said(replays),
            f"{_said(laws)}, {laws.distance:.2g}" if laws.wrong else "none: the target's law",
            f"{len(found)}{f', in {unnamed} of them not named first' * bool(unnamed)}",
        )
        yield f"| `{bug}` | {' | '.join(cells)} |"


def _said(found: Shown) -> str:
    if not found.wrong:
        return "none"
    name = "" if found.is_named else f" (named: {', '.join(found.named) or 'none'})"
    return f"{found.wrong} of {found.asked}{name}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name not in BUGS:
            sys.exit(f"{name!r} is no bug that the kit knows{did_you_mean(name, BUGS)}; without a name all of them are shown")
    for line in rows(sys.argv[1:] or tuple(BUGS)):
        print(line, flush=True)
