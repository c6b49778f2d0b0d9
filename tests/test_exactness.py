"""The property suite on the production code: every exact rule and every kind of drafter on drawn rational models."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from models import DRAFTERS, SIZES, STOPPED, Case, case, cases, fixed
from properties import Property, Subject, is_for
from properties.suite import PARTS, RULE

import refspec
from refspec.decoding import verify
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.round import Round
from refspec.decoding.verify import EXACT, Rule
from refspec.proof import exact

thorough = settings(max_examples=settings.default.max_examples * 2 // 5, suppress_health_check=[HealthCheck.too_slow])


def name_of(each: Property) -> str:
    return each.__name__


every_pair = pytest.mark.parametrize(
    ("rule", "holds"),
    [pytest.param(rule, holds, id=f"{rule}-{name_of(holds)}") for rule in EXACT for holds in RULE if is_for(holds, rule)],
)


@every_pair
@given(case=cases())
@example(case=STOPPED)
@thorough
def test_of_every_rule(rule: str, holds: Property, case: Case) -> None:
    subject = Subject(promises=rule, rule=verify.RULES[rule])
    assert holds(subject, case if subject.bears(case) else replace(case, drafter="model")) is None


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


def test_most_drawn_cases_see_a_rejection() -> None:
    """In some of eight seeded runs each. By the recipe alone, so that the shares are the same every time; Hypothesis, which
    draws a case like the last one if it can, strays from them, but not to where little happens.
    """
    shares: Counter[str] = Counter()
    for seed in range(200):
        integer = random.Random(seed).randint
        shares.update(happenings(case(integer, SIZES[integer(0, len(SIZES) - 1)], DRAFTERS[seed % 4])))
    assert shares["rejects"] > 100
    assert shares["drafts several of three"] > 20
    for what in ("accepts", "stops", "bets", "stops early", "betting races", "V = 1", "gamma 0", "horizon 0", "nothing"):
        assert 4 < shares[what] < 150, what

    drawn: Counter[str] = Counter()

    @given(case=cases())
    @settings(max_examples=100, derandomize=True, database=None)
    def look(case: Case) -> None:
        found = happenings(case)
        drawn.update(["cases", *found])
        for what in found:
            event(what)

    look()
    assert drawn["rejects"] > drawn["cases"] / 4


def happenings(case: Case) -> set[str]:
    found = {f"V = {case.vocab_size}", f"gamma {case.gamma}", f"horizon {case.horizon}", case.drafter}
    for seed in range(8):
        for each in refspec.speculative(
            case.target, Subject().drafter(case), case.prompt, gamma=case.gamma, max_new_tokens=case.horizon, stop=case.stop,
            chance=refspec.Seeded(seed),
        ).rounds:  # fmt: skip
            found |= {"drafts"} if each.drafted else set()
            found |= {"accepts"} if each.accepted else set()
            found |= {"rejects"} if each.accepted < each.drafted else set()
            found |= {"stops"} if each.token in case.stop else set()
            found |= {"drafts several of three"} if case.vocab_size == 3 and each.drafted > 1 else set()
    found |= {"bets"} if case.profile else set()
    found |= {"betting races"} if case.profile and case.drafter == "coupled" else set()
    found |= {"stops early"} if case.confidence and case.drafter in ("model", "coupled") else set()
    return found if "drafts" in found else found | {"nothing"}


@pytest.mark.parametrize("rule", EXACT)
def test_block_does_not_bear_a_draft_whose_noise_comes_back(rule: str) -> None:
    """CoupledDrafter drafts a position again with the same noise. Block lets a later token decide on an earlier one, so what
    it keeps tells of that noise, and the next draft is no sample of its q any more. The other rules never look so far.
    """
    third = Fraction(1, 3)
    target, draft = refspec.TableLM({(): [third, 2 * third]}), refspec.TableLM({(): [2 * third, third]})

    def run(chance: refspec.Chance) -> tuple[int, ...]:
        drafter = refspec.CoupledDrafter(draft)
        unmarked: verify.Rule = lambda *asked: verify.RULES[rule](*asked)  # noqa: E731  (the loop refuses block as it is)
        options = {"gamma": 2, "max_new_tokens": 3, "chance": chance, "verify": unmarked}
        return refspec.speculative(target, drafter, (), **options).tokens

    plain = exact.law(lambda chance: refspec.autoregressive(target, (), max_new_tokens=3, chance=chance))
    assert exact.total_variation(exact.law(run), plain) == (Fraction(1, 18) if rule == "block" else 0)
