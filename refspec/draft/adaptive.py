"""Knowing when to bet: as many drafted tokens a round as should pay on this machine, and none where none do."""

from collections.abc import Hashable, Sequence
from typing import Any

from refspec import theory
from refspec.chance import Chance
from refspec.draft import Draft, Drafter
from refspec.lm import Tokens
from refspec.profile import Profile


class AdaptiveDrafter:
    """Asks another drafter for the gamma that maximises expected tokens minus what the round's time would yield elsewhere.

    The costs come from a profile; the acceptances from the drafter's own `forecast(tokens, gamma)` where it has one, else
    from a running share for each position of a draft. All of it is known before anything is drawn, so the choice leaves
    the law as it is: the loop takes a draft of any length, so long as its tokens were drawn from the laws it shows.
    """

    PRIOR, WEIGHT = 0.6, 4.0  # a position's share starts as if this many tests had gone so,
    MEMORY = 0.95  # and each round leaves this much of the counts, so that a drafter given up is tried again

    def __init__(self, drafter: Drafter, profile: Profile) -> None:
        self.drafter = drafter
        self.profile = profile
        self.draft_cost = profile.draft if hasattr(drafter, "language_model") else 0.0
        self._start_again()

    def _start_again(self) -> None:
        most = len(self.profile.verify) - 1
        self._seen: Tokens = ()  # the text at the last call
        self._drafted: Tokens = ()  # what it proposed then
        self._tested, self._accepted = [0.0] * most, [0.0] * most
        self._tokens = self._cost = 10.0  # so far, in plain decode steps, as if after ten of them

    def __getattr__(self, name: str) -> Any:
        if name == "language_model":  # the loop compares its vocabulary with the target's
            return self.drafter.language_model  # type: ignore[attr-defined]
        raise AttributeError(name)

    @property
    def state(self) -> Hashable:
        """What it remembers from round to round, for `exact.sequence_law`."""
        inner: Hashable = getattr(self.drafter, "state", None)
        counts = tuple(self._tested), tuple(self._accepted), self._tokens, self._cost
        return self._seen, self._drafted, counts, inner

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        self._learn(tokens)
        costs = [cost + drafted * self.draft_cost for drafted, cost in enumerate(self.profile.verify[: gamma + 1])]
        wanted = theory.best_bet(self.forecast(tokens, len(costs) - 1), costs, max(1.0, self._tokens / self._cost))
        draft = self.drafter.propose(tokens, wanted, chance)
        self._seen, self._drafted = tokens, draft.tokens
        self._cost += self.profile.verify[len(draft.tokens)] + len(draft.tokens) * self.draft_cost
        return draft

    def forecast(self, tokens: Tokens, gamma: int) -> Sequence[float]:
        """The chance of each of gamma drafted tokens to be accepted if all before it were."""
        if forecast := getattr(self.drafter, "forecast", None):
            return list(forecast(tokens, gamma))
        shares = zip(self._accepted[:gamma], self._tested[:gamma], strict=True)
        return [(accepted + self.PRIOR * self.WEIGHT) / (tested + self.WEIGHT) for accepted, tested in shares]

    def _learn(self, tokens: Tokens) -> None:
        """See what became of the last draft: the text since then is as much of it as was accepted, and a token more."""
        came = tokens[len(self._seen) :]
        longest = len(self._drafted) + 1  # a round; where more came, someone else wrote it
        if not self._seen or not 1 <= len(came) <= longest or tokens[: len(self._seen)] != self._seen:
            self._start_again()
            return
        self._tokens += len(came)
        self._tested = [self.MEMORY * count for count in self._tested]
        self._accepted = [self.MEMORY * count for count in self._accepted]
        for i, drafted in enumerate(self._drafted):
            self._tested[i] += 1
            if i >= len(came) or came[i] != drafted:
                break
            self._accepted[i] += 1
