"""PyTorch's draws, taken from a generator that is given: an engine's unmodified torch code under exact answers, tapes or seeds.

Inside `drawing_from(generator)` a uniform of torch (`rand`, `rand_like`, `uniform_`) is `generator.random()`, an exponential one
-log of it, and `multinomial` is `generator.choice(n, p=row)`, whatever `generator=` torch was handed. From a NumPy Generator come
ordinary tensors. From an `AnsweredGenerator` come tensors that are not drawn yet: what can be done with them is written in
`torch_undrawn.py`. Any other draw, or use of one, raises by name; what draws where nobody sees it raises in the end.

Left out: a seed set inside is without effect, so that two draws from one seed count as independent.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from refspec.conformance.races import log
from refspec.conformance.torch_undrawn import become, entries, objects
from refspec.conformance.undrawn import UndrawnUniform
from refspec.errors import BadArgument

ANSWERED = frozenset("rand rand_like uniform_ exponential_ bernoulli bernoulli_ multinomial".split())
REFUSED = frozenset(
    "randn randn_like randint randint_like randperm normal normal_ random_ cauchy_ log_normal_ geometric_ poisson binomial "
    "gumbel_softmax".split()
)


class _Drawing(TorchFunctionMode):
    def __init__(self, generator: Any) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", "").partition(".")[0], kwargs or {}
        if "input" in kwargs:
            args, kwargs = (kwargs["input"],), {key: value for key, value in kwargs.items() if key != "input"}
        if name in ANSWERED and (args or name == "rand"):
            return self._answer(name, func, args, kwargs)
        if name in REFUSED:
            raise BadArgument(
                f"the engine drew with torch's {name}; rand, uniform_, exponential_, bernoulli and multinomial are answered"
            )
        return func(*args, **kwargs)

    def _answer(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        if name == "multinomial":
            return self._multinomial(_undisturbed(func, args, kwargs), *args, **kwargs)
        if name in ("rand", "rand_like"):
            return self._fill(_undisturbed(func, args, kwargs), self._uniform)
        if name == "uniform_":
            low, high = _bounds(*args[1:], **kwargs)
            return self._fill(args[0], lambda: low + (high - low) * self._uniform())
        if name == "exponential_":
            rate = kwargs.get("lambd", args[1] if len(args) > 1 else 1)
            return self._fill(args[0], lambda: _exponential(self._uniform()) / rate)
        chances = kwargs.get("p", args[1] if len(args) > 1 else args[0] if name == "bernoulli" else 0.5)
        made = args[0] if name == "bernoulli_" else kwargs.get("out", torch.empty_like(args[0]))
        return self._below(made, chances)

    def _uniform(self) -> Any:
        return self._generator.random()

    def _fill(self, tensor: torch.Tensor, draw: Callable[[], Any]) -> torch.Tensor:
        return become(tensor, objects([draw() for _ in range(tensor.numel())], tuple(tensor.shape)))

    def _below(self, tensor: torch.Tensor, chances: Any) -> torch.Tensor:
        wanted = np.broadcast_to(entries(chances), tuple(tensor.shape)).ravel()
        return tensor.copy_(torch.tensor([bool(self._uniform() < p) for p in wanted]).view(tensor.shape))

    def _multinomial(self, drawn: Any, weights: Any, num_samples: int, replacement: bool = False, **_: Any) -> Any:
        for row, picked in zip(weights.double().reshape(-1, weights.shape[-1]), drawn.view(-1, drawn.shape[-1]), strict=True):
            left = row.numpy().copy()
            for i in range(num_samples):
                picked[i] = int(self._generator.choice(len(left), p=left / left.sum()))
                if not replacement:
                    left[picked[i]] = 0
        return drawn


def _undisturbed(func: Any, args: Any, kwargs: Any) -> Any:
    """What torch gives, for its shape, and for its own errors; its generator stays as it is."""
    state = torch.get_rng_state()
    try:
        return func(*args, **kwargs)
    finally:
        torch.set_rng_state(state)


@contextmanager
def drawing_from(generator: Any) -> Iterator[None]:
    """Within it torch draws from `generator`: a NumPy Generator, or an AnsweredGenerator.

    >>> import torch
    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.torch_draws import drawing_from
    >>> def engine(generator):
    ...     with drawing_from(generator):
    ...         return bool(torch.rand(1) * 0.5 < torch.tensor(0.125)), int(torch.multinomial(torch.tensor([1.0, 3.0]), 1))
    >>> answered_law(engine)[True, 0]
    Fraction(1, 16)
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        with _Drawing(generator):
            yield
        seeded = torch.Generator().manual_seed(torch.initial_seed())  # by the engine, if not by us
        if not torch.equal(seeded.get_state(), torch.get_rng_state()):
            raise BadArgument(
                "the engine drew from torch's own generator where nobody sees it: by dropout, torch.jit, torch.nn.init or C++; "
                "what is answered are rand, uniform_, exponential_, bernoulli and multinomial"
            )


def _exponential(uniform: Any) -> Any:
    return -log(1 - uniform) if isinstance(uniform, UndrawnUniform) else -math.log1p(-uniform)


def _bounds(low: float = 0, high: float = 1, **given: Any) -> tuple[float, float]:
    return given.get("from", low), given.get("to", high)
