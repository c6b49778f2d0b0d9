"""What the loop knows of a language model: how many tokens there are, and the law of the next one.

`TableLM` is the smallest thing that is one: a table from contexts to rows, of floats or of Fractions. It is the
model on which exactness is proved.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from refspec.arrays import Array
from refspec.errors import BadArgument, BadProbabilities, VocabularyMismatch

Tokens = tuple[int, ...]


class LanguageModel(Protocol):
    """A next-token law. Anything beyond these two names is optional and asked for with `getattr`:

    `token_map` (token -> id, for N12) and `context` (how many positions there are).
    """

    @property
    def vocab_size(self) -> int: ...

    def probs(self, tokens: Tokens, last: int = 1) -> Array:
        """[last, v]: row i is the law of the token after tokens[: len(tokens) - last + 1 + i].

        1 <= last <= len(tokens) + 1. A transformer also needs last <= len(tokens): nothing precedes its first token.
        """
        ...


class TableLM:
    """A law read from a table: the row stored under the longest suffix of the context.

    >>> coin = TableLM({(): [Fraction(1, 2), Fraction(1, 2)], (1,): [Fraction(1, 3), Fraction(2, 3)]})
    >>> coin.probs((0, 1), last=2)[1].tolist()
    [Fraction(1, 3), Fraction(2, 3)]

    table: contexts (tuples of ids) -> rows [v] that sum to one, exactly for Fractions and to 1e-9 for floats. `()`
    must be there: it answers every context that has no row of its own. Raises BadProbabilities for a row that is no law.
    """

    def __init__(self, table: Mapping[Tokens, Sequence[Any] | Array]) -> None:
        if () not in table:
            raise BadArgument("the table has no row for the empty context (); add the row that answers any other context")
        self._rows = {tuple(context): law(row) for context, row in table.items()}
        self._longest = max(len(context) for context in self._rows)
        self.vocab_size = len(self._rows[()])
        for context, row in self._rows.items():
            if len(row) != self.vocab_size:
                raise BadProbabilities(
                    f"the row of context {context} has {len(row)} entries where that of () has {self.vocab_size}"
                )

    def probs(self, tokens: Tokens, last: int = 1) -> Array:
        if not 1 <= last <= len(tokens) + 1:
            raise BadArgument(f"last is {last} for {len(tokens)} tokens; it is between 1 and {len(tokens) + 1}")
        ends = range(len(tokens) - last + 1, len(tokens) + 1)
        return np.stack([self._row(tuple(tokens[max(0, end - self._longest) : end])) for end in ends])

    def _row(self, context: Tokens) -> Array:
        while context not in self._rows:
            context = context[1:]
        return self._rows[context]


def law(row: Sequence[Any] | Array) -> Array:
    """A row [v] as a law: exact (an object array of Fractions) where it holds Fractions or integers, else float64."""
    entries = list(row)
    exact = all(isinstance(entry, (int, np.integer, Fraction)) for entry in entries)
    # int() first: a NumPy integer inside a Fraction overflows in silence.
    kept: list[Any] = [
        entry if isinstance(entry, Fraction) else Fraction(int(entry)) if exact else float(entry) for entry in entries
    ]
    total = sum(kept)
    sums_to_one = total == 1 if exact else abs(total - 1) <= 1e-9  # v additions of float64 rounding
    if not (kept and sums_to_one and all(entry >= 0 for entry in kept)):
        raise BadProbabilities(f"a row of {len(kept)} entries sums to {total}; a law has entries >= 0 that sum to 1")
    return np.array(kept, dtype=object if exact else np.float64)


def require_same_vocabulary(target: LanguageModel, draft: LanguageModel) -> None:
    """N12: the same token map, not only the same size. Raises VocabularyMismatch that says how they differ."""
    ours, theirs = getattr(target, "token_map", None), getattr(draft, "token_map", None)
    if ours is not None and theirs is not None and ours != theirs:
        differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
        first = differing[0]
        raise VocabularyMismatch(
            f"target and draft map {len(differing)} tokens differently, for instance {first!r} to {ours.get(first)} and "
            f"{theirs.get(first)}; speculation needs one vocabulary: choose a draft with the target's tokenizer"
        )
    if target.vocab_size != draft.vocab_size:
        raise VocabularyMismatch(
            f"the target has {target.vocab_size} tokens and the draft {draft.vocab_size}; speculation needs one vocabulary: "
            "choose a draft with the target's tokenizer"
        )
