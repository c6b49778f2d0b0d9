"""How often a drafter's guesses came true, by their place in the draft: a running share of what the text shows of past drafts."""

from collections.abc import Hashable, Sequence

from refspec.decoding.lm import Tokens


class Shares:
    """The chance of each of `most` drafted tokens to be accepted if all before it were.

    It goes by what was drafted and by the text since: as much of the draft as was accepted and a token more, never by
    drafted tokens behind a rejection (N6).

    >>> from refspec.decoding.draft.shares import Shares
    >>> shares = Shares(2)
    >>> shares.drafted((1, 2), (3, 4))
    >>> shares.learn((1, 2, 3, 9))
    2
    >>> [round(share, 2) for share in shares.forecast(2)]
    [0.68, 0.48]
    """

    PRIOR, WEIGHT = 0.6, 4.0  # a place's share starts as if this many tests had gone so,
    MEMORY = 0.95  # and each round leaves this much of the counts, so that a drafter given up is tried again

    def __init__(self, most: int, usual: tuple[float, float] | None = None) -> None:
        """usual: (share, tests) to start with, of a drafter that knows what its guesses come to as a rule."""
        self.most = most
        if usual is not None:
            self.PRIOR, self.WEIGHT = usual
        self.start_again()

    def start_again(self) -> None:
        self._seen: Tokens | None = None  # the text at the last draft, and what was drafted there
        self._drafted: Tokens = ()
        self._tested, self._accepted = [0.0] * self.most, [0.0] * self.most

    @property
    def state(self) -> tuple[Hashable, ...]:
        return self._seen, self._drafted, tuple(self._tested), tuple(self._accepted)

    def is_at(self, tokens: Tokens) -> bool:
        """Whether this text was learnt from, or drafted for, so that nothing has come since."""
        return self._seen == tokens

    def drafted(self, tokens: Tokens, draft: Tokens) -> None:
        """This was drafted behind `tokens`."""
        self._seen, self._drafted = tokens, draft

    def learn(self, tokens: Tokens) -> int | None:
        """See what became of the last draft. How many tokens came since; None, and all is forgotten, where others wrote them."""
        came = tokens[len(self._seen or ()) :]
        accepted = came[:-1]
        if self._seen is None or not came or (*self._seen, *self._drafted[: len(accepted)]) != tokens[:-1]:
            self.start_again()
            return None
        self._tested = [self.MEMORY * count for count in self._tested]
        self._accepted = [self.MEMORY * count for count in self._accepted]
        for i in range(min(len(accepted), self.most)):
            self._accepted[i] += 1
        for i in range(min(len(came), len(self._drafted), self.most)):  # and the one that was rejected, if any
            self._tested[i] += 1
        self.drafted(tokens, ())  # so that nothing is learnt twice
        return len(came)

    def forecast(self, gamma: int) -> Sequence[float]:
        shares = zip(self._accepted[:gamma], self._tested[:gamma], strict=True)
        return [(accepted + self.PRIOR * self.WEIGHT) / (tested + self.WEIGHT) for accepted, tested in shares]
