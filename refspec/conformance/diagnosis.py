"""Which known bug it is: the one whose answers equal the observed ones, on every case; else those that fail the same checks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from time import process_time

from refspec.conformance import replay
from refspec.conformance.adapter import Dialect
from refspec.conformance.bugs import BUGS
from refspec.conformance.cases import CHECKS
from refspec.conformance.checks import check_case
from refspec.conformance.findings import Finding, Report
from refspec.conformance.fixtures import fixture_checks
from refspec.conformance.gtest import divergence, threshold
from refspec.conformance.judges import RESOLUTION
from refspec.conformance.own import OwnKernel
from refspec.decoding.lm import Tokens
from refspec.errors import RefspecError
from refspec.proof.exact import total_variation

PATIENCE = 120.0  # seconds of CPU time
SHOWN = 3  # bugs that cannot be told apart by the cases of one check


class _GivenUp(Exception):
    pass


@dataclass(frozen=True)
class Diagnosis:
    """equal: bugs whose answers are the observed ones on all cases; alike: those that deviate in just the same checks.
    parts: where no bug is equal on all, (check, bug) equal on the cases of a check that deviates: an engine may have two bugs.
    given_up: the bugs' own laws took too long.

    >>> from refspec.conformance.bugs import BUGS
    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.diagnosis import diagnosed
    >>> diagnosed(conform(BUGS["residual-is-p"].engine, [CHECKS["one-round-law"]])).equal
    ('residual-is-p', 'bonus-after-rejection')
    """

    equal: tuple[str, ...]
    alike: tuple[str, ...] = ()
    cases: int = 0
    parts: tuple[tuple[str, str], ...] = ()
    given_up: bool = False

    def lines(self) -> list[str]:
        """What is said of it, a line a bug."""
        if self.given_up:
            return [f"given up after {PATIENCE:.0f} s: the laws of the known bugs take longer on cases as large as these"]
        if self.equal:
            return [f"on all {self.cases} cases it equals {name}: {BUGS[name].what}" for name in self.equal]
        if self.parts or self.alike:
            apart = []
            for check in dict.fromkeys(check for check, _ in self.parts):
                names = [name for where, name in self.parts if where == check]
                apart += [f"in the cases of {check} it equals {name}: {BUGS[name].what}" for name in names[:SHOWN]]
                apart += [f"in the cases of {check} {len(names) - SHOWN} more do"] if len(names) > SHOWN else []
            return apart + [f"deviates where {name} does, by other numbers: {BUGS[name].what}" for name in self.alike]
        return ["no known bug deviates in just these checks"]


@lru_cache(maxsize=10_000)
def answer_of(bug: str, check: str, case: str) -> Finding:
    """What the kit finds of a known bug in one case, at the exact level."""
    asked = next((each for each in CHECKS[check].cases if each.name == case), None)
    if asked is None:  # one of the fixtures, which are not loaded where nobody asks for them
        asked = next(each for each in fixture_checks()[check].cases if each.name == case)
    return check_case(BUGS[bug].engine, CHECKS[check], asked)


def diagnosed(report: Report, patience: float = PATIENCE) -> Diagnosis:
    """Of a report with deviations, in so many seconds of CPU time at most and one more case."""
    try:
        return _diagnosed(report, process_time() + patience)
    except _GivenUp:
        return Diagnosis((), given_up=True)


def _diagnosed(report: Report, deadline: float) -> Diagnosis:
    unlike = [each.seen for each in report.findings if each.status == "deviates"]
    if unlike and unlike.count(None) == len(unlike):
        return Diagnosis(())  # no law is wrong: the same seed gave another text
    # the quickest first, so that most bugs are told from what was observed by a single small case
    seen = [each for each in report.findings if each.seen is not None]
    seen.sort(key=lambda each: (each.status != "deviates", len(each.seen.texts) if report.level != "replay" else 0))
    same: Mapping[str, Callable[[Dialect, str, Finding], bool]] = {
        "replay": _same_answer,
        "exact": _same_law,
        "sampled": partial(_same_counts, len(seen)),
    }

    def equals(name: str, found: Finding) -> bool:
        if process_time() > deadline:
            raise _GivenUp
        return same[report.level](report.dialect, name, found)

    def among(found: Sequence[Finding]) -> tuple[str, ...]:
        return tuple(name for name in BUGS if all(equals(name, each) for each in found))

    equal = among(seen)
    if report.level == "sampled":  # the likeliest first
        equal = tuple(sorted(equal, key=lambda name: sum(_unlikely(name, each) for each in seen)))
    if equal:
        return Diagnosis(equal, cases=len(seen))
    wrong = _deviating(report.findings)
    parts = ((check, name) for check in CHECKS if check in wrong for name in among([f for f in seen if f.check == check]))
    # a case a check, since `seen` begins with what deviates and is small: all of them take a minute
    one_each = tuple({each.check: each for each in reversed(seen)}.values())
    alike = (
        name for name in BUGS if report.level == "exact" and process_time() < deadline and _signature(name, one_each) == wrong
    )
    return Diagnosis((), tuple(alike), len(seen), tuple(parts))


def _same_law(dialect: Dialect, name: str, found: Finding) -> bool:
    theirs = answer_of(name, found.check, found.case)
    if theirs.status == "skipped":  # nothing to compare, where nothing has to be explained
        return found.status != "deviates"
    if theirs.seen is None or theirs.status != found.status:
        return False
    resolution = RESOLUTION[dialect.kv_dtype]
    if found.status == "deviates" and found.distance <= resolution:  # the impossible weighs too little to tell by its weight
        return _possible(theirs) == _possible(found)
    return total_variation(theirs.seen.texts, found.seen.texts) <= resolution


def _possible(found: Finding) -> set[Tokens]:
    return {text for text, weight in found.seen.texts.items() if weight}


def _same_counts(cases: int, dialect: Dialect, name: str, found: Finding) -> bool:
    """Whether a G-test lets the bug's law pass: it does so with its own counts in 999 runs of a thousand, over all cases."""
    theirs = answer_of(name, found.check, found.case)
    if theirs.status == "skipped":
        return found.status != "deviates"
    return theirs.seen is not None and _unlikely(name, found) < threshold(1e-3 / cases, len(theirs.seen.texts))


def _unlikely(name: str, found: Finding) -> float:
    theirs = answer_of(name, found.check, found.case)
    return 0.0 if theirs.seen is None else divergence(found.seen.texts, theirs.seen.texts)


def _same_answer(dialect: Dialect, name: str, found: Finding) -> bool:
    engine = BUGS[name].engine
    vector = replay.vectors()[found.case][1]
    try:
        theirs = replay.answer(engine if dialect.uniforms_in == "texts" else OwnKernel(engine), vector)
    except RefspecError:
        return False
    if vector["kind"] == "text":
        return bool(theirs[0] == found.seen[0] and found.seen[1] in (None, theirs[1]))
    return bool(theirs[0] == found.seen[0]) if dialect.uniforms_in == "tests" else bool(theirs == found.seen)


def _deviating(findings: Iterable[Finding]) -> frozenset[str]:
    return frozenset(each.check for each in findings if each.status == "deviates")


def _signature(name: str, seen: Iterable[Finding]) -> frozenset[str]:
    return _deviating(answer_of(name, each.check, each.case) for each in seen)
