"""`refspec prove`: draw random rational models, enumerate the production loop on them, and compare with plain decoding.

Every number is a Fraction until it is printed. "0" under largest difference is the integer zero, not a small float.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import refspec
from refspec.cli.colour import Paint, painter
from refspec.cli.exits import DIFFERS, SUCCESS
from refspec.decoding import loop, verify
from refspec.decoding.lm import LanguageModel, TableLM, Tokens
from refspec.errors import BadArgument, CannotMerge
from refspec.proof import theory
from refspec.proof.exact import Rounds, law, sequence_law, total_variation

# Acceptance of one drafted token as theory.py has it, by rule; a mutant promises what the real rule does.
PREDICTED: dict[str, Callable[[Any, Any], Any]] = {
    "token": theory.token_acceptance,
    "block": theory.token_acceptance,
    "sample-match": theory.sample_match_acceptance,
    "coupled": theory.coupled_acceptance,
    "inexact-lenience": lambda p, q: theory.lenience_acceptance(p, q, Fraction(1, 2)),
}


@dataclass(frozen=True)
class Theorem:
    """What is claimed to have the target's law: a rule in a loop behind a drafter."""

    name: str
    promises: str
    rule: verify.Rule
    rounds: Rounds
    drafter: Callable[[LanguageModel], refspec.Drafter]


@dataclass(frozen=True)
class Finding:
    """One model: sizes, the two comparisons, and how long the enumeration took."""

    model: int
    paths: int
    outcomes: int
    largest_difference: Fraction
    total_variation: Fraction
    acceptance_measured: Fraction
    acceptance_predicted: Fraction | None
    seconds: float


def theorem(rule: str, mutant: str | None) -> Theorem:
    """The production code under this rule, or the mutant of that name."""
    if mutant is None:
        drafter = refspec.CoupledDrafter if rule == "coupled" else refspec.ModelDrafter
        return Theorem(rule, rule, verify.RULES[rule], loop.rounds, drafter)
    # No bugs of the loop: they show from one round to the next, at stop tokens or at names, and here rounds are enumerated apart.
    shown = {name: each for name, each in planted_bugs().items() if each.room in ("rules", "drafters", "block")}
    if mutant not in shown:
        raise BadArgument(f"no mutant {mutant!r} of the rules or the drafters; there are {', '.join(sorted(shown))}")
    subject = shown[mutant].subject
    drafter = subject.drafters["coupled" if subject.promises == "coupled" else "model"]
    return Theorem(mutant, subject.promises, subject.rule, subject.rounds, drafter)


def planted_bugs() -> dict[str, Any]:
    """The bug zoo of the test suite. It is no part of the package: it stands in a checkout, under tests/."""
    for root in (Path(), Path(refspec.__file__).parents[1]):
        if (root / "tests" / "mutants" / "__init__.py").is_file():
            sys.path.insert(0, str((root / "tests").resolve()))
            bugs: dict[str, Any] = importlib.import_module("mutants").ALL
            return bugs
    raise BadArgument("mutants are part of the test suite; run this in a checkout of refspec (where tests/mutants is)")


def prove(claim: Theorem, *, vocab_size: int, gamma: int, horizon: int, models: int, seed: int) -> Iterator[Finding]:
    """One finding a model. Raises BadArgument for sizes that are none, EnumerationLimit for sizes too large to enumerate."""
    for name, value, least in (("vocab", vocab_size, 1), ("gamma", gamma, 0), ("horizon", horizon, 1), ("models", models, 1)):
        if value < least:
            raise BadArgument(f"{name} is {value}; it is at least {least}")
    if horizon > 100 or vocab_size ** (horizon + 1) > 100_000:
        raise BadArgument(
            f"vocab {vocab_size} and horizon {horizon} make rows too many to enumerate; vocab ** (horizon + 1) is at most "
            "100,000, horizon at most 100"
        )
    chance = refspec.Seeded(seed)
    for model in range(1, models + 1):
        target, draft = random_table(chance, vocab_size, horizon), random_table(chance, vocab_size, horizon)
        drafter = claim.drafter(draft)
        paths = 0

        def counted(*args: Any, **options: Any) -> Any:
            nonlocal paths
            paths += 1
            return claim.rounds(*args, **options)

        started = time.perf_counter()
        found = text_law(replace(claim, rounds=counted), target, drafter, gamma, horizon)
        seconds = time.perf_counter() - started
        wanted = plain_law(target, horizon)
        predicted = PREDICTED.get(claim.promises)
        yield Finding(
            model,
            paths,
            len(found),
            max(abs(found.get(text, Fraction(0)) - wanted.get(text, Fraction(0))) for text in found.keys() | wanted.keys()),
            total_variation(found, wanted),
            acceptance(claim, target, drafter),
            None if predicted is None else predicted(target.probs(())[0], draft.probs(())[0]),
            seconds,
        )


def text_law(claim: Theorem, target: LanguageModel, drafter: refspec.Drafter, gamma: int, horizon: int) -> dict[Tokens, Fraction]:
    """The law of whole texts: round by round, or, where rounds tell each other more than the text, run by run."""
    options: dict[str, Any] = {"gamma": gamma, "max_new_tokens": horizon, "verify": claim.rule}
    try:
        return sequence_law(target, drafter, rounds=claim.rounds, max_paths=10_000_000, **options)
    except CannotMerge:

        def run(chance: refspec.Chance) -> Tokens:
            found = claim.rounds(target, drafter, (), stop=(), chance=chance, **options)
            return tuple(token for each in found for token in each.tokens)

        return law(run, max_paths=10_000_000)


def plain_law(target: LanguageModel, horizon: int) -> dict[tuple[int, ...], Fraction]:
    """The law of plain decoding, as the product of its conditionals."""
    texts: dict[tuple[int, ...], Fraction] = {(): Fraction(1)}
    for _ in range(horizon):
        texts = {
            (*text, token): weight * p for text, weight in texts.items() for token, p in enumerate(target.probs(text)[0]) if p
        }
    return texts


def acceptance(claim: Theorem, target: LanguageModel, drafter: refspec.Drafter) -> Fraction:
    """P(the first drafted token is accepted), by enumerating a round that drafts one."""

    def first(chance: refspec.Chance) -> int:
        return next(
            iter(claim.rounds(target, drafter, (), gamma=1, max_new_tokens=2, stop=(), chance=chance, verify=claim.rule))
        ).accepted

    return law(first).get(1, Fraction(0))


def random_table(chance: refspec.Chance, vocab_size: int, horizon: int) -> TableLM:
    """A model with a row of its own for every context: integer weights from 0 to 4, at least one of them positive."""

    def row() -> list[Fraction]:
        weights = [chance.pick(np.ones(5)) for _ in range(vocab_size)]
        weights[chance.pick(np.ones(vocab_size))] += 1
        return [Fraction(weight, sum(weights)) for weight in weights]

    return TableLM({context: row() for length in range(horizon + 1) for context in product(range(vocab_size), repeat=length)})


HEADINGS = ("model", "paths", "outcomes", "largest difference", "accepted", "predicted", "seconds")


def table(claim: Theorem, found: Iterator[Finding], paint: Paint) -> bool:
    """Print each finding as it comes, and what they say together. Returns whether all differences are zero."""
    findings = []
    print_row(HEADINGS, paint)
    for each in found:
        findings.append(each)
        cells = [each.model, f"{each.paths:,}", f"{each.outcomes:,}", each.largest_difference, each.acceptance_measured]
        print_row([*cells, each.acceptance_predicted, f"{each.seconds:.2f}"], paint, bad=each.largest_difference > 0)
    worst = max(each.total_variation for each in findings)
    wrong = sum(each.total_variation > 0 for each in findings)
    if worst == 0:
        print(f"\n{claim.name}: every text has exactly the target's probability, on all {len(findings)} models.")
    else:
        distance = f"total variation up to {float(worst):.4g}"  # never a small one as 0.0000
        print(f"\n{claim.name}: NOT the target's law on {wrong} of {len(findings)} models; {distance}.")
    return worst == 0


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


def as_json(claim: Theorem, found: Iterator[Finding], options: dict[str, Any]) -> dict[str, Any]:
    """Fractions as strings, since JSON has none."""
    findings = list(found)
    rows = [
        {key: str(value) if isinstance(value, Fraction) else value for key, value in asdict(each).items()} for each in findings
    ]
    return {"claim": claim.name, **options, "proved": not any(each.total_variation for each in findings), "models": rows}


def run(options: argparse.Namespace) -> int:
    claim = theorem(options.verify, options.mutant)
    sizes = {"gamma": options.gamma, "horizon": options.horizon, "seed": options.seed}
    found = prove(claim, vocab_size=options.vocab, models=options.models, **sizes)
    if options.json:
        answer = as_json(claim, found, {"vocab": options.vocab, **sizes})
        print(json.dumps(answer))
        return SUCCESS if answer["proved"] else DIFFERS
    return SUCCESS if table(claim, found, painter(sys.stdout)) else DIFFERS
