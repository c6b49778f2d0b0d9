"""Clocks of undrawn uniforms: who is first is answered by rates, however an engine writes the race, and nothing else is."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refspec.conformance.answered import answered_law
from refspec.conformance.races import log, race, ranked
from refspec.errors import BadArgument

RATES = st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any)
RACES: dict[str, Callable[[list[int], Any], int]] = {
    "argmin E / w": lambda rates, u: race([-log(u()) / w for w in rates], largest=False),
    "argmax w / E": lambda rates, u: race([w / -log(1 - u()) for w in rates], largest=True),
    "argmax log(u) / w": lambda rates, u: race([log(u()) / w for w in rates], largest=True),
    "argmax of 3 w / E": lambda rates, u: race([w / (-log(u()) / 3) for w in rates], largest=True),
    "Gumbel": lambda rates, u: race([logit(w) - log(-log(u() + 1e-10) + 1e-10) for w in rates], largest=True),
    "Gumbel, the other way": lambda rates, u: race([log(-log(u())) - logit(w) for w in rates], largest=False),
    "Gumbel at temperature 1/2": lambda rates, u: race([(logit(w) - log(-log(u()))) / 0.5 for w in rates], largest=True),
}


def logit(rate: int) -> float:
    return math.log(rate) if rate else -math.inf


@pytest.mark.parametrize("name", RACES)
@given(RATES)
def test_who_is_first_goes_by_the_rates(name: str, rates: list[int]) -> None:
    found = answered_law(lambda generator: RACES[name](rates, generator.random))
    assert set(found) == {i for i, rate in enumerate(rates) if rate}
    for i, share in found.items():
        # exact where no logarithm of a rate is taken: then math.log and math.exp round, and the epsilons stand for nothing
        assert abs(share - Fraction(rates[i], sum(rates))) < (1e-12 if "Gumbel" in name else Fraction(1, 10**30))


@given(st.floats(-5, 1), st.fractions(Fraction(1, 10), 10), st.booleans())
def test_a_logarithm_lies_where_its_uniform_does(bound: float, scale: Fraction, mirrored: bool) -> None:
    """log(s * u) < b is u < exp(b) / s."""

    def asked(generator: Any) -> bool:
        u = generator.random()
        return bool(log(scale * (1 - u) if mirrored else scale * u) < bound)

    expected = min(1.0, math.exp(bound) / float(scale))
    assert abs(float(answered_law(asked).get(True, 0)) - expected) < 1e-12  # two roundings


def test_a_comparison_is_remembered() -> None:
    def asked(generator: Any) -> tuple[bool, bool]:
        clock = -log(generator.random())
        return clock > math.log(2), clock <= math.log(4)

    found = {outcome: round(float(share), 12) for outcome, share in answered_law(asked).items()}
    assert found == {(False, True): 0.5, (True, True): 0.25, (True, False): 0.25}


@pytest.mark.parametrize(
    "use",
    [
        float,
        bool,
        hash,
        lambda clock: clock == 1,
        lambda clock: clock + clock,
        lambda clock: clock * clock,
        lambda clock: (1 / clock) + 1,
        lambda clock: (clock + 1).log(),
        lambda clock: race([clock, clock], largest=False),
        lambda clock: race([clock, 0.5], largest=False),
        lambda clock: race([clock, 1 / clock], largest=False),
        lambda clock: (race([clock], largest=False), race([clock], largest=False)),
        lambda clock: (race([clock], largest=False), clock < 1),
        lambda clock: (clock < 1, race([clock], largest=False)),
    ],
)
def test_a_clock_is_good_for_nothing_else(use: Any) -> None:
    with pytest.raises((BadArgument, TypeError)):
        answered_law(lambda generator: use(-log(generator.random())))


@settings(max_examples=30)
@given(RATES.filter(all), st.permutations(range(4)))
def test_a_race_in_pairs_is_the_same_race(rates: list[int], order: list[int]) -> None:
    """max, min and NumPy's argmax ask pair by pair: the winner of one goes on into the next."""

    def fastest(generator: Any) -> tuple[int, ...]:
        clocks = [-log(generator.random()) / rate for rate in rates]
        entered = [i for i in order if i < len(rates)]
        return (min(entered, key=clocks.__getitem__),)

    def likeliest(generator: Any) -> tuple[int, ...]:
        return (int(np.argmax(np.array([logit(w) - log(-log(generator.random())) for w in rates]))),)

    for program in (fastest, likeliest):
        found = answered_law(program)
        for (i,), share in found.items():
            assert abs(share - Fraction(rates[i], sum(rates))) < 1e-12  # logarithms of rates round


@settings(max_examples=30)
@given(RATES)
def test_who_follows_whom_goes_by_the_rates_that_are_left(rates: list[int]) -> None:
    count = sum(1 for rate in rates if rate)
    found = answered_law(
        lambda generator: tuple(ranked([rate / -log(generator.random()) for rate in rates], len(rates), largest=True))
    )
    for order, share in found.items():
        expected, left = Fraction(1), sum(rates)
        for i in order[:count]:
            expected, left = expected * rates[i] / left, left - rates[i]
        assert share == expected
    assert sum(found.values()) == 1


def test_the_slowest_of_clocks_is_not_answered() -> None:
    with pytest.raises(BadArgument, match="a race that is none"):
        answered_law(lambda generator: race([-log(generator.random()), -log(generator.random())], largest=True))
