"""Uniforms that are used more than once: by two tests, by a test and a pick, by the draft and the target.

At the exact level one uniform is an interval that narrows as it is asked; `OneUniform` does that for any Chance, floats and
fractions alike. At the other levels it narrows by drawing anew inside, which has the same law.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, Drafter
from refspec.decoding.lm import Tokens


class OneUniform:
    """A Chance in which every answer comes from one and the same u."""

    def __init__(self, chance: Chance) -> None:
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

    def pick(self, weights: Array) -> int:
        ends = np.cumsum(weights) / sum(weights)
        likely = np.flatnonzero(weights)
        return int(next((i for i in likely[:-1] if self.below(ends[i])), likely[-1]))

    def race(self, key: int, weights: Array) -> int:
        return self._chance.race(key, weights)


class FixedUniform:
    """A Chance whose every test meets u = 1/2."""

    def __init__(self, chance: Chance) -> None:
        self.pick, self.race = chance.pick, chance.race

    def accept(self, p: Any, q: Any) -> bool:
        return bool(p >= q or q < 2 * p)


class SkipsCertain:
    """A Chance that draws nothing for a test that is certain to pass."""

    def __init__(self, chance: Chance) -> None:
        self._chance, self.pick, self.race = chance, chance.pick, chance.race

    def accept(self, p: Any, q: Any) -> bool:
        return bool(p >= q) or self._chance.accept(p, q)


class ReusesAccept:
    """A Chance that picks, after a refusal, with the u that refused."""

    def __init__(self, chance: Chance) -> None:
        self._chance, self.race = chance, chance.race
        self.pick: Callable[[Array], int] = chance.pick

    def accept(self, p: Any, q: Any) -> bool:
        u = OneUniform(self._chance)
        accepted = u.accept(p, q)
        self.pick = self._chance.pick if accepted else u.pick
        return accepted


class SharesDraftNoise:
    """A drafter and a Chance. The target's draws meet uniforms that the draft's picks have had already.

    only_refused: the replacement meets the u that drew the refused token, and nothing else is shared; without it the k-th
    draw of the target has the u of the k-th draw of the draft, as two generators of one seed give.
    """

    def __init__(self, drafter: Drafter, chance: Chance, only_refused: bool = False) -> None:
        self._drafter, self._chance, self._only_refused = drafter, chance, only_refused
        self.race = chance.race
        self._drafts: list[OneUniform] = []  # by the place of a draw in its stream
        self._drawn = self._tested = self._round = 0
        self._drafting = self._refused = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chance, name)  # a tape's position

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        self._round, self._tested, self._refused = len(self._drafts), 0, False
        self._drafting = True
        draft = self._drafter.propose(tokens, gamma, self)
        self._drafting = False
        return draft

    def accept(self, p: Any, q: Any) -> bool:
        self._tested += 1
        accepted = (self._chance if self._only_refused else self._stream()).accept(p, q)
        self._refused = not accepted
        return accepted

    def pick(self, weights: Array) -> int:
        if self._drafting:
            self._drafts.append(OneUniform(self._chance))
            return self._drafts[-1].pick(weights)
        if not self._only_refused:
            return self._stream().pick(weights)
        place = self._round + self._tested - 1
        return (self._drafts[place] if self._refused and place < len(self._drafts) else self._chance).pick(weights)

    def _stream(self) -> Any:
        """The next uniform of the target's stream; beyond the draft's it is new."""
        self._drawn += 1
        return self._drafts[self._drawn - 1] if self._drawn <= len(self._drafts) else OneUniform(self._chance)
