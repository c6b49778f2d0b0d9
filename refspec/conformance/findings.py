"""What the kit found: a `Finding` a case, and all of them as a `Report`."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from refspec.conformance.adapter import Dialect

FAILS = ("deviates", "vacuous")


@dataclass(frozen=True)
class Finding:
    """What a case showed.

    status: `conforms`; `deviates`; `vacuous` where the draft was not used, so that nothing was tested; `skipped`, `errored`, for
    the reason in detail. distance: total variation to the target's law. seen: what was observed, for the diagnosis. ended: the
    engine died or was cut off.

    >>> from refspec.conformance.findings import Finding
    >>> Finding("support", "one draft", "exact", "conforms").id
    'support/one draft'
    """

    check: str
    case: str
    level: str
    status: str
    distance: Fraction = Fraction(0)
    detail: str = ""
    seen: Any = None
    ended: bool = False

    @property
    def id(self) -> str:
        return f"{self.check}/{self.case}"


@dataclass(frozen=True)
class Report:
    """What all cases showed at one level. code: 0 conforms, 1 deviates, 2 engine or adapter broke, 3 nothing could be checked.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.own import Own
    >>> conform(Own(), [CHECKS["one-round-law"]]).code
    0
    """

    dialect: Dialect
    level: str
    findings: tuple[Finding, ...]

    @property
    def code(self) -> int:
        statuses = {each.status for each in self.findings}
        if "errored" in statuses:
            return 2
        if statuses & {*FAILS, "xpassed"}:
            return 1
        return 0 if statuses & {"conforms", "xfailed"} else 3


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what had been found until then."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


def gathered(dialect: Dialect, level: str, coming: Iterable[Finding]) -> Report:
    """The report of findings as they come. Raises Interrupted at Ctrl-C.

    >>> from refspec.conformance.adapter import Dialect
    >>> from refspec.conformance.findings import Finding, gathered
    >>> gathered(Dialect("mine"), "exact", [Finding("support", "one draft", "exact", "conforms")]).code
    0
    """
    found: list[Finding] = []
    try:
        for each in coming:
            found.append(each)
    except KeyboardInterrupt:
        raise Interrupted(Report(dialect, level, tuple(found))) from None
    return Report(dialect, level, tuple(found))
