"""What speculation is paid with: v, the price of checking several rows at once, and c, the price of guessing."""

import time
from dataclasses import dataclass

import numpy as np

from refspec.bench.clock import Spread, alternate, ratios
from refspec.bench.passes import CONTEXTS, Pass, ids, in_ms
from refspec.decoding.chance import Seeded
from refspec.decoding.draft import Drafter
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.profile import Profile
from refspec.models.cached_lm import CachedLM

ROWS = 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32
BEFORE = 96  # tokens of context before the rows
LOOKUPS = 16  # a run
PERIOD = 29  # tokens after which the text that is looked up in repeats itself, so that there is something to find


@dataclass(frozen=True)
class Point:
    """One call of the target: a forward pass over so many rows, and their warp. v: in units of one row, turn by turn."""

    rows: int
    ms: Spread
    v: Spread


@dataclass(frozen=True)
class Curve:
    """Behind `context` tokens. row_invariant: the mode of `refspec.load` in which a row's bits do not depend on the others."""

    row_invariant: bool
    context: int
    points: tuple[Point, ...]

    def verify(self, most: int) -> tuple[float, ...]:
        """v(gamma) for gamma = 0..most, which is gamma + 1 rows: straight lines between the medians, flat beyond them.

        As measured, so not always increasing: where rows are filled up to a size that the kernel likes, a fifth can be
        cheaper than a fourth, and who chooses gamma should know.
        """
        rows, v = zip(*((point.rows, point.v.median) for point in self.points), strict=True)
        return tuple(float(each) for each in np.interp(range(1, most + 2), rows, v))


@dataclass(frozen=True)
class DraftCost:
    """One token of a draft model, or one n-gram lookup with its forecast. c: in plain decode steps, turn by turn."""

    lookup: bool
    ms: Spread
    c: Spread


@dataclass(frozen=True)
class LookupCost:
    """A lookup in a text of `context` tokens."""

    context: int
    microseconds: Spread


@dataclass(frozen=True)
class Costs:
    """Of a round, in plain decode steps. verify: v(gamma), gamma = 0, 1, ...; c as in DraftCost.

    A draft model is asked for each token, a lookup finds all of them at once.
    """

    verify: tuple[float, ...]
    c: float
    lookup: bool

    def of_round(self, drafted: int) -> float:
        return self.verify[drafted] + self.c * (1 if self.lookup else drafted)


def curves(targets: dict[bool, CachedLM], most: int, times: int) -> tuple[Curve, ...]:
    """The cost of 1 to 32 rows, and of most + 1, as far as the context goes. targets: by whether they are row-invariant."""
    context = min(target.context for target in targets.values())
    counts = [rows for rows in sorted({*ROWS, most + 1}) if rows <= context // 2]
    before = min(BEFORE, context - counts[-1])
    runs = {(mode, rows): rows_at_once(target, before, rows) for mode, target in targets.items() for rows in counts}
    taken = alternate(runs, times, "rows in one pass")

    def point(mode: bool, rows: int) -> Point:
        return Point(rows, in_ms(taken[mode, rows]), Spread.of(ratios(taken[mode, rows], taken[mode, 1])))

    return tuple(Curve(mode, before, tuple(point(mode, rows) for rows in counts)) for mode in targets)


def rows_at_once(target: CachedLM, before: int, rows: int) -> Pass:
    tokens = ids(before + rows, target.vocab_size)

    def run() -> float:
        started = time.perf_counter()
        target.probs(tokens, last=rows)  # these rows are computed again each time, and no others
        return time.perf_counter() - started

    return run


def model_cost(target: CachedLM, draft: CachedLM, times: int) -> DraftCost:
    before = min(BEFORE, target.context - 1, draft.context - 1)
    return draft_cost(rows_at_once(draft, before, 1), target, before, times, lookup=False)


def drafter_cost(target: CachedLM, drafter: Drafter, times: int) -> DraftCost:
    before = min(BEFORE, target.context - 1)
    guess, draws = guessing(target, drafter, before)
    return draft_cost(guess, target, before, times, lookup=not draws)


def guessing(target: CachedLM, drafter: Drafter, before: int) -> tuple[Pass, bool]:
    """A token of a draft of four, behind `before` tokens that the target has read, and one more; and whether any is drawn.

    Where none is, the run is of the whole call.
    """
    text = ids(before + 1, target.vocab_size)
    drafter.propose(text, 4, Seeded(0))  # a head has the target keep its features from now on
    target.probs(text)
    draft = drafter.propose(text, 4, Seeded(0))
    tokens = 1 if draft.probs is None else len(draft.tokens)

    def run() -> float:
        started = time.perf_counter()
        drafter.propose(text, 4, Seeded(0))
        return (time.perf_counter() - started) / tokens

    return run, draft.probs is not None


def lookup_cost(target: CachedLM, times: int) -> DraftCost:
    return draft_cost(looking_up(512), target, min(BEFORE, target.context - 1), times, lookup=True)


def draft_cost(guess: Pass, target: CachedLM, before: int, times: int, *, lookup: bool) -> DraftCost:
    taken = alternate({"guess": guess, "step": rows_at_once(target, before, 1)}, times, "cost of a draft")
    return DraftCost(lookup, in_ms(taken["guess"]), Spread.of(ratios(taken["guess"], taken["step"])))


def looking_up(context: int) -> Pass:
    """A run in which a text grows to `context` tokens, the last of them one by one, and that returns the seconds of a lookup."""
    text = ids(context, vocab_size=PERIOD)

    def run() -> float:
        drafter, chance, seconds = NgramDrafter(), Seeded(0), 0.0
        drafter.propose(text[:-LOOKUPS], 4, chance)  # reads all that stands there
        for end in range(context - LOOKUPS, context):
            tokens = text[: end + 1]
            started = time.perf_counter()
            drafter.forecast(tokens, 15)
            drafter.propose(tokens, 4, chance)
            seconds += time.perf_counter() - started
        return seconds / LOOKUPS

    return run


def lookup_costs(times: int) -> tuple[LookupCost, ...]:
    taken = alternate({context: looking_up(context) for context in CONTEXTS}, times, "lookups")
    return tuple(LookupCost(context, Spread.of([1e6 * each for each in seconds])) for context, seconds in taken.items())


def profile(curve: Curve, draft: DraftCost, otherwise: Profile, about: str) -> Profile:
    """What `--gamma auto` goes by here. A lookup says nothing of a draft model, whose cost is then `otherwise`'s."""
    c = otherwise.draft if draft.lookup else draft.c.median
    return Profile(tuple(round(v, 4) for v in curve.verify(15)), round(c, 4), about)
