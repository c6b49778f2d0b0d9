"""What a race comes to: by category, over all of them, by position in the draft; and what the cost model had promised."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from refspec.bench.clock import geometric_mean
from refspec.bench.costs import Costs
from refspec.bench.hindsight import Way, after_first, best_rate, places
from refspec.bench.operations import Operations, operations
from refspec.bench.race import Decoded
from refspec.decoding.lm import Tokens
from refspec.decoding.round import Round
from refspec.decoding.stats import accepted_in, drafted_in, ratio, tested_in

Z95 = 1.959963984540054  # the normal quantile of a two-sided 95 %


@dataclass(frozen=True)
class Speed:
    """How many times as fast one runner is as another, in seconds a decoded token. slowest, fastest: of its single prompts."""

    times: float | None
    slowest: float | None
    fastest: float | None


@dataclass(frozen=True)
class Category:
    """Prompts of one kind. Decoding alone: what came after the first round; prefill_seconds: the mean of a prompt.

    tokens, calls: of the speculative runs, their first round included. predicted: by the cost model, for the rounds as they
    were. bound: the greatest that this could be, with every round's gamma chosen by hindsight; None but for lookup at
    temperature 0.
    identical: prompts whose tokens are those of plain decoding; None except at temperature 0.
    """

    category: str
    prompts: int
    plain_tokens_per_second: float | None
    tokens_per_second: float | None
    speed_up: Speed
    predicted: float | None
    bound: float | None
    tokens: int
    calls: int
    tokens_per_call: float | None
    tested: int
    accepted: int
    acceptance_rate: float | None
    identical: int | None
    plain_prefill_seconds: float
    prefill_seconds: float


@dataclass(frozen=True)
class Position:
    """Drafted tokens at this place of a draft, from 1, that were tested: all before them had been accepted.

    least, most: a 95 % Wilson interval of the acceptance rate.
    """

    position: int
    tested: int
    accepted: int
    acceptance_rate: float
    least: float
    most: float


@dataclass(frozen=True)
class Results:
    """plain_operations, operations: of a token, plainly and with drafts. speed_up, predicted, bound: geometric means over the
    categories; worst and best: (category, speed-up). of_bound, predicted_of_bound: their shares of the bound.
    """

    categories: tuple[Category, ...]
    positions: tuple[Position, ...]
    plain_operations: Operations | None
    operations: Operations | None
    speed_up: float | None
    predicted: float | None
    bound: float | None
    of_bound: float | None
    predicted_of_bound: float | None
    worst: tuple[str, float] | None
    best: tuple[str, float] | None


def results(
    prompts: Sequence[tuple[str, Tokens]],
    plain: Sequence[Decoded],
    speculative: Sequence[Decoded],
    costs: Costs,
    *,
    greedy: bool,
    max_new_tokens: int,
    most: int,
    weight_bytes: int,
    draft_bytes: float,
    bounded: bool = True,
) -> Results:
    """prompts: (category, ids). most: the greatest gamma that hindsight may choose; bounded: whether it is asked.

    weight_bytes, draft_bytes: what a call of the target reads, and a drafted token at most.
    """
    categories = []
    for name, chosen in by_category(prompts).items():
        mine = pick(speculative, chosen)
        bound = None
        if bounded and greedy and costs.lookup:
            seen = [places(prompts[i][1], speculative[i].tokens, max_new_tokens, most) for i in chosen]
            bound = best_rate([after_first(Way(each, costs.of_round)) for each in seen])
        categories.append(category(name, pick(plain, chosen), mine, costs, greedy, bound))
    ranked = sorted((each.speed_up.times, each.category) for each in categories if each.speed_up.times is not None)
    speed_up = geometric_mean(each.speed_up.times for each in categories)
    predicted = geometric_mean(each.predicted for each in categories)
    bound = geometric_mean(each.bound for each in categories)
    return Results(
        tuple(categories),
        positions([found for each in speculative for found in each.rounds]),
        operations(plain, weight_bytes, 0),
        operations(speculative, weight_bytes, draft_bytes),
        speed_up,
        predicted,
        bound,
        speed_up and bound and speed_up / bound,
        predicted and bound and predicted / bound,
        ranked[0][::-1] if ranked else None,
        ranked[-1][::-1] if ranked else None,
    )


def by_category(prompts: Sequence[tuple[str, Tokens]]) -> dict[str, list[int]]:
    """The numbers of the prompts of each category, in their order."""
    found: dict[str, list[int]] = {}
    for i, (name, _) in enumerate(prompts):
        found.setdefault(name, []).append(i)
    return found


def pick(runs: Sequence[Decoded], chosen: Sequence[int]) -> list[Decoded]:
    return [runs[i] for i in chosen]


def category(
    name: str,
    plain: Sequence[Decoded],
    speculative: Sequence[Decoded],
    costs: Costs,
    greedy: bool,
    bound: float | None,
) -> Category:
    rounds = [found for each in speculative for found in each.rounds]
    tokens = sum(len(each.tokens) for each in speculative)
    tested, accepted = sum(map(tested_in, rounds)), sum(map(accepted_in, rounds))
    spent = sum(costs.of_round(drafted_in(each)) for run in speculative for each in run.rounds[1:])
    return Category(
        category=name,
        prompts=len(plain),
        plain_tokens_per_second=rate(plain),
        tokens_per_second=rate(speculative),
        speed_up=speed(speculative, plain),
        predicted=ratio(sum(each.decoded for each in speculative), spent),
        bound=bound if spent else None,
        tokens=tokens,
        calls=len(rounds),
        tokens_per_call=ratio(tokens, len(rounds)),
        tested=tested,
        accepted=accepted,
        acceptance_rate=ratio(accepted, tested),
        identical=sum(a.tokens == b.tokens for a, b in zip(plain, speculative, strict=True)) if greedy else None,
        plain_prefill_seconds=sum(each.prefill_seconds for each in plain) / len(plain),
        prefill_seconds=sum(each.prefill_seconds for each in speculative) / len(speculative),
    )


def rate(runs: Sequence[Decoded]) -> float | None:
    """Decoded tokens a second of all runs together."""
    return ratio(sum(each.decoded for each in runs), sum(each.decode_seconds for each in runs))


def speed(fast: Sequence[Decoded], slow: Sequence[Decoded]) -> Speed:
    def over(one: Sequence[Decoded], other: Sequence[Decoded]) -> float | None:
        mine, theirs = rate(one), rate(other)
        return mine / theirs if mine and theirs else None

    each = [value for one, other in zip(fast, slow, strict=True) if (value := over([one], [other])) is not None]
    return Speed(over(fast, slow), min(each, default=None), max(each, default=None))


def positions(rounds: Sequence[Round]) -> tuple[Position, ...]:
    found = []
    for i in range(max(map(tested_in, rounds), default=0)):
        tested = sum(i < tested_in(each) for each in rounds)
        accepted = sum(i < accepted_in(each) for each in rounds)
        found.append(Position(i + 1, tested, accepted, accepted / tested, *wilson(accepted, tested)))
    return tuple(found)


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """The interval of Wilson 1927 (JASA 22) for a share: it stays within [0, 1], and has a width at 0 and at all."""
    share = successes / trials
    middle = share + z**2 / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    whole = 1 + z**2 / trials
    # at the ends the formula is exact, and its floats are not
    least, most = 0.0 if successes == 0 else (middle - half) / whole, 1.0 if successes == trials else (middle + half) / whole
    return least, most
