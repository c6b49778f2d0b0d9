"""The timing rule: what is compared takes turns, and a figure is a median with its smallest and largest value."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tqdm import tqdm

Name = TypeVar("Name")


@dataclass(frozen=True)
class Spread:
    """One figure, measured several times."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


def alternate(runs: Mapping[Name, Callable[[], float]], times: int, label: str) -> dict[Name, list[float]]:
    """What each of the runs returns, in turn, after one turn that is not counted.

    `times` times over, and more often, up to ten times that, where all of it takes less than a second: short runs are noisy.
    """
    started = time.perf_counter()
    for run in runs.values():
        run()
    in_a_second = int(1 / max(time.perf_counter() - started, 1e-6))
    taken: dict[Name, list[float]] = {name: [] for name in runs}
    for _ in shown(range(max(times, min(in_a_second, 10 * times))), label):
        for name, run in runs.items():
            taken[name].append(run())
    return taken


def shown(things: Sequence[Any] | range, label: str) -> Iterable[Any]:
    """The things one by one, with a bar on standard error if that is a terminal."""
    return tqdm(things, desc=label, disable=None, leave=False)


def ratios(parts: Sequence[float], wholes: Sequence[float]) -> list[float]:
    """Turn by turn, so that a machine that slows down for a while does so above and below the line."""
    return [part / whole for part, whole in zip(parts, wholes, strict=True)]


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None of none."""
    logs = [math.log(value) for value in values if value is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None
