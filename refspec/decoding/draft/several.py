"""Several drafters for one text: each round asks the one whose guesses should yield most for what they cost.

Prompt lookup costs nothing and is nearly always right where a long suffix matches; a head guesses everywhere, and costs
something. Which one drafts is decided before anything is drawn, by the text and by what it shows of past drafts, so q is the
law of whichever drafts, and the text keeps the target's distribution (N6).
"""

import math
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

from refspec.arrays import Array
from refspec.brief import brief, short
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, Drafter, GoOn, cost_of, drafting, require_drafter
from refspec.decoding.draft.shares import Shares
from refspec.decoding.draft.state import state_of
from refspec.decoding.lm import Tokens
from refspec.decoding.optional import optional
from refspec.decoding.question import Asking, at_once
from refspec.errors import BadArgument
from refspec.numeric import number


class Several:
    """Of equals, the first. Chances are those of a drafter's own `forecast` where it has one, else its running shares so far.

    draft_cost: of a token of a draft model, in plain steps, for the choice among them; a profile's `draft` is this machine's.

    >>> import refspec
    >>> from refspec.decoding.draft.several import Several
    >>> coin = refspec.ModelDrafter(refspec.TableLM({(): [0.5, 0.5]}))
    >>> both = Several(refspec.NgramDrafter(), coin)
    >>> both.propose((0, 1) * 9, 2, refspec.Tape([])).tokens, both.propose((0,), 2, refspec.Tape([0.9, 0.9])).tokens
    ((0, 1), (1, 1))
    """

    LOOK = 4  # tokens that the choice looks ahead

    def __init__(self, *drafters: Drafter, draft_cost: float = 0.1) -> None:
        if not drafters:
            raise BadArgument("no drafters were given; give at least one")
        for each in drafters:
            require_drafter(each)
        number("draft_cost", draft_cost, lambda c: 0 <= c < math.inf, "a cost in plain decode steps, at least 0 and finite")
        self.drafters = drafters
        self.draft_cost = draft_cost
        self._shares = [Shares(self.LOOK, optional(each, "usual")) for each in drafters]
        self._last = 0  # who drafted last
        self._chosen: tuple[Tokens, int] | None = None  # who drafts next, behind which text: a bet asks for it three times

    def __repr__(self) -> str:
        return brief(self, *(short(each, 60) for each in self.drafters))

    @property
    def races(self) -> bool:
        """As any of them."""
        return any(optional(each, "races") for each in self.drafters)

    @property
    def language_model(self) -> Any:
        """The first that one of them has: its vocabulary is compared with the target's."""
        return next((model for each in self.drafters if (model := optional(each, "language_model")) is not None), None)

    @property
    def state(self) -> Hashable:
        return self._last, tuple(each.state for each in self._shares), tuple(state_of(each) for each in self.drafters)

    @property
    def learn(self) -> Callable[[Tokens, Array], None] | None:
        """Told on to those that learn; None where none does."""
        learners = [learn for each in self.drafters if (learn := optional(each, "learn"))]

        def tell(tokens: Tokens, target_probs: Array) -> None:
            for learn in learners:
                learn(tokens, target_probs)

        return tell if learners else None

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        return at_once(self.asking(tokens, gamma, chance))

    def asking(self, tokens: Tokens, gamma: int, chance: Chance) -> Asking[Draft]:
        return self.asking_while(tokens, gamma, chance, None)

    def asking_while(self, tokens: Tokens, gamma: int, chance: Chance, go_on: GoOn | None) -> Asking[Draft]:
        self._last, self._chosen = (i := self._choice(tokens)), None
        draft = yield from drafting(self.drafters[i], tokens, gamma, chance, go_on)
        self._shares[i].drafted(tokens, draft.tokens)
        return draft

    def forecast(self, tokens: Tokens, gamma: int) -> Sequence[float]:
        """As the one that would draft here."""
        return self._forecast(self._choice(tokens), tokens, gamma)

    def cost(self, tokens: Tokens) -> float | None:
        """What a token of the one that would draft here costs."""
        chosen = self.drafters[self._choice(tokens)]
        own = cost_of(chosen, tokens)
        return 0.0 if own is None and optional(chosen, "language_model") is None else own  # a model's is in the profile

    def _forecast(self, i: int, tokens: Tokens, gamma: int) -> Sequence[float]:
        forecast = optional(self.drafters[i], "forecast")
        return list(forecast(tokens, gamma)) if forecast else self._shares[i].forecast(gamma)

    def _choice(self, tokens: Tokens) -> int:
        if self._chosen is None or self._chosen[0] != tokens:
            self._chosen = tokens, self._choose(tokens)
        return self._chosen[1]

    def _choose(self, tokens: Tokens) -> int:
        if not self._shares[self._last].is_at(tokens) and self._shares[self._last].learn(tokens) is None:
            for each in self._shares:
                each.start_again()
        worth = [self._worth(i, tokens) for i in range(len(self.drafters))]
        return worth.index(max(worth))

    def _worth(self, i: int, tokens: Tokens) -> float:
        """Tokens that its best draft here should yield, less what it costs, in plain steps, which yield one each."""
        cost = cost_of(self.drafters[i], tokens)
        if cost is None:
            cost = 0.0 if optional(self.drafters[i], "language_model") is None else self.draft_cost
        reached = accumulate(self._forecast(i, tokens, self.LOOK), mul)
        return max(accumulate((chance - cost for chance in reached), initial=0.0))
