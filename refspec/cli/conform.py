"""`refspec conform`: put somebody's engine to the kit, and print what it found."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

from refspec.cli.exits import complain
from refspec.conformance.adapter import Engine
from refspec.conformance.child import Child
from refspec.conformance.findings import Interrupted, Report
from refspec.conformance.kit import Expected, conform, engine_of, known_deviations, with_known
from refspec.conformance.limits import require_limit
from refspec.conformance.telling import as_json, as_junit, diagnosis_of, failure, lines
from refspec.files import require_writable


def run(options: argparse.Namespace) -> int:
    require_limit(options.limit)
    if options.junit:
        require_writable(Path(options.junit))
    known = known_deviations(Path(options.xfail)) if options.xfail else ()
    if options.program is None:
        with redirect_stdout(sys.stderr):
            engine = engine_of(options.adapter)
        return put_to(engine, known, options)
    child = Child(options.program, options.limit)
    try:
        return put_to(child, known, options)
    finally:
        child.close()


def put_to(engine: Engine, known: Sequence[Expected], options: argparse.Namespace) -> int:
    levels = engine.dialect.levels if options.level == "all" else (options.level,)
    try:
        with redirect_stdout(sys.stderr):  # what the engine prints is no part of the report
            reports = [with_known(conform(engine, level, options.budget, options.limit), known) for level in levels]
    except Interrupted as so_far:
        *shown, _ = lines(so_far.report)  # without a verdict
        print("\n".join(shown), file=sys.stderr if options.json else sys.stdout)
        raise
    if options.junit:
        Path(options.junit).write_text(as_junit(_together(reports)), encoding="utf-8")
    if options.json:
        told = [as_json(each, diagnosis_of(each) if each.code == 1 else None) for each in reports]
        print(json.dumps(told if options.level == "all" else told[0]))
    else:
        for report in reports:
            tell(engine, report, options.limit)
    return _together(reports).code


def tell(engine: Engine, report: Report, limit: float) -> None:
    for line in lines(report):
        print(line, flush=True)
    with redirect_stdout(sys.stderr):
        told = list(failure(engine, report, limit))
    for line in told:
        print(line, flush=True)
    if report.code == 2:
        complain("the engine or its adapter broke; the reasons stand above")


def _together(reports: list[Report]) -> Report:
    return replace(reports[0], findings=tuple(found for each in reports for found in each.findings))
