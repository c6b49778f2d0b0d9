"""Prompt lookup: what followed the last time these words were said?

Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding. Nothing is drawn, so each row is a point mass.
"""

from collections import Counter
from collections.abc import Sequence

from refspec.chance import Chance
from refspec.draft import Draft
from refspec.errors import BadArgument
from refspec.lm import Tokens


class NgramDrafter:
    """Proposes the continuation of the most recent earlier occurrence of the text's longest suffix that has one.

    longest, shortest: how many tokens of suffix to look for, longest first. Uses no chance (N5). A continuation that
    reaches the end of the text goes on in the draft itself, as what repeats would.

    The text is read once, into an index; a call reads what is new since the last one, and starts again where the text does
    not continue that one. What is proposed, and forecast, is a function of the text alone.
    """

    FAR = 16  # tokens: longer agreements count as this long

    def __init__(self, longest: int = 3, shortest: int = 1) -> None:
        if not 1 <= shortest <= longest:
            raise BadArgument(f"n-grams from {shortest} to {longest}; 1 <= shortest <= longest")
        self.longest = longest
        self.shortest = shortest
        self._forget()

    def _forget(self) -> None:
        self._tokens: Tokens = ()
        self._follower: dict[Tokens, int] = {}  # n-gram -> where the token stands that followed its last occurrence
        self._met: Counter[int] = Counter()  # by length of agreement: how often a token of the text could be guessed,
        self._right: Counter[int] = Counter()  # and how often the guess was right

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        self._read(tokens)
        source, agreement = self._match(tokens, len(tokens))
        drafted = list(tokens[source : source + gamma]) if agreement else []
        while drafted and len(drafted) < gamma:
            drafted.append(drafted[len(drafted) - (len(tokens) - source)])
        return Draft(tuple(drafted), start=len(tokens))

    def forecast(self, tokens: Tokens, gamma: int) -> Sequence[float]:
        """The chance of each of gamma drafted tokens to be accepted if all before it were; none where nothing is found.

        Estimated from the text itself: how often, up to here, what a suffix of that length promised came true. Looking back
        costs no draft, so that this keeps learning where nothing is drafted.
        """
        self._read(tokens)
        _, agreement = self._match(tokens, len(tokens))
        return [self._share(min(agreement + i, self.FAR)) for i in range(gamma)] if agreement else []

    def _share(self, agreement: int) -> float:
        """A running share of right guesses, which starts as if 8 had been seen, agreement / (agreement + 4) of them right."""
        return (self._right[agreement] + 8 * agreement / (agreement + 4)) / (self._met[agreement] + 8)

    def _read(self, tokens: Tokens) -> None:
        if tokens[: len(self._tokens)] != self._tokens:
            self._forget()
        for end in range(len(self._tokens), len(tokens)):
            source, agreement = self._match(tokens, end)
            if agreement:
                self._met[agreement] += 1
                self._right[agreement] += tokens[source] == tokens[end]
            for n in range(self.shortest, min(self.longest, end) + 1):
                self._follower[tokens[end - n : end]] = end
        self._tokens = tokens

    def _match(self, tokens: Tokens, end: int) -> tuple[int, int]:
        """Where the token stands that should come at `end`, and how many tokens before the two places agree: 0 for none."""
        for n in range(min(self.longest, end), self.shortest - 1, -1):
            source = self._follower.get(tokens[end - n : end])
            if source is not None:
                while n < min(self.FAR, source) and tokens[source - n - 1] == tokens[end - n - 1]:
                    n += 1
                return source, min(n, self.FAR)
        return end, 0
