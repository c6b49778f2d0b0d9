"""Uniforms that are used more than once, exactly over the rationals: each is an interval that narrows as it is asked."""

from collections.abc import Callable
from typing import Any

import numpy as np

import refspec
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.proof.exact import Row


class OneUniform:
    """A Chance in which every answer comes from one and the same u."""

    def __init__(self, chance: refspec.Chance) -> None:
        self._chance = chance
        self._low: Any = 0
        self._high: Any = 1

    def below(self, bound: Any) -> bool:
        if not self._low < bound < self._high:
            return bool(bound >= self._high)
        answer = self._chance.accept(bound - self._low, self._high - self._low)
        self._low, self._high = (self._low, bound) if answer else (bound, self._high)
        return answer

    def accept(self, p: Any, q: Any) -> bool:
        return bool(p >= q) or self.below(p / q)

    def pick(self, weights: Row) -> int:
        ends = np.cumsum(weights) / sum(weights)
        return next(i for i, end in enumerate(ends) if weights[i] > 0 and self.below(end))


class FixedUniform:
    """A Chance whose every test meets u = 1/2."""

    def __init__(self, chance: refspec.Chance) -> None:
        self.pick = chance.pick

    def accept(self, p: Any, q: Any) -> bool:
        return bool(p >= q or q < 2 * p)


class ReusesAccept:
    """A Chance that picks, after a refusal, with the u that refused."""

    def __init__(self, chance: refspec.Chance) -> None:
        self._chance = chance
        self.pick: Callable[[Any], int] = chance.pick

    def accept(self, p: Any, q: Any) -> bool:
        u = OneUniform(self._chance)
        accepted = u.accept(p, q)
        self.pick = self._chance.pick if accepted else u.pick
        return accepted


class ReusesDraftNoise:
    """A drafter and a Chance: after a refusal it picks with the u that had drawn the refused token."""

    def __init__(self, drafter: refspec.Drafter, chance: refspec.Chance) -> None:
        self._drafter, self._chance = drafter, chance
        self.race = chance.race

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chance, name)  # a tape's position

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        self._noise: list[OneUniform] = []
        self._drafting, self._refused, self._tested = True, False, 0
        draft = self._drafter.propose(tokens, gamma, self)
        self._drafting = False
        return draft

    def accept(self, p: Any, q: Any) -> bool:
        self._tested += 1
        self._refused = not self._chance.accept(p, q)
        return not self._refused

    def pick(self, weights: Row) -> int:
        if self._drafting:
            self._noise.append(OneUniform(self._chance))
            return self._noise[-1].pick(weights)
        if self._refused and self._tested <= len(self._noise):
            return self._noise[self._tested - 1].pick(weights)
        return self._chance.pick(weights)
