"""The property suite on the production code: every exact rule and every kind of drafter on drawn rational models."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from models import Case, cases
from properties import Property, Subject
from properties.suite import PARTS, RULE

import refspec
from refspec import exact, verify

EXACT = [name for name in verify.RULES if not name.startswith("inexact")]
thorough = settings(max_examples=settings.default.max_examples * 2 // 5, suppress_health_check=[HealthCheck.too_slow])


def name_of(each: Property) -> str:
    return each.__name__


@pytest.mark.parametrize("holds", RULE, ids=name_of)
@pytest.mark.parametrize("rule", EXACT)
@given(case=cases())
@thorough
def test_of_every_rule(rule: str, holds: Property, case: Case) -> None:
    assert holds(Subject(promises=rule, rule=verify.RULES[rule]), case) is None


@pytest.mark.parametrize("holds", PARTS, ids=name_of)
@given(case=cases())
@thorough
def test_of_the_parts(holds: Property, case: Case) -> None:
    assert holds(Subject(), case) is None


@pytest.mark.parametrize("key", range(3))
def test_the_noise_of_a_position_is_not_the_uniforms_of_the_seed(key: int) -> None:
    """Over 2,000 seeds a race and the first test agree half of the time: 0.06 is more than five standard errors."""
    even = np.array([0.5, 0.5])
    agree = [refspec.Seeded(seed).race(key, even) == refspec.Seeded(seed).accept(0.5, 1.0) for seed in range(2000)]
    assert abs(np.mean(agree) - 0.5) < 0.06


@pytest.mark.parametrize("rule", EXACT)
def test_block_does_not_bear_a_draft_whose_noise_comes_back(rule: str) -> None:
    """CoupledDrafter drafts a position again with the same noise. Block lets a later token decide on an earlier one, so what
    it keeps tells of that noise, and the next draft is no sample of its q any more. The other rules never look so far.
    """
    third = Fraction(1, 3)
    target, draft = refspec.TableLM({(): [third, 2 * third]}), refspec.TableLM({(): [2 * third, third]})

    def run(chance: refspec.Chance) -> tuple[int, ...]:
        drafter = refspec.CoupledDrafter(draft)
        options = {"gamma": 2, "max_new_tokens": 3, "chance": chance, "verify": verify.RULES[rule]}
        return refspec.speculative(target, drafter, (), **options).tokens

    plain = exact.law(lambda chance: refspec.autoregressive(target, (), max_new_tokens=3, chance=chance))
    assert exact.total_variation(exact.law(run), plain) == (Fraction(1, 18) if rule == "block" else 0)
