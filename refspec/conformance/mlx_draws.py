"""MLX's draws, taken from a generator that is given, as `torch_draws` does it for PyTorch.

`mx.random.categorical` is `generator.choice(n, p=softmax(row))`; `uniform`, `bernoulli` and `gumbel` are made of
`generator.random()`. From an `AnsweredGenerator` come arrays that are not drawn yet (`mlx_undrawn.py`). Compiled functions run
uncompiled meanwhile. Any other draw raises by name; what draws unseen, by a function imported before, raises in the end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import numpy as np

from refspec.conformance.mlx_undrawn import led_here, made
from refspec.errors import BadArgument

ANSWERED = ("categorical", "uniform", "bernoulli", "gumbel", "seed")
REFUSED = ("laplace", "multivariate_normal", "normal", "permutation", "randint", "truncated_normal")


@contextmanager
def drawing_from(generator: Any) -> Iterator[None]:
    """Within it MLX draws from `generator`: a NumPy Generator, or an AnsweredGenerator.

    >>> import mlx.core as mx
    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.mlx_draws import drawing_from
    >>> def engine(generator):
    ...     with drawing_from(generator):
    ...         return mx.random.categorical(mx.array([0.0, 0.0])).item(), (mx.random.uniform() * 0.5 < 0.125).item()
    >>> answered_law(engine)[1, True]
    Fraction(1, 8)
    """
    drawing, state = _Drawing(generator), _state()
    before = {name: getattr(mx.random, name) for name in (*ANSWERED, *REFUSED)}
    mx.disable_compile()
    try:
        for name in ANSWERED:
            setattr(mx.random, name, getattr(drawing, name))
        for name in REFUSED:
            setattr(mx.random, name, _refuser(name))
        with led_here():
            yield
    except BadArgument:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        if any(word in str(error) for word in ("ndrawn", "ndarray", "bad_cast")):  # as MLX words it
            raise BadArgument(
                f"the engine used undrawn numbers in MLX ({str(error).splitlines()[0]}); + - * / by numbers, log, comparisons, "
                "argmax, argmin, .item(), .tolist() and moving them about are answered"
            ) from error
        raise
    finally:
        for name, function in before.items():
            setattr(mx.random, name, function)
        mx.enable_compile()
    if _state() != state:
        raise BadArgument(
            "the engine drew from MLX's own generator, by a function of mx.random that it had imported by its name; "
            "import the module"
        )


class _Drawing:
    """What stands in the place of the functions of `mx.random` that are answered."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def categorical(self, logits: Any, axis: int = -1, *, shape: Any = None, num_samples: int | None = None, **_: Any) -> Any:
        rows = np.moveaxis(np.array(logits.astype(mx.float32), np.float64), axis, -1)
        rows = rows if shape is None else np.broadcast_to(rows, (*shape, rows.shape[-1]))
        rows = rows if num_samples is None else np.repeat(rows[..., None, :], num_samples, axis=-2)
        weights = np.exp(rows - rows.max(axis=-1, keepdims=True)).reshape(-1, rows.shape[-1])
        picked = [int(self._generator.choice(len(row), p=row / row.sum())) for row in weights]
        return mx.array(picked, mx.uint32).reshape(rows.shape[:-1])

    def uniform(self, low: Any = 0, high: Any = 1, shape: Any = (), *_: Any, **__: Any) -> Any:
        return made(self._drawn(shape) * (high - low) + low)

    def gumbel(self, shape: Any = (), *_: Any, **__: Any) -> Any:
        return made(-np.log(-np.log(self._drawn(shape))))

    def bernoulli(self, p: Any = 0.5, shape: Any = None, *_: Any, **__: Any) -> Any:
        chances = np.array(p.astype(mx.float32) if isinstance(p, mx.array) else p, np.float64)
        chances = chances if shape is None else np.broadcast_to(chances, shape)
        drawn = [bool(self._generator.random() < float(chance)) for chance in chances.ravel()]
        return mx.array(drawn).reshape(chances.shape)

    def seed(self, seed: int) -> None: ...

    def _drawn(self, shape: Any) -> Any:
        drawn = np.empty(tuple(shape), dtype=object)
        for place in np.ndindex(drawn.shape):
            drawn[place] = self._generator.random()
        return drawn if drawn.size and not isinstance(drawn.flat[0], float) else drawn.astype(float)


def _state() -> list[Any]:
    return [each.tolist() for each in mx.random.state]


def _refuser(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BadArgument(f"the engine drew with mx.random.{name}; {', '.join(ANSWERED[:-1])} are answered")

    return refuse
