"""Noise that comes back: what a finished round tells of races that later rounds will run again.

The noise of a race belongs to its position. A draft races positions ahead; where it is rejected, those behind the rejected
one are raced again. Such a race may be started anew iff, given the round's outcome, its noise is as before. That is
checked exactly: the outcome must be as likely under each noise of the races left over.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction
from math import prod

from refspec.errors import CannotMerge

Row = tuple[Fraction | int, ...]
Race = tuple[Hashable, Row, int]  # its key, its weights, its winner
Races = tuple[Race, ...]


def left_over(races: Iterable[Race], start: int, end: int) -> Races:
    """Of a round that took the text from `start` tokens to `end`, the races of positions that are still to come."""
    races = tuple(races)
    for key, _, _ in races:
        if not (isinstance(key, int) and key >= start):
            raise CannotMerge(f"a race of {key!r} in a round that starts at position {start}; take `law`")
    ahead = tuple(race for race in races if race[0] >= end)  # type: ignore[operator]
    if len({key for key, _, _ in ahead}) < len(ahead):
        raise CannotMerge("a position that is still to come was raced twice in one round; take `law`")
    return ahead


def require_untold(shares: Mapping[Races, Fraction]) -> None:
    """Raises CannotMerge where an outcome, reached by paths with these races left over, tells anything of their noise.

    shares: the races a path left over -> its weight.
    """
    if not any(shares):
        return  # no path left any over, as with a drafter that does not race
    given_noise = [(races, share / prod(Fraction(row[z], sum(row)) for _, row, z in races)) for races, share in shares.items()]
    likelihood(given_noise)


def likelihood(paths: list[tuple[Races, Fraction]]) -> Fraction:
    """The sum over those paths whose races the noise decides as they did, if it is one number for every noise.

    Paths that race the same row first at the same position share a group. In each, every winner must lead to one sum. (That
    is enough, not needed: sums of several groups could balance. Then the answer is CannotMerge and not a wrong distribution.)
    """
    total = Fraction(0)
    groups: defaultdict[tuple[Hashable, Row], defaultdict[int, list[tuple[Races, Fraction]]]]
    groups = defaultdict(lambda: defaultdict(list))
    for races, weight in paths:
        if races:
            key, row, winner = races[0]
            groups[key, row][winner].append((races[1:], weight))
        else:
            total += weight
    for (key, row), by_winner in groups.items():
        sums = {likelihood(by_winner[z]) for z, share in enumerate(row) if share}
        if len(sums) > 1:
            raise CannotMerge(
                f"the text, or the drafter's state, tells how a race at position {key} went that is run again; take `law`"
            )
        total += sums.pop()
    return total
