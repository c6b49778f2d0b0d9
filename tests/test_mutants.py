"""The suite that passes the production code finds every planted bug, and the controls that only look wrong pass it."""

from collections.abc import Iterator
from dataclasses import replace

import models
import mutants
import pytest
from mutants.drafters import StopsAfterUnlikely
from mutants.planting import Mutant, first_token_law
from properties import DRAFTERS, Subject, Violation, is_for
from properties.suite import LAW, PARTS, RULE, SUITE

import refspec
from refspec.decoding import verify
from refspec.decoding.draft import Draft
from refspec.decoding.lm import LanguageModel, Tokens

CASES = (*models.fixed(20), models.STOPPED)


def found_by_the_suite(mutant: Mutant) -> Violation | None:
    """By the first property that a case breaks, in the first such case; the parts first where the loop is as it should be."""
    subject, whole = mutant.subject, Subject()
    as_is = all(getattr(subject, part) == getattr(whole, part) for part in ("rule", "rounds", "drafters", "bets"))
    for holds in (each for each in (PARTS + RULE if as_is else SUITE) if is_for(each, subject.promises)):
        for case in filter(subject.bears, CASES):
            if found := holds(subject, case):
                return replace(found, property=holds.__name__)
    return None


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What killed each mutant, printed as a table at the end (`pytest -s`)."""
    lines: list[str] = []
    yield lines
    print("", *lines, sep="\n")


@pytest.mark.parametrize("mutant", mutants.ALL.values(), ids=mutants.ALL)
def test_the_suite_finds(mutant: Mutant, report: list[str]) -> None:
    found = found_by_the_suite(mutant)
    assert found, f"{mutant.name} survives: {mutant.what} ({mutant.source})"
    report.append(f"{mutant.room:9} {mutant.name:34} {found.property:46} {float(found.distance):<9.3g} {found.seen}")


KNOWN = {name: mutant for name, mutant in mutants.ALL.items() if mutant.known}


@pytest.mark.parametrize("mutant", KNOWN.values(), ids=KNOWN)
def test_its_law_is_the_one_that_is_known(mutant: Mutant) -> None:
    assert mutant.known
    law = first_token_law(mutant.subject, mutant.known)
    if mutant.known.tolerance:
        assert [float(each) for each in law] == pytest.approx(mutant.known.law, abs=mutant.known.tolerance)
    else:
        assert law == mutant.known.law
    assert first_token_law(Subject(), mutant.known) == mutant.known.p  # where the production code is right


class Unsigned:
    """A sampled draft that does not say what it was drawn from, and so counts as a point mass: right, only slower."""

    def __init__(self, language_model: LanguageModel) -> None:
        self.language_model = language_model

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        return Draft(refspec.ModelDrafter(self.language_model).propose(tokens, gamma, chance).tokens)


CONTROLS = {
    "sample-match": Subject(promises="sample-match", rule=verify.sample_match),
    "a sampled draft as a point mass": Subject(drafters={**DRAFTERS, "model": Unsigned}),
    "drafting stops after an unlikely token": Subject(drafters={**DRAFTERS, "model": StopsAfterUnlikely}),
    "block over several rounds": Subject(promises="block", rule=verify.block),
}


@pytest.mark.parametrize("subject", CONTROLS.values(), ids=CONTROLS)
def test_what_only_looks_wrong_passes(subject: Subject) -> None:
    for case in filter(subject.bears, CASES):
        for holds in LAW:
            assert holds(subject, case) is None
