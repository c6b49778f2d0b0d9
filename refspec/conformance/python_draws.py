"""The module-level draws of NumPy and of Python, taken from a generator that is given, as `torch_draws` does it for PyTorch.

For an engine that draws from the global generators, or makes one and means it as a fresh one: a seed is without effect. What is
not answered raises by name, and so does what draws from a global generator unseen, by a function imported before.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from refspec.errors import BadArgument

NUMPY, PYTHON = import_module("numpy.random"), import_module("random")
KEPT = ("getstate", "setstate", "get_state", "set_state")  # no draws


class _Numpy:
    """What numpy.random and its RandomState have, drawn from a generator."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def random(self, size: Any = None) -> Any:
        return self._generator.random(size)

    random_sample = ranf = sample = random

    def rand(self, *size: int) -> Any:
        return self.random(size or None)

    def uniform(self, *args: Any, **kwargs: Any) -> Any:
        return self._generator.uniform(*args, **kwargs)

    def choice(self, *args: Any, **kwargs: Any) -> Any:
        return self._generator.choice(*args, **kwargs)

    def multinomial(self, *args: Any, **kwargs: Any) -> Any:
        return self._generator.multinomial(*args, **kwargs)

    def exponential(self, *args: Any, **kwargs: Any) -> Any:
        return self._generator.exponential(*args, **kwargs)

    def standard_exponential(self, size: Any = None) -> Any:
        return self._generator.exponential(size=size)

    def gumbel(self, *args: Any, **kwargs: Any) -> Any:
        return self._generator.gumbel(*args, **kwargs)

    def seed(self, seed: Any = None) -> None: ...

    def __getattr__(self, name: str) -> NoReturn:
        _refuse(f"numpy.random.{name}", _Numpy)


class _Python:
    """What random and its Random have, drawn from a generator."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def random(self) -> Any:
        return self._generator.random()

    def uniform(self, a: Any, b: Any) -> Any:
        return self.random() * (b - a) + a

    def choice(self, seq: Any) -> Any:
        return seq[int(self._generator.choice(len(seq)))]

    def choices(self, population: Any, weights: Any = None, *, cum_weights: Any = None, k: int = 1) -> list[Any]:
        if cum_weights is not None:
            weights = [after - before for before, after in pairwise([0, *cum_weights])]
        shares = np.ones(len(population)) if weights is None else np.array(weights, dtype=float)
        return [population[int(self._generator.choice(len(population), p=shares / shares.sum()))] for _ in range(k)]

    def randrange(self, *bounds: int) -> Any:
        return self.choice(range(*bounds))

    def randint(self, a: int, b: int) -> Any:
        return self.randrange(a, b + 1)

    def seed(self, *_: Any, **__: Any) -> None: ...

    def __getattr__(self, name: str) -> NoReturn:
        _refuse(f"random.{name}", _Python)


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
    drawn, also = _Numpy(generator), _Python(generator)
    stand_ins = {(NUMPY, name): _deferred(drawn, name) for name in _functions(NUMPY, NUMPY.RandomState, _Numpy)}
    stand_ins |= {(PYTHON, name): _deferred(also, name) for name in _functions(PYTHON, PYTHON.Random, _Python)}
    stand_ins |= {(NUMPY, "default_rng"): lambda *_, **__: generator, (NUMPY, "Generator"): _made(generator)}
    stand_ins |= {(NUMPY, "RandomState"): _made(drawn), (PYTHON, "Random"): _made(also), (PYTHON, "SystemRandom"): _made(also)}
    before, states = {(module, name): getattr(module, name) for module, name in stand_ins}, _states()
    try:
        for (module, name), stand_in in stand_ins.items():
            setattr(module, name, stand_in)
        yield
    finally:
        for (module, name), function in before.items():
            setattr(module, name, function)
    if _states() != states:
        raise BadArgument(
            "the engine drew from a global generator by a function of numpy.random or random that it had imported by its name; "
            "import the module, or hand a generator in"
        )


def _functions(module: Any, *kinds: type) -> set[str]:
    """What the module draws by: the methods of its class, and what stands in for more."""
    names = {name for kind in kinds for name in dir(kind) if not name.startswith("_")}
    return {name for name in names - {*KEPT} if hasattr(module, name)}


def _deferred(stand_in: Any, name: str) -> Callable[..., Any]:
    """The stand-in's function of this name, which is refused where it is called and not here."""
    return lambda *args, **kwargs: getattr(stand_in, name)(*args, **kwargs)


def _made(stand_in: Any) -> type:
    """A class whose every object is the stand-in, for code that also asks what is an instance of it."""
    return type("Made", (), {"__new__": lambda cls, *_, **__: stand_in})


def _states() -> tuple[Any, ...]:
    return PYTHON.getstate(), *(each.tobytes() if isinstance(each, np.ndarray) else each for each in NUMPY.get_state())


def _refuse(name: str, answered: type) -> NoReturn:
    names = (each for each in vars(answered) if not each.startswith("_") and each != "seed")
    raise BadArgument(f"the engine drew with {name}; {', '.join(names)} are answered")
