"""Programs that draw, and the law that answering their draws gives: said once for NumPy, PyTorch and MLX."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from refspec.conformance.answered import answered_law

Drawn = Callable[[Any], Any]  # generator -> outcome


def by(drawing_from: Callable[[Any], AbstractContextManager[Any]], program: Callable[[], Any]) -> Drawn:
    """drawing_from: that of torch_draws, mlx_draws or python_draws."""

    def drawn(generator: Any) -> Any:
        with drawing_from(generator):
            return program()

    return drawn


def require_law(drawn: Drawn, expected: Mapping[Any, float], within: float) -> None:
    found = answered_law(drawn)
    assert set(found) == set(expected)
    for outcome, share in found.items():
        assert abs(float(share) - expected[outcome]) < within
