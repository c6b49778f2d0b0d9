"""MLX under exact answers: each idiom in which engines draw has the law that it has when it draws, and all else is refused."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawing import by, require_law

from refspec.conformance.answered import answered_law
from refspec.errors import BadArgument

pytestmark = pytest.mark.peers
mx = pytest.importorskip("mlx.core", reason="MLX is no extra of refspec: pip install 'mlx[cpu]'")

P = mx.array([0.5, 0.375, 0.125, 0.0])
LOGITS = mx.log(P)
TOKEN = {0: 0.5, 1: 0.375, 2: 0.125}
QUARTER = {True: 0.25, False: 0.75}
IMPORTED = mx.random.uniform


def uniform(*shape: int) -> Any:
    return mx.random.uniform(shape=shape)


CASES: dict[str, tuple[Callable[[], Any], dict[Any, float]]] = {
    "categorical": (lambda: mx.random.categorical(LOGITS, key=mx.random.key(3)).item(), TOKEN),
    "categorical of an axis": (lambda: mx.random.categorical(LOGITS[:, None], axis=0).item(), TOKEN),
    "several of a row": (lambda: mx.random.categorical(LOGITS[None], num_samples=2)[0, 1].item(), TOKEN),
    "categorical of a shape": (lambda: mx.random.categorical(LOGITS, shape=(2,))[1].item(), TOKEN),
    "gumbel": (lambda: mx.argmax(LOGITS + mx.random.gumbel(LOGITS.shape)).item(), TOKEN),
    "gumbel by hand": (lambda: mx.argmax(-mx.log(-mx.log(uniform(4))) + LOGITS).item(), TOKEN),
    "probs / exponential": (lambda: mx.argmax(P / -mx.log(uniform(1, 4)), axis=-1)[0].item(), TOKEN),
    "argmax of cumsum > u": (lambda: mx.argmax(mx.cumsum(P) > mx.random.uniform()).item(), TOKEN),
    "count of cumsum < u": (lambda: (mx.cumsum(P) < mx.random.uniform().item()).sum().item(), TOKEN),
    "a loop": (lambda: (lambda u: next(i for i, step in enumerate(mx.cumsum(P).tolist()) if u < step))(uniform().item()), TOKEN),
    "u < p": (lambda: (mx.random.uniform() < mx.array(0.25)).item(), QUARTER),
    "p > u": (lambda: bool(mx.array([0.25]) > uniform(1)), QUARTER),
    "an item": (lambda: mx.random.uniform().item() < 0.25, QUARTER),
    "u * q < p": (lambda: bool(mx.random.uniform() * mx.array(0.5) < mx.array(0.125)), QUARTER),
    "q * u < p": (lambda: bool(mx.array(0.5) * mx.random.uniform() < mx.array(0.125)), QUARTER),
    "p / q - u": (lambda: bool(mx.array(0.125) / mx.array(0.5) - mx.random.uniform() > 0), QUARTER),
    "log u": (lambda: bool(mx.log(mx.random.uniform()) < math.log(0.25)), QUARTER),
    "less": (lambda: bool(mx.all(mx.less(uniform(2), mx.array([0.25, 2])))), QUARTER),
    "of bounds": (lambda: bool(mx.random.uniform(low=1, high=3, shape=[1], dtype=mx.float16)[0] < 1.5), QUARTER),
    "before the first rejection": (
        lambda: bool(mx.cumprod((uniform(2) < mx.array([2, 0.25])).astype(mx.int32))[-1]),
        QUARTER,
    ),
    "moved about": (
        lambda: bool(mx.concatenate([uniform(1), uniform(1)]).reshape(1, 2).squeeze()[1].astype(mx.float32) < 0.25),
        QUARTER,
    ),
    "floor of 4 u": (lambda: (mx.floor(mx.random.uniform() * 4) == 0).item(), QUARTER),
    "bernoulli": (lambda: mx.random.bernoulli(mx.array([0.25]))[0].item(), QUARTER),
    "bernoulli of a shape": (lambda: mx.random.bernoulli(0.25, (2,))[1].item(), QUARTER),
    "after a seed": (lambda: (mx.random.seed(0), bool(mx.random.uniform() < 0.25))[1], QUARTER),
    "compiled": (lambda: bool(mx.compile(lambda p: mx.random.uniform() < p)(mx.array(0.25))), QUARTER),
}


def under(program: Callable[[], Any]) -> Callable[[Any], Any]:
    from refspec.conformance.mlx_draws import drawing_from

    return by(drawing_from, program)


@pytest.mark.parametrize("name", CASES)
def test_an_idiom_has_its_law(name: str) -> None:
    program, expected = CASES[name]
    require_law(under(program), expected, within=1e-6)  # float32 rows and logarithms


@pytest.mark.parametrize("name", CASES)
def test_the_same_idiom_draws_as_its_law_says(name: str) -> None:
    """From a NumPy Generator: ordinary arrays."""
    program, expected = CASES[name]
    random = np.random.default_rng(0)
    seen = Counter(under(program)(random) for _ in range(300))
    assert set(seen) <= set(expected)
    for outcome, share in expected.items():  # six standard deviations: 2e-9 for each of seventy outcomes
        assert abs(seen[outcome] / 300 - share) < 6 * (share * (1 - share) / 300) ** 0.5 + 1e-9


@pytest.mark.parametrize(
    ("program", "told"),
    [
        *(
            (lambda name=name: getattr(mx.random, name)(1), f"drew with mx.random.{name}")
            for name in ("randint", "permutation", "normal")
        ),
        *(
            (lambda use=use: use(uniform(2)), "undrawn")
            for use in (
                mx.exp,
                mx.max,
                mx.sum,
                mx.array,
                mx.sort,
                lambda u: u.max(),
                lambda u: float(u[0]),
                lambda u: u < uniform(2),
            )
        ),
        (lambda: bool(IMPORTED() < 0.25), "imported by its name"),
    ],
)
def test_all_else_is_named(program: Any, told: str) -> None:
    with pytest.raises(BadArgument, match=told):
        answered_law(under(program))


def test_mlx_is_left_as_it_was() -> None:
    before = mx.random.uniform, mx.array.__gt__, mx.log, [each.tolist() for each in mx.random.state]
    with pytest.raises(ZeroDivisionError):
        under(lambda: 1 / 0)(np.random.default_rng(0))
    assert (mx.random.uniform, mx.array.__gt__, mx.log, [each.tolist() for each in mx.random.state]) == before
