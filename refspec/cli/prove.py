"""`refspec prove`: print what `proof/survey.py` finds, as a table or as JSON."""

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import refspec
from refspec.brief import counted
from refspec.cli.colour import Paint, painter
from refspec.cli.exits import DIFFERS, SUCCESS
from refspec.decoding.verify import is_exact
from refspec.errors import BadArgument, did_you_mean
from refspec.proof.survey import Claim, Finding, claim_of, survey


def offered() -> dict[str, Any]:
    """The planted bugs by name, without those of the loop: these show from one round to the next, at stop tokens or at names,
    and here rounds are enumerated apart."""
    return {name: bug for name, bug in sorted(planted_bugs().items()) if bug.room in ("rules", "drafters", "block")}


def mutant(name: str) -> Claim:
    """The planted bug of that name. Raises BadArgument where there is none, or no test suite to have one."""
    shown = offered()
    if name not in shown:
        near = did_you_mean(name, shown)
        raise BadArgument(
            f"no mutant {name!r} of the rules or the drafters{near}; --mutant list names the {len(shown)} there are"
        )
    subject = shown[name].subject
    drafter = subject.drafters["coupled" if subject.promises == "coupled" else "model"]
    return Claim(name, subject.promises, subject.rule, subject.rounds, drafter)


CHECKOUT = Path(refspec.__file__).resolve().parents[1]  # where refspec was not installed by copying


def planted_bugs() -> dict[str, Any]:
    """The bug zoo of the test suite, from the checkout that refspec itself lies in, and from nowhere else."""
    tests = CHECKOUT / "tests"
    if not (tests / "mutants" / "__init__.py").is_file():
        raise BadArgument("--mutant needs the test suite, which is in a checkout only; there, run: pip install -e '.[test]'")
    sys.path.insert(0, str(tests))
    try:
        bugs: dict[str, Any] = importlib.import_module("mutants").ALL
    except ImportError as error:
        raise BadArgument(f"--mutant needs the test suite, and {error.name} is missing; run: pip install -e '.[test]'") from None
    finally:
        sys.path.remove(str(tests))
    return bugs


HEADINGS = ("model", "paths", "outcomes", "largest difference", "accepted", "predicted", "seconds")


def table(claim: Claim, found: Iterator[Finding], paint: Paint) -> bool:
    """Print each finding as it comes, and what they say together. Returns whether all differences are zero."""
    findings: list[Finding] = []
    for each in found:
        if not findings:  # not before the first one is there: a size out of range has no table
            print_row(HEADINGS, paint)
        findings.append(each)
        cells = [each.model, f"{each.paths:,}", f"{each.outcomes:,}", each.largest_difference, each.acceptance_measured]
        print_row([*cells, each.acceptance_predicted, f"{each.seconds:.2f}"], paint, bad=each.largest_difference > 0)
    worst = max(each.total_variation for each in findings)
    wrong = sum(each.total_variation > 0 for each in findings)
    models = counted(len(findings), "model")
    if worst == 0:
        print(f"\n{named(claim)}: checked exactly on {models}: every text has the target's probability.")
    else:
        distance = f"total variation up to {float(worst):.4g}"  # never a small one as 0.0000
        print(f"\n{named(claim)}: NOT the target's distribution on {wrong} of {models}; {distance}.")
    return worst == 0


def named(claim: Claim) -> str:
    """The name, with what the rule claims of itself where that is not that it is exact."""
    claims = {True: "", False: " (an inexact rule)", None: " (a rule that does not say whether it is exact)"}
    return claim.name + claims[is_exact(claim.rule)]


def print_row(cells: Sequence[Any], paint: Paint, bad: bool = False) -> None:
    padded = [f"{shown(cell):>{max(9, len(name))}}" for cell, name in zip(cells, HEADINGS, strict=True)]
    if cells is not HEADINGS:
        padded[3] = paint(padded[3], "corrected" if bad else "accepted")
    print("  ".join(padded), flush=True)


def shown(cell: Any) -> str:
    """A Fraction as it is where that is short, else to three digits: 0 is only ever the exact zero."""
    if isinstance(cell, Fraction) and len(str(cell)) > 9:
        return f"{float(cell):.3g}"
    return "-" if cell is None else str(cell)


def as_json(claim: Claim, found: Iterator[Finding], options: dict[str, Any]) -> dict[str, Any]:
    """Fractions as strings, since JSON has none."""
    findings = list(found)
    rows = [
        {key: str(value) if isinstance(value, Fraction) else value for key, value in asdict(each).items()} for each in findings
    ]
    return {
        "claim": claim.name,
        "exact": is_exact(claim.rule),
        **options,
        "exact_on_all_models": not any(each.total_variation for each in findings),
        "models": rows,
    }


def run(options: argparse.Namespace) -> int:
    if options.mutant == "list":
        print("\n".join(offered()))
        return SUCCESS
    claim = claim_of(options.verify) if options.mutant is None else mutant(options.mutant)
    sizes = {"vocab": options.vocab, "gamma": options.gamma, "horizon": options.horizon, "seed": options.seed}
    found = survey(claim, models=options.models, **sizes)
    if options.json:
        answer = as_json(claim, found, sizes)
        print(json.dumps(answer))
        return SUCCESS if answer["exact_on_all_models"] else DIFFERS
    return SUCCESS if table(claim, found, painter(sys.stdout)) else DIFFERS
