"""`refspec bench --batch`: what a machine makes of many users at once, plainly and with drafts.

A batch and a draft spend the same thing: rows of a pass that reads the weights anyway. So what speculation gains shrinks as
users come, and how fast it shrinks can be told from v, the cost of rows, alone. Here both are measured, and what v promises
stands beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from refspec.batch import Batch
from refspec.bench.clock import Spread, geometric_mean, shown
from refspec.bench.costs import Costs, Curve, DraftCost
from refspec.bench.machine import Machine
from refspec.bench.parts import Setup
from refspec.decoding.draft.profile import of_rows
from refspec.decoding.lm import Tokens
from refspec.decoding.stats import drafted_in, ratio
from refspec.generate import Run
from refspec.proof.theory import expected_tokens

GAMMAS = 1, 2, 3, 4, 5  # of the arithmetic


@dataclass(frozen=True)
class Event:
    """A round: when it came, of which text, how many tokens, the rows it brought to its pass and those of all."""

    seconds: float
    text: int
    tokens: int
    own_rows: int
    pass_rows: int


@dataclass(frozen=True)
class Served:
    """A batch, from when all of its texts have their first token until one of them ends: as long as all are there.

    tokens: of each text in that time. rows: (its own, those of its pass) of each round in it. first: seconds to the first
    token of each text.
    """

    seconds: float
    tokens: tuple[int, ...]
    rows: tuple[tuple[int, int], ...]
    first: tuple[float, ...]


@dataclass(frozen=True)
class Way:
    """One way to serve so many users. tokens_per_second: of all; a user has their share. first: seconds to the first token.

    predicted: tokens a second of all, from v and what was accepted; of plain decoding from v alone.
    """

    tokens_per_second: float | None
    a_user: float | None
    first: Spread
    predicted: float | None


@dataclass(frozen=True)
class Users:
    """speed_up: of a user, geometric mean over the texts. tokens_per_call: of a text, in a pass of the target."""

    users: int
    plain: Way
    speculative: Way
    speed_up: float | None
    predicted: float | None
    tokens_per_call: float | None


@dataclass(frozen=True)
class Fourfold:
    """Four users, each as fast as one is plainly: the rows of their pass, what it costs, and what then has to be accepted.

    tokens: those a round has to yield, which is what the pass costs. acceptance: of each drafted token; None where no acceptance
    is enough.
    """

    gamma: int
    rows: int
    cost: float
    acceptance: float | None


@dataclass(frozen=True)
class UsersBench:
    """crossing: the least number of users, of those measured, at which drafts gain nothing; None where they always do."""

    setup: Setup
    machine: Machine
    curve: Curve
    draft_cost: DraftCost
    users: tuple[Users, ...]
    crossing: int | None
    fourfold: tuple[Fourfold, ...]


def serve(runs: Sequence[Run]) -> Served:
    """All of them at once. Raises what is wrong with one."""
    for _, output in Batch([lambda run=run: run for run in runs], len(runs)):  # type: ignore[misc]
        if output.error is not None:
            raise output.error
    return steady([events(run, text) for text, run in enumerate(runs)])


def events(run: Run, text: int) -> list[Event]:
    found = [piece.round for piece in run.pieces]
    return [
        Event(now, text, len(each.tokens), drafted_in(each) + 1, each.pass_rows or 1)
        for now, each in zip(accumulate(run.seconds), found, strict=True)
    ]


def steady(texts: Sequence[Sequence[Event]]) -> Served:
    """The part of a batch in which all of its texts are under way."""
    begin, end = max(text[0].seconds for text in texts), min(text[-1].seconds for text in texts)
    within = [[each for each in text if begin < each.seconds <= end] for text in texts]
    return Served(
        seconds=max(0.0, end - begin),
        tokens=tuple(sum(each.tokens for each in text) for text in within),
        rows=tuple((each.own_rows, each.pass_rows) for text in within for each in text),
        first=tuple(text[0].seconds for text in texts),
    )


def groups(prompts: Sequence[Tokens], users: int) -> list[list[int]]:
    """The numbers of prompts that are served together: all of them, and the first again where the last group is not full.

    >>> from refspec.bench.users import groups
    >>> groups([(1,), (2,), (3,)], 2), groups([(1,)], 3)
    ([[0, 1], [2, 0]], [[0, 0, 0]])
    """
    count = -(-len(prompts) // users)
    return [[(group * users + i) % len(prompts) for i in range(users)] for group in range(count)]


def measure_users(
    prompts: Sequence[Tokens], sizes: Sequence[int], plain: Callable[[Tokens, int], Run], drafting: Callable[[Tokens, int], Run]
) -> dict[int, tuple[list[Served], list[Served]]]:
    """By the number of users, each group of prompts served plainly and with drafts, in turn. The seed of a text is its number."""
    found: dict[int, tuple[list[Served], list[Served]]] = {}
    batches = [(size, group) for size in sizes for group in groups(prompts, size)]
    for users, group in shown(batches, "users"):
        both = found.setdefault(users, ([], []))
        for way in (0, 1) if len(both[0]) % 2 == 0 else (1, 0):
            begin = (plain, drafting)[way]
            both[way].append(serve([begin(prompts[i], seed) for seed, i in enumerate(group)]))
    return found


def account(found: dict[int, tuple[list[Served], list[Served]]], costs: Costs) -> tuple[Users, ...]:
    """What was measured beside what the costs promise, in units of what a plain step of one user took here.

    Where no single user was measured, in those of the fewest, by v.
    """
    fewest = min(found)
    plain = found[fewest][0]
    step = ratio(sum(each.seconds for each in plain), sum(len(each.rows) for each in plain) / fewest) or 0.0
    step /= of_rows(costs.verify, fewest)
    return tuple(of_users(users, *ways, costs, step) for users, ways in sorted(found.items()))


def of_users(users: int, plain: list[Served], drafting: list[Served], costs: Costs, step: float) -> Users:
    gains = [
        (fast / with_drafts.seconds) / (slow / without.seconds)
        for without, with_drafts in zip(plain, drafting, strict=True)
        for slow, fast in zip(without.tokens, with_drafts.tokens, strict=True)
        if fast and slow
    ]
    without, with_drafts = way(plain, users, costs, step), way(drafting, users, costs, step)
    return Users(
        users,
        without,
        with_drafts,
        speed_up=geometric_mean(gains),
        predicted=ratio(with_drafts.predicted or 0, without.predicted or 0),
        tokens_per_call=ratio(sum(sum(each.tokens) for each in drafting), sum(len(each.rows) for each in drafting)),
    )


def way(served: list[Served], users: int, costs: Costs, step: float) -> Way:
    """A round is charged with its share of the pass, by rows; and with its drafts, which share theirs."""
    tokens, seconds = sum(sum(each.tokens) for each in served), sum(each.seconds for each in served)
    drafted = costs.c * (1 if costs.lookup else of_rows(costs.verify, users) / users)
    spent = sum(
        of_rows(costs.verify, rows) * own / rows + drafted * (min(own - 1, 1) if costs.lookup else own - 1)
        for each in served
        for own, rows in each.rows
    )
    rate = ratio(tokens, seconds)
    return Way(
        rate, rate and rate / users, Spread.of([first for each in served for first in each.first]), ratio(tokens, spent * step)
    )


def crossing(users: Sequence[Users]) -> int | None:
    return next((each.users for each in users if each.speed_up is not None and each.speed_up < 1), None)


def fourfold(curve: Curve) -> tuple[Fourfold, ...]:
    """ "Four times the users at the same speed": E(gamma) tokens a round have to pay for v(4 (gamma + 1))."""
    verify = curve.verify(curve.points[-1].rows - 1)
    rows = [(gamma, 4 * (gamma + 1)) for gamma in GAMMAS]
    return tuple(Fourfold(gamma, each, cost := of_rows(verify, each), enough(gamma, cost)) for gamma, each in rows)


def enough(gamma: int, tokens: float) -> float | None:
    """The acceptance at which a round of gamma drafted tokens yields so many; None where none does.

    >>> from refspec.bench.users import enough
    >>> round(enough(1, 1.5), 3), enough(1, 2.5)
    (0.5, None)
    """
    if tokens > gamma + 1:
        return None
    low, high = 0.0, 1.0
    for _ in range(50):  # it grows with the acceptance, so that halving finds it
        middle = (low + high) / 2
        low, high = (middle, high) if expected_tokens([middle] * gamma) < tokens else (low, middle)
    return high
