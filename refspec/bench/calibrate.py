"""The costs of this machine, as whole rounds of the loop: drafting, the target's pass, its sampling, the rule, the residual.

So prediction and measurement meet: what is timed is what is predicted. Each figure is a median, and counts as known where the
interval of that median is narrow; until then, and as long as there is time, more turns are taken.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from refspec.bench.clock import Name, Spread, ratios, shown
from refspec.bench.costs import guessing, rows_at_once
from refspec.bench.machine import MATRIX, reading
from refspec.bench.passes import Pass, ids
from refspec.decoding.chance import Seeded
from refspec.decoding.draft import Draft, Drafter, cost_of
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import Tokens
from refspec.decoding.loop import rounds
from refspec.models.cached_lm import CachedLM
from refspec.models.model import Model
from refspec.models.sampling import Sampling

GAMMAS = 0, 1, 2, 3, 4, 5, 7, 9, 12, 15
CONTEXTS = 128, 1024  # tokens of text
SAMPLING = Sampling(temperature=0.8, top_p=0.95)  # what people use; greedy rounds are a little cheaper
FEWEST, SECONDS = 9, 35.0  # turns at least; what all turns may take
STEADY = 0.05  # of a figure: how far from it the interval of its median may reach

Round = tuple[int, int | None]  # (tokens of text, gamma); gamma None is a token of the draft model, or of the head
Taken = Mapping[Name, list[float]]  # the seconds of each run, turn by turn


@dataclass(frozen=True)
class Figure:
    """One figure of a profile. interval: its median, with the ends of the median's interval."""

    name: str
    interval: Spread

    @property
    def is_steady(self) -> bool:
        middle = self.interval.median
        return max(self.interval.most - middle, middle - self.interval.least) <= STEADY * middle


@dataclass(frozen=True)
class Calibration:
    profile: Profile
    figures: tuple[Figure, ...]

    @property
    def unsteady(self) -> tuple[Figure, ...]:
        return tuple(each for each in self.figures if not each.is_steady)


@dataclass(frozen=True)
class Scripted:
    """Drafts as many tokens as are asked for, whatever the text."""

    vocab_size: int

    def propose(self, tokens: Tokens, gamma: int, chance: object) -> Draft:
        return Draft(ids(gamma, self.vocab_size))


def contexts_of(model: Model) -> tuple[int, int]:
    """Two lengths of text that leave room for the longest round."""
    most = model.context - GAMMAS[-1] - 1
    return min(CONTEXTS[0], most // 2), min(CONTEXTS[1], most)


def calibrate(
    model: Model, draft: Model | None, otherwise: Profile, about: str, heads: Callable[[CachedLM], Drafter] | None = None
) -> Calibration:
    """otherwise: whose draft cost is kept where there is no draft model. heads: makes the draft of which a head's cost is taken.

    Under a minute, whatever the model's size, if one turn takes less than three seconds.
    """
    contexts = contexts_of(model)
    runs: dict[Round, Pass] = {}
    for context in contexts:
        target = model.language_model(SAMPLING)  # a cache for each length, or every turn would fill it anew
        runs |= {(context, gamma): one_round(target, context, gamma) for gamma in GAMMAS}
    said = None
    if draft is not None:
        before = min(contexts[0], draft.context - 1)
        runs[contexts[0], None] = rows_at_once(draft.language_model(SAMPLING), before, 1)
    elif heads is not None and (head := head_of(heads(target := model.language_model(SAMPLING)))) is not None:
        runs[contexts[0], None], _ = guessing(target, head, contexts[0])
        said = cost_of(head, ())
    cost = settle(runs, lambda taken: costs_of(taken, contexts), SECONDS)
    rate: dict[str, list[float]] = {}
    for name, one_core in (("one core", True), ("all cores", False)):  # one after the other: the matrix is large
        rate |= settle({name: reading(one_core=one_core)}, rates_of, SECONDS / 7)
    return summary(costs_of(cost, contexts), rates_of(rate), contexts, otherwise, about, said)


def head_of(drafter: Drafter) -> Drafter | None:
    """The draft head, of one drafter or of several: the one that says what it costs."""
    return next((each for each in getattr(drafter, "drafters", (drafter,)) if cost_of(each, ())), None)


def one_round(target: CachedLM, context: int, gamma: int) -> Pass:
    """A run of one round of the loop behind `context` tokens, all of them but the last remembered."""
    tokens, drafter = ids(context, target.vocab_size), Scripted(target.vocab_size)

    def run() -> float:
        coming = rounds(target, drafter, tokens, gamma=gamma, max_new_tokens=gamma + 1, chance=Seeded(0))
        started = time.perf_counter()
        next(coming)
        return time.perf_counter() - started

    return run


def settle(runs: Mapping[Name, Pass], figures: Callable[[Taken[Name]], Mapping[Name, Figure]], seconds: float) -> Taken[Name]:
    """What each run returns, in turn, after one turn that is not counted: until all figures are steady, or time is up."""
    for run in runs.values():  # fills the caches
        run()
    started = time.perf_counter()
    taken = {name: [run()] for name, run in runs.items()}
    turns = int(seconds / max(time.perf_counter() - started, 1e-3))
    for turn in shown(range(2, max(FEWEST, turns) + 1), "calibrating"):
        for name, run in runs.items():
            taken[name].append(run())
        if turn >= FEWEST and all(each.is_steady for each in figures(taken).values()):
            break
    return taken


def costs_of(taken: Taken[Round], contexts: tuple[int, int]) -> dict[Round, Figure]:
    """v and c, in units of the plain round of the same turn and text."""
    return {
        (context, gamma): Figure(
            "c" if gamma is None else f"v({gamma}) behind {context} tokens",
            interval(ratios(seconds, taken[context, 0])),
        )
        for (context, gamma), seconds in taken.items()
    }


def rates_of(taken: Taken[str]) -> dict[str, Figure]:
    size = 4 * MATRIX[0] * MATRIX[1]
    return {name: Figure(f"GB/s, {name}", interval([size / each / 1e9 for each in taken[name]])) for name in taken}


def interval(values: Sequence[float]) -> Spread:
    """The median, and the two values between which the true one lies 19 times in 20: as many lie beyond either as coins would
    have it (the order statistics of rank n/2 -+ 0.98 sqrt(n))."""
    ranked, n = sorted(values), len(values)
    low = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)))
    return Spread(statistics.median(ranked), ranked[low], ranked[n - 1 - low])


def summary(
    costs: Mapping[Round, Figure],
    rates: Mapping[str, Figure],
    contexts: tuple[int, int],
    otherwise: Profile,
    about: str,
    said: float | None = None,
) -> Calibration:
    """said: what the head says that a token of it costs; None where c is of a draft model, or of nothing."""

    def v(context: int) -> tuple[float, ...]:
        medians = [costs[context, gamma].interval.median for gamma in GAMMAS]
        return tuple(round(float(each), 4) for each in np.interp(range(GAMMAS[-1] + 1), GAMMAS, medians))

    c = costs[contexts[0], None].interval.median if (contexts[0], None) in costs else otherwise.draft
    gb_per_second = tuple(round(each.interval.median, 1) for each in rates.values())
    draft, heads = (c, otherwise.heads) if said is None else (otherwise.draft, c / said)
    profile = Profile(v(contexts[0]), round(draft, 4), about, v(contexts[1]), contexts, gb_per_second, round(heads, 4))
    return Calibration(profile, (*costs.values(), *rates.values()))
