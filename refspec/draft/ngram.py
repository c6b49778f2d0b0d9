"""Prompt lookup: what followed the last time these words were said?

Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding. Nothing is drawn, so each row is a point mass.
"""

from refspec.chance import Chance
from refspec.draft import Draft
from refspec.errors import BadArgument
from refspec.lm import Tokens


class NgramDrafter:
    """Proposes the continuation of the most recent earlier occurrence of the text's longest suffix that has one.

    longest, shortest: how many tokens of suffix to look for, longest first. Uses no chance (N5).
    """

    def __init__(self, longest: int = 3, shortest: int = 1) -> None:
        if not 1 <= shortest <= longest:
            raise BadArgument(f"n-grams from {shortest} to {longest}; 1 <= shortest <= longest")
        self.longest = longest
        self.shortest = shortest

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        if gamma > 0:
            for n in range(self.longest, self.shortest - 1, -1):
                suffix = tokens[-n:]
                for start in range(len(tokens) - n - 1, -1, -1):
                    if tokens[start : start + n] == suffix:
                        return Draft(tokens[start + n : start + n + gamma], start=len(tokens))
        return Draft((), start=len(tokens))
