"""A generator that reads its uniforms from a list, for an engine that draws from a NumPy-like one: the replay level."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from refspec.decoding.chance import pick_at
from refspec.errors import BadArgument, TapeExhausted


class TapedGenerator:
    """random() is the next uniform, choice(p=...) and choices(weights) the inverse CDF at it (N3). position: how many were read.

    >>> from refspec.conformance.taped import TapedGenerator
    >>> tape = TapedGenerator([0.5, 0.25])
    >>> tape.random(), tape.choice(2, p=[0.25, 0.75]), tape.position
    (0.5, 1, 2)
    """

    def __init__(self, uniforms: Sequence[float]) -> None:
        self._uniforms = tuple(uniforms)
        self.position = 0

    def random(self, size: Any = None) -> Any:
        if size is not None:
            return np.array([self.random() for _ in range(int(np.prod(size)))]).reshape(size)
        if self.position == len(self._uniforms):
            raise TapeExhausted(f"the vector gives {len(self._uniforms)} uniforms, and the engine drew one more")
        self.position += 1
        return float(self._uniforms[self.position - 1])

    def uniform(self, low: Any = 0, high: Any = 1, size: Any = None) -> Any:
        return self.random(size) * (high - low) + low

    def choice(self, a: Any, *, p: Any = None) -> Any:
        ids = range(a) if isinstance(a, (int, np.integer)) else a
        return ids[pick_at(self.random(), np.ones(len(ids)) if p is None else np.asarray(p))]

    def choices(self, population: Sequence[Any], weights: Any = None, *, k: int = 1) -> list[Any]:
        return [self.choice(population, p=weights) for _ in range(k)]

    def round_ended(self, run: Any) -> None: ...

    def __getattr__(self, name: str) -> NoReturn:
        raise BadArgument(
            f"the engine drew with {name}(); what can be given is random(), uniform(), choice(p=...) and choices(weights)"
        )
