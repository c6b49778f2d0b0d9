"""Token Recycling: what is kept of a pass, what is drafted from it, and that learning changes no law."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from models import Case, cases
from properties import ODDS

import refspec
from refspec.decoding import verify
from refspec.decoding.chance import Chance
from refspec.decoding.draft.recycling import RecyclingDrafter
from refspec.decoding.draft.several import Several
from refspec.decoding.lm import Tokens
from refspec.proof import exact


def run(case: Case, drafter: refspec.Drafter, rule: str, chance: Chance) -> Tokens:
    return refspec.speculative(
        case.target, drafter, case.prompt, gamma=case.gamma, max_new_tokens=case.horizon, stop=case.stop, chance=chance,
        verify=verify.RULES[rule],
    ).tokens  # fmt: skip


@pytest.mark.parametrize("rule", ["token", "block", "sample-match"])
@given(case=cases())
@settings(max_examples=25)
def test_the_text_keeps_the_targets_law(rule: str, case: Case) -> None:
    """By all branches of whole runs, each with a drafter of its own, alone, among others, and as the bets have it."""
    plain = exact.law(
        lambda chance: refspec.autoregressive(
            case.target, case.prompt, max_new_tokens=case.horizon, stop=case.stop, chance=chance
        )
    )
    makes = (
        RecyclingDrafter,
        lambda: Several(RecyclingDrafter(), refspec.ModelDrafter(case.draft)),
        lambda: refspec.AdaptiveDrafter(RecyclingDrafter(), ODDS),
    )
    for make in makes:
        assert exact.law(lambda chance, make=make: run(case, make(), rule, chance)) == plain


def test_merged_paths_give_the_same() -> None:
    half = Fraction(1, 2)
    target = refspec.TableLM({(): [half, half / 2, half / 2], (0,): [0, half, half], (1,): [half, half, 0]})
    law = refspec.sequence_law(target, RecyclingDrafter(), (0,), gamma=2, max_new_tokens=4)
    assert law == exact.law(lambda chance: refspec.autoregressive(target, (0,), max_new_tokens=4, chance=chance))


def test_rows_behind_a_rejection_are_kept() -> None:
    """0 goes to 1 and 1 to 2, but the draft says 2 behind 0: it is refused, and what the target says behind it is known then."""
    rows = {(): [0, 0, 0, 1], (0,): [0, 1, 0, 0], (1,): [0, 0, 0, 1], (2,): [1, 0, 0, 0]}
    target = refspec.TableLM({context: [Fraction(each) for each in row] for context, row in rows.items()})

    class Wrong(RecyclingDrafter):
        def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> refspec.Draft:
            return refspec.Draft((2, 2)[:gamma])

    drafter = Wrong()
    (first,) = refspec.speculative(target, drafter, (0,), gamma=2, max_new_tokens=3, chance=refspec.Seeded(0)).rounds[:1]
    assert (first.accepted, first.token) == (0, 1)
    assert dict(drafter.state)[2] == 0  # type: ignore[call-overload]


def test_the_newest_takes_the_place_of_the_older() -> None:
    drafter = RecyclingDrafter()
    drafter.learn((1, 1), np.array([[0.1, 0.9, 0.0], [0.6, 0.0, 0.4]]))
    assert drafter.propose((2, 1), 1, refspec.Tape([])).tokens == (0,)
    assert drafter.propose((), 3, refspec.Tape([])).tokens == ()
    drafter.learn((), np.array([[0.0, 0.0, 1.0]]))  # the first row, behind nothing, has no token to be kept by
    assert drafter.state == ((1, 0),)
    drafter.learn((7,), np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    assert drafter.state == ((1, 0), (7, 1))


def test_a_real_text_is_drafted_by_its_own_rows() -> None:
    drafter = RecyclingDrafter()
    out = refspec.generate("tiny-target", "ROMEO:", drafter=drafter, max_new_tokens=60, temperature=0)
    assert out.tokens == refspec.generate("tiny-target", "ROMEO:", max_new_tokens=60, temperature=0).tokens
    assert out.stats.acceptance_rate > 0.1
