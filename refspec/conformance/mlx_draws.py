"""MLX's draws, taken from a generator that is given, as `torch_draws` does it for PyTorch.

`mx.random.categorical` is `generator.choice(n, p=softmax(row))`, `bernoulli` and `uniform` are `generator.random()`. A uniform
that is not drawn yet has to stand on the left of what it meets (`u < p`, `u * q < p`), since an MLX array takes nothing foreign
on its right; MLX itself raises there. Compiled functions run uncompiled meanwhile. Any other draw raises by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import numpy as np

from refspec.errors import BadArgument

ANSWERED = ("categorical", "uniform", "bernoulli")
REFUSED = ("gumbel", "laplace", "multivariate_normal", "normal", "permutation", "randint", "truncated_normal")


@contextmanager
def drawing_from(generator: Any) -> Iterator[None]:
    """Within it MLX draws from `generator`: a NumPy Generator, or an AnsweredGenerator.

    >>> import mlx.core as mx
    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.mlx_draws import drawing_from
    >>> def engine(generator):
    ...     with drawing_from(generator):
    ...         return mx.random.categorical(mx.array([0.0, 0.0])).item(), mx.random.uniform() * 0.5 < 0.125
    >>> answered_law(engine)[1, True]
    Fraction(1, 8)
    """
    drawing = _Drawing(generator)
    before = {name: getattr(mx.random, name) for name in (*ANSWERED, *REFUSED)}
    mx.disable_compile()
    try:
        for name in ANSWERED:
            setattr(mx.random, name, getattr(drawing, name))
        for name in REFUSED:
            setattr(mx.random, name, _refuser(name))
        yield
    finally:
        for name, function in before.items():
            setattr(mx.random, name, function)
        mx.enable_compile()


class _Drawing:
    """What stands in the place of the functions of `mx.random` that are answered."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def categorical(self, logits: Any, axis: int = -1, *, shape: Any = None, num_samples: Any = None, **_: Any) -> Any:
        rows = np.moveaxis(np.array(logits.astype(mx.float32), np.float64), axis, -1)
        if shape is not None or num_samples is not None:
            raise BadArgument("the engine drew several tokens of a row at once with MLX's categorical; one a row is answered")
        weights = np.exp(rows - rows.max(axis=-1, keepdims=True)).reshape(-1, rows.shape[-1])
        picked = [int(self._generator.choice(len(row), p=row / row.sum())) for row in weights]
        return mx.array(picked, mx.uint32).reshape(rows.shape[:-1])

    def uniform(self, low: Any = 0, high: Any = 1, shape: Any = (), dtype: Any = mx.float32, **_: Any) -> Any:
        drawn = [low + (high - low) * self._generator.random() for _ in range(int(np.prod(shape)))]
        if all(isinstance(each, float) for each in drawn):
            return mx.array(drawn, dtype).reshape(shape)
        return np.array(drawn, object).reshape(shape) if shape else drawn[0]

    def bernoulli(self, p: Any = 0.5, shape: Any = None, **_: Any) -> Any:
        chances = np.array(p, np.float64) if shape is None else np.broadcast_to(np.array(p, np.float64), shape)
        drawn = [bool(self._generator.random() < float(chance)) for chance in chances.ravel()]
        return mx.array(drawn).reshape(chances.shape)


def _refuser(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BadArgument(f"the engine drew with mx.random.{name}; {', '.join(ANSWERED)} are answered")

    return refuse
