"""How long the exact enumerations take, and how they grow: by path, and round by round with equal texts merged.

    python tests/benchmarks/enumeration.py

Models have full support and a row of their own for every context, which is the worst case. Medians of several runs.
"""

import statistics
import time
from fractions import Fraction
from itertools import product

import numpy as np

import refspec
from refspec.decoding import verify
from refspec.errors import EnumerationLimit
from refspec.proof.exact import law, race_law, sequence_law

RULES = ("token", "sample-match", "block", "coupled")


def table(seed: int, vocab_size: int, horizon: int) -> refspec.TableLM:
    chance = refspec.Seeded(seed)
    rows = {}
    for length in range(horizon + 1):
        for context in product(range(vocab_size), repeat=length):
            weights = [1 + chance.pick(np.ones(9)) for _ in range(vocab_size)]
            rows[context] = [Fraction(weight, sum(weights)) for weight in weights]
    return refspec.TableLM(rows)


def drafter_for(rule: str, draft: refspec.TableLM) -> refspec.Drafter:
    return refspec.CoupledDrafter(draft) if rule == "coupled" else refspec.ModelDrafter(draft)


def speed(vocab_size: int, gamma: int, horizon: int, times: int = 5) -> None:
    print(f"V = {vocab_size}, gamma = {gamma}, horizon {horizon}, by sequence_law:")
    seconds: dict[str, list[float]] = {rule: [] for rule in RULES}
    for seed in range(times):  # the rules in turn
        target, draft = table(2 * seed, vocab_size, horizon), table(2 * seed + 1, vocab_size, horizon)
        for rule in RULES:
            race_law.cache_clear()
            started = time.perf_counter()
            sequence_law(target, drafter_for(rule, draft), gamma=gamma, max_new_tokens=horizon, verify=verify.RULES[rule])
            seconds[rule].append(time.perf_counter() - started)
    for rule in RULES:
        print(f"  {rule:13s} {statistics.median(seconds[rule]):.2f} s ({min(seconds[rule]):.2f} to {max(seconds[rule]):.2f})")


def growth(vocab_size: int, gamma: int, horizons: range, max_paths: int = 200_000) -> None:
    print(f"growth, token rule, V = {vocab_size}, gamma = {gamma}, paths up to {max_paths:,}:")
    print("  horizon       paths of law   seconds   rounds of sequence_law   seconds")
    for horizon in horizons:
        paths, slow, rounds, fast = both_ways(vocab_size, gamma, horizon, max_paths)
        print(
            f"  {horizon:7d}  {format(paths, ',') if paths else 'more':>17s}  {slow:8.2f}  {rounds:>23,}  {fast:8.2f}", flush=True
        )
        max_paths = max_paths if paths else 0  # no longer text has fewer


def both_ways(vocab_size: int, gamma: int, horizon: int, max_paths: int) -> tuple[int, float, int, float]:
    """Paths (0 if there are more than max_paths) and seconds of `law`, rounds and seconds of `sequence_law`."""
    target, drafter = table(0, vocab_size, horizon), refspec.ModelDrafter(table(1, vocab_size, horizon))
    options = {"gamma": gamma, "max_new_tokens": horizon}
    paths = rounds = 0

    def by_path(chance: refspec.Chance) -> tuple[int, ...]:
        nonlocal paths
        paths += 1
        return refspec.speculative(target, drafter, (), chance=chance, **options).tokens

    def counted(*args: object, **more: object) -> object:
        nonlocal rounds
        rounds += 1
        return refspec.decoding.loop.rounds(*args, **more)

    started = time.perf_counter()
    try:
        found = law(by_path, max_paths=max_paths)
    except EnumerationLimit:
        found, paths = None, 0
    middle = time.perf_counter()
    merged = sequence_law(target, drafter, rounds=counted, **options)
    assert found is None or found == merged
    return paths, middle - started, rounds, time.perf_counter() - middle


if __name__ == "__main__":
    speed(4, 3, 4)
    speed(4, 4, 5)
    growth(3, 3, range(1, 9), max_paths=60_000)
