"""How fast a model reads and writes: prefill, a decode step in a short text, a decode step in a long one.

The tokens are 0, 1, 2, ...: no pass takes longer for one text than for another.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from refspec.bench.clock import Spread, alternate, ratios
from refspec.decoding.lm import Tokens
from refspec.models.model import Model

Pass = Callable[[], float]  # runs something once and returns its seconds

PREFILLS = 128, 512  # tokens
CONTEXTS = 64, 128, 256, 512, 1024, 2048, 4096, 8192
SHORT = 64  # tokens of context where decoding is measured
STEPS = 16  # decoded a run
LEAST_CONTEXT = SHORT + STEPS


@dataclass(frozen=True)
class Prefill:
    tokens: int
    tokens_per_second: Spread


@dataclass(frozen=True)
class Decode:
    """Behind `context` tokens. of_roofline: the roofline's time over the measured one, turn by turn."""

    context: int
    ms: Spread
    tokens_per_second: Spread
    of_roofline: Spread


@dataclass(frozen=True)
class ContextCost:
    """A decode step whose text is `context` tokens long."""

    context: int
    ms: Spread


def ids(count: int, vocab_size: int) -> Tokens:
    return tuple(i % vocab_size for i in range(count))


def in_ms(seconds: Sequence[float]) -> Spread:
    return Spread.of([1e3 * each for each in seconds])


def prefills(model: Model, times: int) -> tuple[Prefill, ...]:
    runs = {count: filling(model, count) for count in PREFILLS if count <= model.config.context}
    taken = alternate(runs, times, "prefill")
    return tuple(Prefill(count, Spread.of([count / each for each in seconds])) for count, seconds in taken.items())


def filling(model: Model, count: int) -> Pass:
    tokens, cache = np.array(ids(count, model.config.vocab_size)), model.network.new_cache()

    def run() -> float:
        cache.rollback(0)
        started = time.perf_counter()
        model.network.forward(tokens, cache)
        return time.perf_counter() - started

    return run


def decoding(model: Model) -> Pass:
    """A run that decodes STEPS tokens behind SHORT ones, the likeliest each, and returns the seconds of one."""
    cache = model.network.new_cache()
    logits = model.network.forward(np.array(ids(SHORT, model.config.vocab_size)), cache)
    first = logits[-1].argmax(keepdims=True)

    def run() -> float:
        cache.rollback(SHORT)
        token = first
        started = time.perf_counter()
        for _ in range(STEPS):
            token = model.network.forward(token, cache)[-1].argmax(keepdims=True)
        return (time.perf_counter() - started) / STEPS

    return run


def decode(seconds: Sequence[float], floor_seconds: Sequence[float]) -> Decode:
    """seconds: of `decoding`. floor_seconds: what reading the weights would have taken, in the same turns."""
    rate = Spread.of([1 / each for each in seconds])
    return Decode(SHORT, in_ms(seconds), rate, Spread.of(ratios(floor_seconds, seconds)))


def context_costs(model: Model, times: int) -> tuple[ContextCost, ...]:
    """Decode steps in texts of up to 8192 tokens, as far as the model's context goes."""
    contexts = [context for context in CONTEXTS if context <= model.config.context]
    cache, token = model.network.new_cache(), np.array([0])
    cache.reserve(contexts[-1])
    # What is remembered does not matter, but that it is in memory does: pages never written to can all be one and the same.
    cache.keys.fill(0.5)
    cache.values.fill(0.5)

    def step_at(context: int) -> Pass:
        def run() -> float:
            cache.rollback(0)
            cache.advance(context - 1)
            started = time.perf_counter()
            model.network.forward(token, cache)
            return time.perf_counter() - started

        return run

    taken = alternate({context: step_at(context) for context in contexts}, times, "long contexts")
    return tuple(ContextCost(context, in_ms(seconds)) for context, seconds in taken.items())
