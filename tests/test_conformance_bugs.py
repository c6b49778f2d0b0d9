"""Every bug of the zoo, put to the kit as an engine: it deviates, and the diagnosis names it and nothing else first."""

from collections.abc import Iterator
from typing import Any

import mutants
import numpy as np
import pytest
from mutants.planting import Mutant

from refspec.conformance.adapter import ByGenerator, Case, Dialect, Engine, Run
from refspec.conformance.bugs import BUGS
from refspec.conformance.cases import CHECKS
from refspec.conformance.checks import check_case
from refspec.conformance.diagnosis import answer_of, diagnosed
from refspec.conformance.findings import Report
from refspec.conformance.own import Own

# What no text of an engine can show, or this kit does not ask: races; wasted draws; a token map; conventions at ties and
# boundaries; a row that refspec's own loop refuses; adaptive bets and caches of a network (their own suites have them); a
# law known to three digits only; a point mass without a row of q.
UNSEEN = {
    *("noise-of-the-round", "noise-of-the-seed", "coupled-bonus-is-picked", "empty-draft-draws", "vocabularies-by-size"),
    *("top-p-keeps-at-the-boundary", "top-p-ranks-highest-id-first", "top-p-ranks-too-few", "filters-do-not-renormalise"),
    *("bet-placed-after-the-draw", "block-product-of-uniforms", "ngram-mismatch-samples-p"),
}
ONE_POINT = {"u-at-most-p-over-q", "u-up-to-one", "pick-at-the-boundary"}  # of no weight: the replay level shows them
SHOWN = [name for name, each in mutants.ALL.items() if each.room not in ("bets", "caches") and name not in UNSEEN | ONE_POINT]
# For every commit a few small cases, which tell each bug from the production code.
QUICK = {
    "rules": ("one-round-law/one draft", "one-hot-drafts/two drafts", "zero-residual/one ulp below"),
    "block": ("one-round-law/one draft", "first-rejection/a likely draft behind", "independence/two alike"),
    "drafters": ("one-round-law/one draft", "proposal-law/temperature", "bonus-law/equal rows"),
    "loop": ("stop-token/inside a block", "length/gamma beyond the length", "independence/two alike", "acceptance/one row"),
    "chance": ("acceptance/one row",),
    "warps": (
        *("proposal-law/top-k keeps equals", "proposal-law/top-p", "proposal-law/min-p", "proposal-law/top-k then top-p"),
        "greedy/equal logits",
    ),
    "processors": ("processors/of the prompt",),
}
# Nightly a few more, on which no two bugs have one law; so none have on all cases either.
TELLING = (
    *("independence/three alike", "stop-token/inside a block", "stop-token/two of them", "one-hot-drafts/two drafts"),
    *("proposal-law/top-k then top-p", "proposal-law/min-p", "proposal-law/top-k keeps equals", "greedy/equal logits"),
    *("processors/of the prompt", "acceptance/one row", "multi-round-law/a likely second refusal"),
    "zero-residual/one ulp below",
)


def as_engine(mutant: Mutant) -> Own:
    parts = mutant.subject
    return Own(
        parts.rule,
        parts.rounds,
        drafter=parts.drafters["model"],
        accept_at=parts.accept_at,
        pick_at=parts.pick_at,
        warp=parts.warp,
        name=mutant.name,
    )


def put_to(engine: Engine, ids: tuple[str, ...]) -> Report:
    def findings() -> Iterator[object]:
        for each in ids:
            check, _, name = each.partition("/")
            yield check_case(engine, CHECKS[check], next(case for case in CHECKS[check].cases if case.name == name))

    return Report(engine.dialect, "exact", tuple(findings()))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SHOWN)
def test_a_mutant_deviates_and_its_twin_has_its_law(name: str) -> None:
    report = put_to(as_engine(mutants.ALL[name]), QUICK[mutants.ALL[name].room])
    assert report.code == 1
    for found in report.findings:
        theirs = answer_of(name, found.check, found.case)
        assert theirs.status == found.status
        assert theirs.seen
        assert found.seen
        assert theirs.seen.texts.keys() == found.seen.texts.keys()
        assert {text: float(p) for text, p in found.seen.texts.items()} == pytest.approx(
            {text: float(p) for text, p in theirs.seen.texts.items()}, abs=1e-12
        )


@pytest.mark.nightly
@pytest.mark.parametrize("name", SHOWN)
def test_a_mutant_is_diagnosed_by_its_own_name(name: str) -> None:
    report = put_to(as_engine(mutants.ALL[name]), TELLING)
    assert report.code == 1
    assert diagnosed(report).equal == (name,)


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("residual-is-p", "rules"),
        ("zero-residual-is-last-id", "rules"),
        ("draft-and-target-share-draws", "loop"),
        ("processors-miss-the-prompt", "processors"),
    ],
)
def test_a_bug_is_diagnosed_by_its_own_name(name: str, room: str) -> None:
    assert diagnosed(put_to(BUGS[name].engine, QUICK[room])).equal == (name,)


def test_a_diagnosis_that_takes_too_long_is_given_up() -> None:
    report = put_to(BUGS["residual-is-p"].engine, QUICK["rules"])
    given_up = diagnosed(report, patience=0.0)
    assert (given_up.equal, given_up.parts) == ((), ())
    assert given_up.lines() == ["given up after 120 s: the laws of the known bugs take longer on cases as large as these"]


def test_the_kit_knows_every_bug_that_it_can_show() -> None:
    assert {*SHOWN, *ONE_POINT} <= BUGS.keys()
    # it has no processors; its drafters see no row but the warped one; and the last is no bug
    not_of_refspec = {"processors-miss-the-prompt", "q-before-warps", "certain-tests-draw-nothing"}
    assert BUGS.keys() - not_of_refspec <= mutants.ALL.keys()


def test_what_weighs_nothing_is_told_by_what_it_is() -> None:
    """An index beyond the row weighs 1e-17 in the cases of a zero residual, like what other bugs give there."""

    def off_the_end(case: Case, generator: Any) -> Run:
        text = case.prompt
        for _ in range(case.max_new_tokens):
            p, q = case.target.probs(text)[0], case.draft.probs(text)[0]
            drafted = int(generator.choice(case.size, p=q))
            accepted = generator.random() * q[drafted] < p[drafted]
            left = np.cumsum(np.maximum(p - q, 0))  # not normalised
            text += (drafted if accepted else int(np.searchsorted(left, generator.random(), side="right")),)
        return Run(text[len(case.prompt) :], case.max_new_tokens)

    engine = ByGenerator(off_the_end, Dialect("off the end", draws_intercepted=True))
    report = put_to(engine, ("one-round-law/one draft", "zero-residual/one ulp below"))
    assert [each.status for each in report.findings] == ["deviates"] * 2
    found = diagnosed(report)
    assert (found.equal, found.parts) == ((), ())


def test_two_bugs_at_once_are_told_apart() -> None:
    """Neither alone has the law of both, and each shows in checks of its own."""
    engine = Own(rounds=BUGS["length-hides-stop"].engine.rounds, ignores_prompt=True, name="both")
    found = diagnosed(put_to(engine, ("stop-token/inside a block", "processors/of the prompt")))
    assert found.equal == ()
    assert {("stop-token", "length-hides-stop"), ("processors", "processors-miss-the-prompt")} <= set(found.parts)
    assert ("processors", "length-hides-stop") not in found.parts
    assert len(found.lines()) >= 2
