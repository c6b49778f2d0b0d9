"""The module-level draws of NumPy and of Python, taken from a generator that is given, as `torch_draws` does it for PyTorch.

For an engine that draws from the global generators, or makes one with `default_rng` or `Random` and means it as a fresh one: a
seed is without effect. What is left out of `ANSWERED` raises by name while it lasts; draws imported by name before are not seen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from refspec.errors import BadArgument

NUMPY, PYTHON = import_module("numpy.random"), import_module("random")
# What stands in the place of each function; the others of its kind are refused.
ANSWERED: dict[Any, dict[str, Callable[..., Callable[..., Any]]]] = {
    NUMPY: {
        "random": lambda g: lambda size=None: _shaped(g, size),
        "random_sample": lambda g: lambda size=None: _shaped(g, size),
        "rand": lambda g: lambda *shape: _shaped(g, shape or None),
        "uniform": lambda g: lambda low=0.0, high=1.0, size=None: _shaped(g, size) * (high - low) + low,
        "choice": lambda g: lambda a, p=None: g.choice(a, p=p),
        "default_rng": lambda g: lambda seed=None: g,
        "seed": lambda g: lambda seed=None: None,
    },
    PYTHON: {
        "random": lambda g: lambda: g.random(),
        "uniform": lambda g: lambda low, high: g.random() * (high - low) + low,
        "choice": lambda g: lambda items: items[int(g.choice(len(items)))],
        "choices": lambda g: lambda population, weights=None, *, k=1: _choices(g, population, weights, k),
        "Random": lambda g: lambda seed=None: g,
        "seed": lambda g: lambda seed=None: None,
    },
}
REFUSED: dict[Any, tuple[str, ...]] = {
    NUMPY: ("randn", "randint", "normal", "standard_normal", "exponential", "gumbel", "multinomial", "permutation", "shuffle"),
    PYTHON: ("randint", "randrange", "sample", "shuffle", "gauss", "expovariate", "normalvariate", "getrandbits"),
}


@contextmanager
def drawing_from(generator: Any) -> Iterator[None]:
    """Within it the global draws come from `generator`: a NumPy Generator, or an AnsweredGenerator.

    >>> import importlib
    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.python_draws import drawing_from
    >>> def engine(generator):
    ...     with drawing_from(generator):
    ...         return importlib.import_module("random").choices("ab", [1, 3])[0]
    >>> answered_law(engine)
    {'a': Fraction(1, 4), 'b': Fraction(3, 4)}
    """
    before = {(module, name): getattr(module, name) for module in ANSWERED for name in (*ANSWERED[module], *REFUSED[module])}
    try:
        for module, functions in ANSWERED.items():
            for name, make in functions.items():
                setattr(module, name, make(generator))
            for name in REFUSED[module]:
                setattr(module, name, _refuser(module, name))
        yield
    finally:
        for (module, name), function in before.items():
            setattr(module, name, function)


def _shaped(generator: Any, shape: Any) -> Any:
    if shape is None:
        return generator.random()
    drawn = [generator.random() for _ in range(int(np.prod(shape)))]
    kind = float if all(isinstance(each, float) for each in drawn) else object
    return np.array(drawn, dtype=kind).reshape(shape)


def _choices(generator: Any, population: Any, weights: Any, k: int) -> list[Any]:
    shares = np.ones(len(population)) if weights is None else np.array(weights, dtype=float)
    return [population[int(generator.choice(len(population), p=shares / shares.sum()))] for _ in range(k)]


def _refuser(module: Any, name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BadArgument(f"the engine drew with {module.__name__}.{name}; {', '.join(ANSWERED[module])} are answered")

    return refuse
