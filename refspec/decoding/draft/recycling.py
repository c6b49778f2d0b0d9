"""Token Recycling, in chain form: what the target itself said last time behind this token (arXiv 2408.08696).

Every pass of the target ends in rows that the loop uses and throws away, those behind a rejection too. Here the likeliest
token of each row is kept by the token that the row is behind, the newest in place of the older, and a draft follows these
links from the text's last token. The paper keeps the first eight and drafts a tree of them; a chain needs the first.

Nothing is drawn, so each row is a point mass. What is kept comes from earlier rounds, refused tokens included, and from no
draw that is used again, so the text keeps the target's distribution (N6); the loop refuses it beside a drafter that races.
"""

from collections.abc import Hashable

from refspec.arrays import Array
from refspec.brief import brief, counted
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens


class RecyclingDrafter:
    """Uses no chance (N5). What it has learnt stays from text to text.

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.decoding.draft.recycling import RecyclingDrafter
    >>> drafter = RecyclingDrafter()
    >>> drafter.learn((5, 1, 2), np.eye(9)[[2, 7]])  # 2 comes behind 1, and 7 behind 2
    >>> drafter.propose((0, 1), 4, refspec.Tape([])).tokens
    (2, 7)
    """

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def __repr__(self) -> str:
        return brief(self, counted(len(self._next), "token"))

    @property
    def state(self) -> Hashable:
        """All links."""
        return tuple(sorted(self._next.items()))

    def learn(self, tokens: Tokens, target_probs: Array) -> None:
        """target_probs [last, v]: what the target said behind the last tokens. The loop calls it after each pass."""
        n = min(len(tokens), len(target_probs))  # a table's first row may be behind nothing
        for token, row in zip(tokens[len(tokens) - n :], target_probs[len(target_probs) - n :], strict=True):
            self._next[token] = int(row.argmax())

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        drafted: list[int] = []
        token = self._next.get(tokens[-1]) if tokens else None
        while token is not None and len(drafted) < gamma:
            drafted.append(token)
            token = self._next.get(token)
        return Draft(tuple(drafted))
