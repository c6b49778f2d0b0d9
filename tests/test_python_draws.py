"""The global draws of NumPy and Python under exact answers: each has the law that it has when it draws; others are refused."""

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from refspec.conformance.answered import answered_law
from refspec.conformance.python_draws import drawing_from
from refspec.errors import BadArgument

QUARTER = {True: Fraction(1, 4), False: Fraction(3, 4)}
DRAWS: dict[str, Callable[[], Any]] = {
    "np.random.random": lambda: np.random.random() < 0.25,
    "np.random.rand": lambda: bool((np.random.rand(2, 1) < np.array([[0.25], [0.5]]))[0, 0]),
    "np.random.uniform": lambda: np.random.uniform(1, 3) < 1.5,
    "np.random.choice": lambda: np.random.choice([True, False], p=[0.25, 0.75]),
    "np.random.default_rng": lambda: np.random.default_rng(0).random() < 0.25,
    "random.random": lambda: random.random() < 0.25,
    "random.uniform": lambda: random.uniform(1, 3) < 1.5,
    "random.choice": lambda: random.choice([True, False, False, False]),
    "random.choices": lambda: random.choices([True, False], weights=[1, 3])[0],
    "random.Random": lambda: random.Random(0).random() < 0.25,
}


def under(program: Callable[[], Any]) -> Callable[[Any], Any]:
    def drawn(generator: Any) -> Any:
        with drawing_from(generator):
            return program()

    return drawn


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_has_its_law(name: str) -> None:
    assert answered_law(under(DRAWS[name])) == QUARTER


@pytest.mark.parametrize("name", DRAWS)
def test_it_draws_from_a_real_generator_too(name: str) -> None:
    generator = np.random.default_rng(0)
    seen = [bool(under(DRAWS[name])(generator)) for _ in range(400)]
    assert 60 < sum(seen) < 140  # 100 expected: 4.6 standard deviations


@pytest.mark.parametrize("program", [lambda: np.random.randn(), lambda: random.randint(0, 1), lambda: np.random.permutation(2)])
def test_other_draws_are_named(program: Any) -> None:
    with pytest.raises(BadArgument, match="the engine drew with"):
        answered_law(under(program))


def test_what_was_there_comes_back() -> None:
    before = np.random.random, random.random, np.random.randn
    with pytest.raises(ZeroDivisionError):
        under(lambda: 1 / 0)(np.random.default_rng(0))
    assert (np.random.random, random.random, np.random.randn) == before
