"""A race between exponential clocks, run over the rationals (for the coupled rule, arXiv 2408.07978).

race(weights) is the token whose clock E[z] / weights[z] rings first, all E[z] independent Exp(1). The same clocks are
raced again under other weights, so the answers are correlated, and all that was learnt must be kept. It can be kept
exactly, because exponentials forget: which of two comes first has a rational probability, the winner is an exponential
with the sum of the rates, and the loser is the winner plus an exponential of its old rate.

So every E[z] is held as a form, a combination sum c[i] * t[i] with coefficients >= 0 of independent exponentials t[i]
of rational rates, plus a fresh Exp(1) that is absent once z has won. A race moves time forward through those forms.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refspec.decoding.chance import Chance

Form = dict[int, Fraction]  # i -> c[i] > 0


class LazyRace:
    """The clocks of one key: what the races run so far have settled about them."""

    def __init__(self, vocab_size: int) -> None:
        self._rates: list[Fraction] = []  # of t[i]
        self._heard: list[Form] = [{} for _ in range(vocab_size)]  # E[z] is at least this ...
        self._pinned = [False] * vocab_size  # ... or exactly this, once z has won

    def run(self, weights: Sequence[Fraction | int], chance: "Chance") -> int:
        """The winner of a race under these weights; `chance` branches on what is not settled yet."""
        waiting = [z for z, weight in enumerate(weights) if weight > 0]
        running: list[int] = []  # clocks that can ring from now on
        while waiting:
            entering = self._earliest(waiting, weights, chance)
            waiting.remove(entering)
            if running:
                # From now until the next clock enters: does one of the running ring before?
                now, rate = self._start(running[0], weights), sum(weights[z] for z in running)
                for i, gap in minus(self._start(entering, weights), now).items():
                    other = self._rates[i] / gap
                    if chance.accept(rate, rate + other):
                        ring = self._new(rate + other)
                        later = {ring: 1 / gap, i: Fraction(1)}
                        self._substitute(i, later)
                        return self._win(running, plus(replaced(now, i, later), {ring: Fraction(1)}), weights, chance)
                    self._rates[i] += rate * gap
                    now = plus(now, {i: gap})
                self._hear(running, now, weights)
            if self._pinned[entering]:
                return entering
            running.append(entering)
        now = self._start(running[0], weights)
        ring = self._new(Fraction(sum(weights[z] for z in running)))
        return self._win(running, plus(now, {ring: Fraction(1)}), weights, chance)

    def _start(self, z: int, weights: Sequence[Fraction | int]) -> Form:
        """From when on clock z can ring, on the scale of this race."""
        return {i: c / weights[z] for i, c in self._heard[z].items()}

    def _hear(self, running: Iterable[int], now: Form, weights: Sequence[Fraction | int]) -> None:
        """None of these has rung until now."""
        for z in running:
            self._heard[z] = {i: c * weights[z] for i, c in now.items()}

    def _win(self, running: list[int], now: Form, weights: Sequence[Fraction | int], chance: "Chance") -> int:
        """One of these rings now: which?"""
        self._hear(running, now, weights)
        winner = running[chance.pick([weights[z] for z in running])]  # type: ignore[arg-type]
        self._pinned[winner] = True
        return winner

    def _earliest(self, waiting: list[int], weights: Sequence[Fraction | int], chance: "Chance") -> int:
        first = waiting[0]
        for z in waiting[1:]:
            if self._before(z, first, weights, chance):
                first = z
        return first

    def _before(self, a: int, b: int, weights: Sequence[Fraction | int], chance: "Chance") -> bool:
        """Whether clock a starts before clock b, settled term against term of the two forms' difference."""
        while True:
            difference = minus(self._start(a, weights), self._start(b, weights))
            ahead = [(i, c) for i, c in difference.items() if c > 0]
            behind = [(i, -c) for i, c in difference.items() if c < 0]
            if not ahead or not behind:
                return bool(behind)
            (i, c), (j, k) = ahead[0], behind[0]
            rate_i, rate_j = self._rates[i] / c, self._rates[j] / k  # of c * t[i] and k * t[j]
            if chance.accept(rate_i, rate_i + rate_j):
                i, c, j, k = j, k, i, c  # from here on, k * t[j] is the smaller
            self._rates[j] += self._rates[i] / c * k
            self._substitute(i, {j: k / c, i: Fraction(1)})

    def _new(self, rate: Fraction) -> int:
        self._rates.append(rate)
        return len(self._rates) - 1

    def _substitute(self, i: int, by: Form) -> None:
        """t[i] is `by` wherever it is held; the i in `by` is what remains of it, of the same rate."""
        self._heard = [replaced(form, i, by) for form in self._heard]


def replaced(form: Form, i: int, by: Form) -> Form:
    """The form with `by` in place of t[i]."""
    if i not in form:
        return form
    return plus({j: k for j, k in form.items() if j != i}, {j: form[i] * k for j, k in by.items()})


def plus(a: Form, b: Form) -> Form:
    return {i: a.get(i, Fraction(0)) + b.get(i, Fraction(0)) for i in a.keys() | b.keys()}


def minus(a: Form, b: Form) -> Form:
    difference = {i: a.get(i, Fraction(0)) - b.get(i, Fraction(0)) for i in a.keys() | b.keys()}
    return {i: c for i, c in difference.items() if c}
