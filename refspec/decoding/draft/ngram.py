"""Prompt lookup: what followed the last times these words were said?

Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding, with the longest match in place of a fixed length, and the
commonest continuation in place of the first. Nothing is drawn, so each row is a point mass.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from refspec.brief import brief, short
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.draft.table import Table
from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument
from refspec.numeric import whole


class Evidence(NamedTuple):
    """What speaks for a guess. suffix: how many tokens it rests on, 0 if the table made it. usual: how often they are right."""

    suffix: int
    usual: float


class NgramDrafter:
    """Token by token, what most often followed the longest suffix of the text, draft included, that the text holds elsewhere.

    longest, shortest: how many tokens of suffix to look for. Of continuations equally common, the most recent. table: what
    the target usually says next (table.py), which goes before a guess of the text that is less likely. Uses no chance (N5).

    The text is read once, into an index; a call reads what is new since the last one, and starts again where the text does
    not continue that one. What is proposed, and forecast, is a function of the text alone.

    >>> import refspec
    >>> refspec.NgramDrafter().propose((1, 2, 3, 9, 1, 2), 2, refspec.Tape([])).tokens
    (3, 9)
    """

    state = None  # what it keeps is an index of the text
    FEW = 20  # drafts, of which a row that one reaches is worth no forecast

    def __init__(self, longest: int = 8, shortest: int = 1, table: Table | None = None) -> None:
        whole("shortest", shortest, 1)
        whole("longest", longest, shortest, ": not below shortest")
        if table is not None and not callable(getattr(table, "guess", None)):
            raise BadArgument(f"table is {short(table)}; give a Table, or the folder of one as the drafter")
        self.longest = longest
        self.shortest = shortest
        self.table = table
        self._forget()

    def __repr__(self) -> str:
        table = [] if self.table is None else [f"table={self.table!r}"]
        return brief(self, f"longest={self.longest}", f"shortest={self.shortest}", *table)

    def _forget(self) -> None:
        self._tokens: Tokens = ()
        self._next: dict[Tokens, tuple[int, bool | None]] = {}  # suffix -> its best guess, and whether that is unanimous
        self._said: dict[Tokens, dict[int, int]] = {}  # how often what followed; of suffixes that came more than once
        self._met: Counter[Evidence] = Counter()  # how often a token of the text could be guessed on such evidence,
        self._right: Counter[Evidence] = Counter()  # and how often the guess was right

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        self._read(tokens)
        return Draft(tuple(guess for guess, _ in islice(self._guesses(tokens), gamma)), start=len(tokens))

    def forecast(self, tokens: Tokens, gamma: int) -> Sequence[float]:
        """The chance of each of up to gamma drafted tokens to be accepted if all before it were.

        Estimated from the text itself: how often, up to here, a guess on such evidence came true. Looking back costs no draft,
        so that this keeps learning where nothing is drafted. It ends behind a token that fewer than one draft in FEW reaches.
        """
        self._read(tokens)
        chances, reach = [], 1.0
        for _, evidence in islice(self._guesses(tokens), gamma):
            chances.append(self._share(evidence))
            reach *= chances[-1]
            if reach < 1 / self.FEW:
                break
        return chances

    def _share(self, evidence: Evidence) -> float:
        """A running share of right guesses, which starts as if 16 had been seen, of which so many were right as is usual."""
        return (self._right[evidence] + 16 * evidence.usual) / (self._met[evidence] + 16)

    def _guesses(self, tokens: Tokens) -> Iterator[tuple[int, Evidence]]:
        """Guess after guess, each as if those before it had been right."""
        suffix = tokens[max(0, len(tokens) - self.longest) :]
        while found := self._guess(suffix):
            yield found
            suffix = (*suffix, found[0])[-self.longest :]

    def _guess(self, suffix: Tokens) -> tuple[int, Evidence] | None:
        """The likelier one of the text's guess and the table's, by what such evidence has been worth so far."""
        ours, theirs = self._from_text(suffix), self._from_table(suffix)
        if ours and theirs:
            return theirs if self._share(theirs[1]) > self._share(ours[1]) else ours
        return ours or theirs

    def _from_text(self, suffix: Tokens) -> tuple[int, Evidence] | None:
        for n in range(len(suffix), self.shortest - 1, -1):
            if found := self._next.get(suffix[len(suffix) - n :]):
                token, unanimous = found
                return token, Evidence(n, n / (n + 3) if unanimous is None else (n + 1) / (n + 4) if unanimous else n / (n + 6))
        return None

    def _from_table(self, suffix: Tokens) -> tuple[int, Evidence] | None:
        found = self.table and self.table.guess(suffix)
        return (found.token, Evidence(0, round(8 * found.share) / 8)) if found else None

    def _read(self, tokens: Tokens) -> None:
        if tokens[: len(self._tokens)] != self._tokens:
            self._forget()
        known, self._tokens = len(self._tokens), (-1,)  # of no text: what is interrupted starts again
        for end in range(known, len(tokens)):
            token, start = tokens[end], max(0, end - self.longest)
            if found := self._guess(tokens[start:end]):
                guess, evidence = found
                self._met[evidence] += 1
                self._right[evidence] += guess == token
            for first in range(start, end + 1 - self.shortest):
                self._add(tokens[first:end], token)
        self._tokens = tokens

    def _add(self, suffix: Tokens, token: int) -> None:
        """Once more, `token` follows `suffix`."""
        if (before := self._next.get(suffix)) is None:
            self._next[suffix] = token, None
            return
        best, unanimous = before
        said = self._said.setdefault(suffix, {best: 1})
        said[token] = said.get(token, 0) + 1
        most = token if said[token] >= said[best] else best
        self._next[suffix] = most, unanimous is not False and token == best
