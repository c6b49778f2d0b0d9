"""The kit: an engine's draws are answered exactly, refspec conforms, and the bugs of the zoo do not."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutants import ALL

from refspec.conformance.adapter import Case, Run
from refspec.conformance.answered import answered_law
from refspec.conformance.checks import CASES, check, conform
from refspec.conformance.own import Own
from refspec.decoding import verify
from refspec.errors import BadArgument

EIGHTHS = st.integers(-16, 24).map(lambda n: Fraction(n, 8))
# What the law of a text under these cases cannot show: a point mass without a row of q, races, a wasted draw, a token map.
UNSEEN = {
    "ngram-mismatch-samples-p",
    "noise-of-the-round",
    "noise-of-the-seed",
    "coupled-bonus-is-picked",
    "empty-draft-draws",
    "vocabularies-by-size",
}
SEEN = [name for name, each in ALL.items() if each.room in ("rules", "block", "loop") and name not in UNSEEN]


@given(EIGHTHS.filter(bool), EIGHTHS, EIGHTHS, EIGHTHS)
def test_a_uniform_lies_where_its_comparisons_put_it(scale: Fraction, shift: Fraction, one: Fraction, other: Fraction) -> None:
    """Against uniforms on a grid as fine as every threshold can be."""

    def both(u: Any) -> tuple[bool, bool]:
        return bool(scale * u + shift < one), bool(shift - u * scale >= other)

    found = answered_law(lambda generator: both(generator.random()))
    fine = 8 * abs(scale.numerator)
    grid = [both(Fraction(2 * n + 1, 2 * fine)) for n in range(fine)]
    assert found == {outcome: Fraction(grid.count(outcome), fine) for outcome in set(grid)}


@pytest.mark.parametrize(
    "use",
    [float, int, bool, np.log, hash, lambda u: u == 0, lambda u: u**2, lambda u: u * u, lambda u: range(2)[u]],
)
def test_an_undrawn_uniform_is_good_for_nothing_else(use: Any) -> None:
    with pytest.raises((BadArgument, TypeError), match=r"undrawn uniform|UndrawnUniform"):
        answered_law(lambda generator: use(generator.random()))


def test_a_draw_without_an_answer_is_named() -> None:
    with pytest.raises(BadArgument, match=r"drew with gumbel\(\)"):
        answered_law(lambda generator: generator.gumbel())


@pytest.mark.parametrize("name", ["token", "block", "sample-match"])
def test_exact_rules_conform(name: str) -> None:
    assert {(each.case, each.status) for each in conform(Own(rule=verify.EXACT[name]))} == {(c.name, "conforms") for c in CASES}


@pytest.mark.parametrize("name", verify.INEXACT)
def test_inexact_rules_deviate(name: str) -> None:
    assert any(each.status == "deviates" for each in conform(Own(rule=verify.INEXACT[name])))


def plain(case: Case, generator: Any) -> Run:
    """A law that is right because the draft is never asked."""
    tokens = case.prompt
    while len(tokens) < len(case.prompt) + case.max_new_tokens:
        tokens += (int(generator.choice(case.target.vocab_size, p=case.target.probs(tokens)[0])),)
        if tokens[-1] in case.stop:
            break
    return Run(tokens[len(case.prompt) :], drafted=0, accepted=0)


def test_a_right_law_without_the_draft_is_vacuous() -> None:
    assert {each.status for each in conform(plain)} == {"vacuous"}


def test_a_deviation_names_the_shortest_wrong_beginning() -> None:
    always_0 = Own(rule=lambda draft, target_probs, chance: verify.Verdict(0, 0))
    assert check(always_0, CASES[0]).detail == "P(text begins with (0,)) is 1 and should be 1/8"


@pytest.mark.parametrize("name", SEEN)
def test_a_bug_deviates(name: str) -> None:
    bug = Own(ALL[name].subject.rule, ALL[name].subject.rounds)
    found = next(each for each in (check(bug, case) for case in CASES) if each.status == "deviates")
    assert found.distance > Fraction(1, 10**6)
    assert found.detail.startswith("P(text begins with")
