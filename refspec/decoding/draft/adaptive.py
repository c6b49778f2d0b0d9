"""Drafting as many tokens a round as should pay on this machine, and none where none do."""

from collections.abc import Hashable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

from refspec.brief import brief, short
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, Drafter, cost_of, drafting, require_drafter
from refspec.decoding.draft.company import Company
from refspec.decoding.draft.profile import Profile, of_rows
from refspec.decoding.draft.shares import Shares
from refspec.decoding.draft.state import state_of
from refspec.decoding.lm import Tokens
from refspec.decoding.optional import optional
from refspec.decoding.question import Asking, at_once
from refspec.errors import BadArgument


class AdaptiveDrafter:
    """Asks another drafter for the gamma that maximises expected tokens minus what the round's time would yield elsewhere.

    The costs come from a profile; a drafted token's from the drafter's own `cost(tokens)`, where it has one, as the profile
    corrects it. The acceptances come from the drafter's own `forecast(tokens, gamma)` where it has one, else from a running
    share for each position of a draft; and while it drafts, from how sure it is, if it can tell (`asking_while`). So the choice
    goes by the text, by past rounds and by guesses that the draft shows; behind a drafter that races, never by drafted tokens
    behind a rejection (N6). It leaves the distribution as it is. In a batch (`join`) a row costs what it adds to the rows of
    all.

    >>> import refspec
    >>> profile = refspec.Profile(verify=(1, 9, 9), draft=0)
    >>> drafter = refspec.AdaptiveDrafter(refspec.NgramDrafter(), profile)
    >>> drafter.propose((1, 2, 3, 9, 1, 2), 2, refspec.Tape([])).tokens
    ()
    """

    START = 10.0  # the rate starts as if after so many plain steps

    def __init__(self, drafter: Drafter, profile: Profile) -> None:
        require_drafter(drafter)
        if not isinstance(profile, Profile):
            raise BadArgument(f"profile is {short(profile)}; give a refspec.Profile, such as Profile.load makes of a file")
        self.drafter = drafter
        self.profile = profile
        self.draft_cost = profile.draft if optional(drafter, "language_model") is not None else 0.0
        self._shared = False
        self.shares = Shares(len(profile.verify) - 1, optional(drafter, "usual"))
        self._start_again()

    def join(self, company: Company) -> None:
        """From now on, share the passes of these texts."""
        self._shared = True
        self.company, self.seat = company, company.join()

    def leave(self) -> None:
        """The text has ended."""
        self.company.leave(self.seat)

    def __repr__(self) -> str:
        return brief(self, short(self.drafter, 90), short(self.profile, 80))

    def _start_again(self) -> None:
        if not self._shared:
            self.company = Company(self.START)
            self.seat = self.company.join()

    @property
    def language_model(self) -> Any:
        """As the drafter it asks."""
        return optional(self.drafter, "language_model")

    @property
    def races(self) -> bool:
        """As the drafter it asks."""
        return bool(optional(self.drafter, "races"))

    @property
    def state(self) -> Hashable:
        """What it remembers from round to round, for `exact.sequence_law`."""
        seen, drafted, *counts = self.shares.state
        return seen, drafted, (*counts, self.company.tokens, self.company.cost), state_of(self.drafter)

    @property
    def learn(self) -> Any:
        """As the drafter it asks."""
        return optional(self.drafter, "learn")

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        return at_once(self.asking(tokens, gamma, chance))

    def asking(self, tokens: Tokens, gamma: int, chance: Chance) -> Asking[Draft]:
        self._learn(tokens)
        company, verify = self.company, self.profile.behind(len(tokens))
        beside, texts = company.beside(self.seat), company.texts

        def v(rows: int) -> float:
            return of_rows(verify, rows)

        own = cost_of(self.drafter, tokens)
        # a draft model's passes are shared as well
        drafted = self.draft_cost * v(texts) / texts if own is None else own * self.profile.heads
        costs = [v(beside + n + 1) - v(beside) + n * drafted for n in range(min(gamma + 1, len(verify)))]
        rate = max(texts / v(texts), company.tokens / company.cost)
        forecast = self.forecast(tokens, len(costs) - 1)

        def go_on(chances: Sequence[float]) -> bool:
            """The same bet, now that so many guesses are there, with the chance of each as their drafter sees it."""
            return best_draft_length([*chances, *forecast[len(chances) :]], costs, rate) > len(chances)

        wanted = best_draft_length(forecast, costs, rate)
        company.rows[self.seat] = wanted + 1
        draft = yield from drafting(self.drafter, tokens, wanted, chance, None if self.races else go_on)
        self.shares.drafted(tokens, draft.tokens)
        # Behind a drafter that races, charged for what was asked: where a draft stopped tells of tokens behind the rejection (N6)
        if not self.races:
            wanted = len(draft.tokens)
        company.cost += v(beside + wanted + 1) * ((wanted + 1) / (beside + wanted + 1)) + wanted * drafted
        return draft

    def forecast(self, tokens: Tokens, gamma: int) -> Sequence[float]:
        """The chance of each of gamma drafted tokens to be accepted if all before it were."""
        if forecast := optional(self.drafter, "forecast"):
            return list(forecast(tokens, gamma))
        return self.shares.forecast(gamma)

    def _learn(self, tokens: Tokens) -> None:
        """See what became of the last draft, if this text goes on from it."""
        came = self.shares.learn(tokens)
        if came is None:
            self._start_again()
        else:
            self.company.tokens += came


def best_draft_length(alphas: Sequence[Any], costs: Sequence[Any], rate: Any) -> int:
    """The gamma of the greatest expected tokens(gamma) - rate * costs[gamma], the least of equals.

    alphas: the chance of each drafted token to be accepted if all before it were. costs: of a round that drafts 0, 1, ...
    rate: tokens that a unit of time yields elsewhere. A run is as fast as it can be when each round maximises this at the
    rate of the whole run, and not the round's own ratio (Dinkelbach 1967, Management Science 13(7), on ratios of sums). costs
    has one entry more than drafts are allowed; fewer alphas than that allow fewer.

    >>> from refspec.theory import best_draft_length
    >>> best_draft_length([0.9, 0.1], costs=[1, 1.2, 1.4], rate=1)
    1
    """
    tokens = list(accumulate(accumulate(alphas, mul, initial=1)))  # theory.expected_tokens(alphas[:gamma]), gamma = 0, 1, ...
    return max(range(min(len(tokens), len(costs))), key=lambda gamma: tokens[gamma] - rate * costs[gamma])
