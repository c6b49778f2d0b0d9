"""The global draws of NumPy and Python under exact answers: each has the law that it has when it draws; others are refused."""

import bisect
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from random import random as imported
from typing import Any

import numpy as np
import pytest
from drawing import by, require_law

from refspec.conformance.answered import answered_law
from refspec.conformance.casts import Float
from refspec.conformance.python_draws import drawing_from
from refspec.conformance.taped import TapedGenerator
from refspec.errors import BadArgument

P = np.array([0.5, 0.375, 0.125, 0.0])
LOGITS = np.array([math.log(p) if p else -math.inf for p in P])
LADDER = np.cumsum(P)
TOKEN = {0: 0.5, 1: 0.375, 2: 0.125}
QUARTER = {True: 0.25, False: 0.75}
EVEN = dict.fromkeys(range(4), 0.25)
PAIRS = {(0, 1): 0.25, (0, 2): 0.25, (1, 0): 1 / 6, (2, 0): 1 / 6, (1, 2): 1 / 12, (2, 1): 1 / 12}
MADE_BEFORE = np.random.default_rng(0)

# Where NumPy's draws come from, and what an engine writes with them.
NUMPY: dict[str, Callable[[], Any]] = {
    "np.random": lambda: np.random,
    "default_rng": lambda: np.random.default_rng(0),
    "Generator": lambda: np.random.Generator(np.random.PCG64(0)),
    "RandomState": lambda: np.random.RandomState(0),
}
DRAWS: dict[str, tuple[Callable[[Any], Any], dict[Any, float]]] = {
    "choice": (lambda r: int(r.choice(4, p=P)), TOKEN),
    "choice of an array": (lambda r: int(r.choice(np.arange(4), size=2, p=P)[1]), TOKEN),
    "choice without replacement": (lambda r: tuple(map(int, r.choice(3, 2, replace=False, p=[0.5, 0.25, 0.25]))), PAIRS),
    "even choice": (lambda r: int(r.choice(4)), EVEN),
    "multinomial": (lambda r: int(r.multinomial(1, P).argmax()), TOKEN),
    "multinomials": (lambda r: int(r.multinomial(1, P, size=2)[1].argmax()), TOKEN),
    "random": (lambda r: bool(r.random() < 0.25), QUARTER),
    "random of a shape": (lambda r: bool((r.random((2, 1)) < np.full((2, 1), 0.25))[1, 0]), QUARTER),
    "uniform": (lambda r: bool(r.uniform() < 0.25), QUARTER),
    "uniform of bounds": (lambda r: bool((r.uniform(low=1, high=3, size=2) < 1.5)[0]), QUARTER),
    "p / q > u": (lambda r: bool(np.float64(0.125) / np.float32(0.5) > r.random()), QUARTER),
    "u < an array": (lambda r: bool(r.random() < np.array([0.25])), QUARTER),
    "q * u < p": (lambda r: bool((np.array([0.5, 1]) * r.random(2) < np.array([0.125, 0.5]))[0]), QUARTER),
    "log u": (lambda r: bool(np.log(r.random()) < math.log(0.25)), QUARTER),
    "accepted before the first rejection": (lambda r: bool(np.cumprod(r.random(2) < np.array([2, 0.25]))[-1]), QUARTER),
    "np.where": (lambda r: bool(np.where(r.random(1) < 0.25, 1, 0)[0]), QUARTER),
    "int(4 u)": (lambda r: int(r.random() * 4), EVEN),
    "floor(4 u)": (lambda r: int(np.floor(r.random(1) * 4)[0]), EVEN),
    "probs / exponential": (lambda r: int(np.argmax(P / r.exponential(size=4))), TOKEN),
    "exponential / probs": (lambda r: int(np.argmin(r.standard_exponential(3) / P[:3])), TOKEN),
    "gumbel": (lambda r: int(np.argmax(LOGITS + r.gumbel(size=4))), TOKEN),
    "gumbel by hand": (lambda r: int((LOGITS - np.log(-np.log(r.random(4) + 1e-20))).argmax()), TOKEN),
    "searchsorted": (lambda r: int(np.searchsorted(LADDER, r.random(), side="right")), TOKEN),
    "argmax of cumsum > u": (lambda r: int(np.argmax(r.random() < LADDER)), TOKEN),
    "count of cumsum < u": (lambda r: int((LADDER.astype(np.float32) < r.random()).sum()), TOKEN),
}
LEGACY: dict[str, tuple[Callable[[Any], Any], dict[Any, float]]] = {
    "rand": (lambda r: bool((r.rand(2, 1) < 0.25)[1, 0]), QUARTER),
    "random_sample": (lambda r: bool(r.random_sample() < 0.25), QUARTER),
    "a seed": (lambda r: (r.seed(0), bool(r.rand() < 0.25))[1], QUARTER),
}
PYTHON: dict[str, Callable[[], Any]] = {
    "random": lambda: random,
    "Random": lambda: random.Random(0),
    "SystemRandom": lambda: random.SystemRandom(),
}
OF_PYTHON: dict[str, tuple[Callable[[Any], Any], dict[Any, float]]] = {
    "random": (lambda r: r.random() < 0.25, QUARTER),
    "not >=": (lambda r: not r.random() >= min(1, 0.125 / 0.5), QUARTER),
    "uniform": (lambda r: r.uniform(1, 3) < 1.5, QUARTER),
    "choice": (lambda r: r.choice(range(4)), EVEN),
    "choices": (lambda r: r.choices(range(4), weights=P)[0], TOKEN),
    "choices of sums": (lambda r: r.choices(range(4), cum_weights=list(LADDER), k=2)[1], TOKEN),
    "randrange": (lambda r: r.randrange(4), EVEN),
    "randint": (lambda r: r.randint(0, 3), EVEN),
    "int(4 u)": (lambda r: int(r.random() * 4), EVEN),
    "bisect": (lambda r: bisect.bisect(list(LADDER), r.random()), TOKEN),
    "a loop": (
        lambda r: (lambda u: next(i for i, step in enumerate(itertools.accumulate(P)) if u < step))(r.random()),
        TOKEN,
    ),
}
CASES = {
    f"{name} of {source}": ((lambda make=make, draw=draw: draw(make())), law)
    for sources, draws in (
        (NUMPY, DRAWS),
        ({name: NUMPY[name] for name in ("np.random", "RandomState")}, LEGACY),
        (PYTHON, OF_PYTHON),
    )
    for source, make in sources.items()
    for name, (draw, law) in draws.items()
}


def under(program: Callable[[], Any]) -> Callable[[Any], Any]:
    return by(drawing_from, program)


@pytest.mark.parametrize("name", CASES)
def test_a_draw_has_its_law(name: str) -> None:
    program, expected = CASES[name]
    require_law(under(program), expected, within=1e-12)  # sums and logarithms of floats round


@pytest.mark.parametrize("name", CASES)
def test_the_same_code_draws_as_its_law_says(name: str) -> None:
    """From a real generator too."""
    program, expected = CASES[name]
    generator = np.random.default_rng(0)
    with drawing_from(generator):
        seen = Counter(program() for _ in range(200))
    assert set(seen) <= set(expected)
    for outcome, share in expected.items():  # six standard deviations: 2e-9 for each of five hundred outcomes
        assert abs(seen[outcome] / 200 - share) < 6 * (share * (1 - share) / 200) ** 0.5 + 1e-9


@pytest.mark.parametrize(
    "program",
    [
        *(lambda name=name: getattr(np.random, name)(1) for name in ("randn", "permutation", "bytes", "geometric", "standard_t")),
        *(lambda name=name: getattr(np.random.RandomState(0), name)(1) for name in ("randn", "binomial", "randint", "shuffle")),
        *(lambda name=name: getattr(np.random.default_rng(0), name)(1) for name in ("integers", "permuted", "beta", "spawn")),
        *(lambda name=name: getattr(random, name)(1) for name in ("sample", "gauss", "getrandbits", "triangular", "randbytes")),
        *(lambda name=name: getattr(random.Random(0), name)(1) for name in ("shuffle", "expovariate", "binomialvariate")),
    ],
)
def test_other_draws_are_named(program: Any) -> None:
    with pytest.raises(BadArgument, match="the engine drew with"):
        answered_law(under(program))


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (lambda: imported() < 0.25, "imported by its name"),
        (lambda: np.random.mtrand.random_sample() < 0.25, "imported by its name"),
        (lambda: bool(MADE_BEFORE.random() < 0.25), "under the same answers"),
        (lambda: (random.random() < 0.5, bool(MADE_BEFORE.random() < 0.5)), "under the same answers"),
    ],
)
def test_what_draws_unseen_has_no_law(program: Any, told: str) -> None:
    with pytest.raises(BadArgument, match=told):
        answered_law(under(program))


def test_what_was_there_comes_back() -> None:
    before = np.random.random, random.random, np.random.randn, np.random.Generator, random.Random
    with pytest.raises(ZeroDivisionError):
        under(lambda: 1 / 0)(np.random.default_rng(0))
    assert (np.random.random, random.random, np.random.randn, np.random.Generator, random.Random) == before


def test_a_tape_is_read_in_order() -> None:
    tape = TapedGenerator([0.25, 0.5, 0.75, 0.125])
    assert under(lambda: (np.random.rand(1, 2).tolist(), random.uniform(1, 3), np.random.choice(2, p=[0.1, 0.9])))(tape) == (
        [[0.25, 0.5]],
        2.5,
        1,
    )


CASTS: dict[str, Callable[[Any], Any]] = {
    "of a number": lambda as_float: as_float(np.random.default_rng(0).random()),
    "of an entry": lambda as_float: as_float(np.random.default_rng(0).random(2)[1]),
    "of random's": lambda as_float: as_float(random.random()),
}


@pytest.mark.parametrize("name", CASTS)
def test_a_cast_is_answered_where_the_adapter_says_so_and_refused_by_module_and_line_where_not(name: str) -> None:
    def below(as_float: Any) -> Any:
        def engine(generator: Any) -> bool:
            with drawing_from(generator):
                return bool(CASTS[name](as_float) < 0.25)

        return engine

    assert answered_law(below(Float)) == QUARTER
    with pytest.raises(BadArgument, match=rf"called float\(\) on an undrawn uniform \(in {__name__}, line \d+\)"):
        answered_law(below(float))


def test_a_float_of_anything_else_is_one() -> None:
    assert [Float(each) for each in (1, "0.5", np.float32(0.25), np.array([2]))] == [1.0, 0.5, 0.25, 2.0]
    assert {type(Float(each)) for each in (1, "0.5", np.float32(0.25), Fraction(1, 2))} == {float}
    assert isinstance(0.5, Float)
    assert not isinstance(1, Float)
    assert Float("inf") == math.inf
    assert np.zeros(2, dtype=Float).dtype == np.arange(3).astype(Float).dtype == np.float64
    with pytest.raises(ValueError, match="could not convert"):
        Float("a")


def test_a_log_line_of_an_engine_asks_nothing() -> None:
    assert answered_law(lambda generator: f"{generator.random():.3f} {generator.exponential():>8}") == {"undrawn undrawn": 1}
