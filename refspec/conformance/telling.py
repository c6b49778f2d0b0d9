"""A report as lines, as JSON and as JUnit's XML."""

import json
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

from refspec.conformance.adapter import PLAIN, Case, Engine
from refspec.conformance.cases import CHECKS
from refspec.conformance.checks import smaller
from refspec.conformance.diagnosis import Diagnosis, diagnosed
from refspec.conformance.expected import ORDER
from refspec.conformance.findings import FAILS, Finding, Report
from refspec.conformance.judges import said
from refspec.conformance.replay import vectors

VERDICT = {0: "conforms", 1: "deviates", 2: "the engine or its adapter broke", 3: "nothing could be checked"}
SHOWN = 2  # vectors of a check that are told; there are many, and they say much the same


def lines(report: Report) -> Iterator[str]:
    """A line a check, and one more for each of its cases that is no plain pass.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.telling import lines
    >>> print(*lines(conform(Own(), [CHECKS["length"]])), sep="\\n")
    refspec, exact level (of replay, exact, sampled)
      length              3 conforms
    conforms
    """
    dialect = report.dialect
    yield f"{dialect.name}{' ' * bool(dialect.version)}{dialect.version}, {report.level} level (of {', '.join(dialect.levels)})"
    for name in dict.fromkeys(each.check for each in report.findings):
        found = [each for each in report.findings if each.check == name]
        counts = Counter(each.status for each in found)
        yield f"  {name:<19} {', '.join(f'{n} {status}' for status, n in counts.items())}"
        # one reason for several cases is said once
        told: dict[tuple[str, str], list[str]] = {}
        for each in (each for each in found if each.detail):
            told.setdefault((each.status, each.detail), []).append(each.case)
        for n, ((status, detail), cases) in enumerate(told.items()):
            if n == SHOWN and report.level == "replay":
                yield f"      and {len(told) - n} more"
                break
            names = ", ".join(cases[:SHOWN]) + f" and {len(cases) - SHOWN} more" * (len(cases) > SHOWN)
            yield f"      {status}: {f'{names}: ' * (status != 'skipped')}{detail}"
    deviates = report.code == 2 and any(each.status == "deviates" for each in report.findings)
    yield f"{'deviates, and ' * deviates}{VERDICT[report.code]}"


def failure(engine: Engine, report: Report, limit: float | None = None) -> Iterator[str]:
    """Of the first deviation: the smallest case in exact numbers; and of all of them together, which bug it is.

    limit: seconds to look for a smaller case.
    """
    first = next((each for each in report.findings if each.status == "deviates"), None)
    if first is None:
        return
    if report.level == "replay":
        yield f"smallest case of {first.id}:"
        yield f"  {json.dumps({key: value for key, value in vectors()[first.case][1].items() if key != 'kills'})}"
    if report.level == "exact":
        check = CHECKS[first.check]
        case = smaller(engine, check, next(each for each in check.cases if each.name == first.case), limit)
        yield f"smallest case of {first.id}:"
        yield from (f"  {line}" for line in described(case))
    yield from (f"diagnosis: {line}" for line in diagnosis_of(report).lines())


def diagnosis_of(report: Report) -> Diagnosis:
    return diagnosed(report)


def described(case: Case) -> Iterator[str]:
    """The options and the rows, as fractions.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.telling import described
    >>> print(*described(CHECKS["independence"].cases[0]), sep="\\n")
    prompt (1,), gamma 2, 3 new tokens
    target after anything: 1/2 1/2
    draft after anything: 3/4 1/4
    """
    options = [f"{each} {value}" for each in ORDER if (value := getattr(case.sampling, each)) != getattr(PLAIN, each)]
    options += [f"repetition penalty {case.repetition_penalty}"] * (case.repetition_penalty != 1)
    options += [f"stop {case.stop}"] * bool(case.stop) + [f"{case.size} tokens"] * (case.vocab_size is not None)
    options += [f"beside {case.batch}"] * bool(case.batch)
    yield ", ".join([f"prompt {case.prompt}", f"gamma {case.gamma}", f"{case.max_new_tokens} new tokens", *options])
    for name, model in (("target", case.target), ("draft", case.draft)):
        for context, row in model.by_context.items():
            entries = " ".join(said(Fraction(p)) for p in row.tolist())
            yield f"{name} after {context if context else 'anything' + ' else' * (len(model.by_context) > 1)}: {entries}"


def as_json(report: Report, diagnosis: Diagnosis | None) -> dict[str, Any]:
    """Fractions as strings, since JSON has none.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.telling import as_json
    >>> as_json(conform(Own(), [CHECKS["length"]]), None)["verdict"]
    'conforms'
    """
    return {
        "engine": report.dialect.name,
        "version": report.dialect.version,
        "level": report.level,
        "levels": report.dialect.levels,
        "verdict": VERDICT[report.code],
        "code": report.code,
        "findings": [
            {
                "id": each.id,
                "rules": CHECKS[each.check].rules,
                "status": each.status,
                "distance": str(each.distance),
                "detail": each.detail,
            }
            for each in report.findings
        ],
        "diagnosis": None
        if diagnosis is None
        else {"equal": diagnosis.equal, "alike": diagnosis.alike, "parts": diagnosis.parts, "given_up": diagnosis.given_up},
    }


def as_junit(report: Report) -> str:
    """One test case a case of a check.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.telling import as_junit
    >>> as_junit(conform(Own(), [CHECKS["length"]]))[:38]
    '<testsuite name="refspec conform" test'
    """
    tags = {"errored": "error", "skipped": "skipped", "xfailed": "skipped", **dict.fromkeys((*FAILS, "xpassed"), "failure")}
    counts = Counter(tags.get(each.status, "passed") for each in report.findings)
    suite = ElementTree.Element(
        "testsuite",
        name="refspec conform",
        tests=str(len(report.findings)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
    )
    for each in report.findings:
        element = ElementTree.SubElement(suite, "testcase", classname=f"{report.level}.{each.check}", name=each.case)
        if each.status in tags:
            ElementTree.SubElement(element, tags[each.status], message=_message(each))
    return ElementTree.tostring(suite, encoding="unicode")


def _message(found: Finding) -> str:
    return f"{found.status}: {found.detail}" if found.detail else found.status
