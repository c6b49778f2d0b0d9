"""The property suite on the production code: every exact rule and every kind of drafter on drawn rational models."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from models import Case, cases, fixed
from properties import Property, Subject, is_for
from properties.suite import PARTS, RULE

import refspec
from refspec import exact, verify
from refspec.lm import LanguageModel, Tokens
from refspec.loop import Round
from refspec.verify import EXACT, Rule

thorough = settings(max_examples=settings.default.max_examples * 2 // 5, suppress_health_check=[HealthCheck.too_slow])


def name_of(each: Property) -> str:
    return each.__name__


every_pair = pytest.mark.parametrize(
    ("rule", "holds"),
    [pytest.param(rule, holds, id=f"{rule}-{name_of(holds)}") for rule in EXACT for holds in RULE if is_for(holds, rule)],
)


@every_pair
@given(case=cases())
@thorough
def test_of_every_rule(rule: str, holds: Property, case: Case) -> None:
    assert holds(Subject(promises=rule, rule=verify.RULES[rule]), case) is None


def wrong_in_every_way(
    target: LanguageModel, drafter: refspec.Drafter, prompt: Tokens, *, gamma: int, max_new_tokens: int, verify: Rule, **_: Any
) -> Iterator[Round]:
    """A loop without a law: the text hangs on gamma, runs on, draws nothing, compares nothing; block accepts less than token."""
    token = min(gamma, target.vocab_size - 1)
    for _ in range(max_new_tokens + 1):
        drafted = (token,) * min(2, max_new_tokens - 1)
        yield Round(drafted, min(int(verify is refspec.verify.token), len(drafted)), token)


@every_pair
def test_no_property_passes_whatever_it_is_shown(rule: str, holds: Property) -> None:
    """A property that returns before it has looked at its rule would be a test that cannot fail."""
    wrong = Subject(promises=rule, rule=verify.RULES[rule], rounds=wrong_in_every_way)
    assert any(holds(wrong, case) for case in fixed(16))


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
