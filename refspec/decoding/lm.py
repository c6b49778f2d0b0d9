"""What the loop knows of a language model: how many tokens there are, and the distribution of the next one.

`TableLM` is the smallest thing that is one: a table from contexts to rows, of floats or of Fractions. It is the
model on which exactness is proved.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, counted
from refspec.decoding.optional import optional
from refspec.errors import BadArgument, BadProbabilities, RefspecError, VocabularyMismatch

Tokens = tuple[int, ...]


class LanguageModel(Protocol):
    """A next-token distribution. Anything beyond these two names is optional and asked for with `getattr`:

    `token_map` (token -> id, for N12) and `context` (how many positions there are).
    """

    @property
    def vocab_size(self) -> int: ...

    def probs(self, tokens: Tokens, last: int = 1) -> Array:
        """[last, v]: row i is the distribution of the token after tokens[: len(tokens) - last + 1 + i].

        1 <= last <= len(tokens) + 1. A transformer also needs last <= len(tokens): nothing precedes its first token. The loop
        refuses rows that sum to one less closely than `slack` allows.
        """
        ...


class TableLM:
    """A distribution read from a table: the row stored under the longest suffix of the context.

    >>> from fractions import Fraction
    >>> from refspec import TableLM
    >>> coin = TableLM({(): [Fraction(1, 2), Fraction(1, 2)], (1,): [Fraction(1, 3), Fraction(2, 3)]})
    >>> coin.probs((0, 1), last=2)[1].tolist()
    [Fraction(1, 3), Fraction(2, 3)]

    table: contexts (tuples of ids) -> rows [v] that sum to one, exactly for Fractions and up to `slack` for floats. `()`
    must be there: it answers every context that has no row of its own. Raises BadProbabilities for a row that is no distribution.
    """

    def __init__(self, table: Mapping[Tokens, Sequence[Any] | Array]) -> None:
        if () not in table:
            raise BadArgument("the table has no row for the empty context (); add the row that answers any other context")
        self._rows = {tuple(context): distribution(row, f"the row of context {tuple(context)}") for context, row in table.items()}
        self._longest = max(len(context) for context in self._rows)
        self.vocab_size = len(self._rows[()])
        for context, row in self._rows.items():
            row.setflags(write=False)  # who reads them by `by_context` cannot change the model
            if len(row) != self.vocab_size:
                raise BadProbabilities(
                    f"the row of context {context} has {len(row)} entries where that of () has {self.vocab_size}"
                )

    def probs(self, tokens: Tokens, last: int = 1) -> Array:
        if not 1 <= last <= len(tokens) + 1:
            raise BadArgument(f"last is {last} for {len(tokens)} tokens; it is between 1 and {len(tokens) + 1}")
        ends = range(len(tokens) - last + 1, len(tokens) + 1)
        return np.array([self._row(tuple(tokens[max(0, end - self._longest) : end])) for end in ends])

    @property
    def by_context(self) -> Mapping[Tokens, Array]:
        """Its rows [v] by their contexts."""
        return MappingProxyType(self._rows)

    def __repr__(self) -> str:
        kind = "exact" if self._rows[()].dtype == object else str(self._rows[()].dtype)
        return brief(self, counted(self.vocab_size, "token"), counted(len(self._rows), "context"), kind)

    def _row(self, context: Tokens) -> Array:
        while context not in self._rows:
            context = context[1:]
        return self._rows[context]


def distribution(row: Sequence[Any] | Array, name: str = "the row") -> Array:
    """A row [v] as a distribution: exact (an object array of Fractions) where it holds Fractions or integers, else float64."""
    entries = list(row)
    exact = all(isinstance(entry, (int, np.integer, Fraction)) for entry in entries)
    # int() first: a NumPy integer inside a Fraction overflows in silence.
    kept: list[Any] = [
        entry if isinstance(entry, Fraction) else Fraction(int(entry)) if exact else float(entry) for entry in entries
    ]
    made = np.array(kept, dtype=object if exact else np.float64)
    if (fault := first_fault(made[None])) is not None:
        raise BadProbabilities(f"{name} {fault[1]}")
    return made


def require_distributions(rows: Array, shape: tuple[int, int], start: int, whose: str, error: type[RefspecError]) -> None:
    """rows are `shape` [n, v] distributions, of positions from `start` on. `error` says whose row is none, where, how far off."""
    if rows.shape != shape:
        given = f"the {whose} returned distributions of shape {rows.shape}"
        raise error(f"{given}; {shape} is needed, a row a position and an entry an id")
    if (fault := first_fault(rows)) is not None:
        raise error(f"the {whose}'s row for position {start + fault[0]} {fault[1]}")


def first_fault(rows: Array) -> tuple[int, str] | None:
    """Which of rows [n, v] is the first that is no distribution, and why; None where all are."""
    floats, allowed = rows.dtype.kind == "f", slack(rows.dtype, rows.shape[-1])
    if not floats and all(map(is_exactly_one, rows.tolist())):
        return None
    with np.errstate(invalid="ignore"):  # inf - inf: its NaN tells
        # in float64 whatever they are, so that what is off is the row and not this sum
        off = rows.sum(axis=-1, dtype=np.float64 if floats else None) - 1
    sums_to_one = abs(off) <= allowed
    if rows.min(initial=0) >= 0 and sums_to_one.all():  # neither holds of a NaN
        return None
    i = int(((rows >= 0).all(axis=-1) & sums_to_one).argmin())
    forbidden = np.flatnonzero(~(rows[i] >= 0))
    if len(forbidden):
        what = f"gives token {forbidden[0]} the probability {rows[i, forbidden[0]]}"
    else:
        what = f"sums to {off[i] + 1}, which is off by {float(off[i]):.1e}"
    up_to = f" up to {allowed:.1e} in {rows.dtype}" if floats else ""
    return i, f"{what}; a distribution has entries >= 0 that sum to 1{up_to}"


def is_exactly_one(row: Sequence[Any]) -> bool:
    """Whether a row of Fractions or integers is a law. In whole numbers, since adding Fractions takes four times as long."""
    if not all(isinstance(entry, (Fraction, int)) for entry in row):
        return False
    ratios = [entry.as_integer_ratio() for entry in row]
    common = math.lcm(*[below for _, below in ratios])
    shares = [above * (common // below) for above, below in ratios]
    return sum(shares) == common and min(shares) >= 0


def slack(dtype: np.dtype[Any], vocab_size: int) -> float:
    """How far from one a distribution of that many entries may sum: what rounding leaves of a row that was divided by its sum.

    0 but for floats. Each of v - 1 additions, in whatever order, and the division round by eps / 2 of at most the sum, and so
    do the additions of who checks: v * eps in float64. In a narrower type that would let through too much (6e-3 of 49,152
    float32), so there the sum has to be one in blocks, NumPy's (of 128 in 8 lanes, then pairwise) or a finer one: it rounds
    fewer than 16 + log2 v times on the way of any entry.
    """
    if dtype.kind != "f":
        return 0
    eps = float(np.finfo(dtype).eps)
    wide = float(np.finfo(np.float64).eps)
    return vocab_size * wide if eps <= wide else min(vocab_size, 16 + math.log2(max(1, vocab_size))) * eps


def require_same_vocabulary(target: LanguageModel, draft: LanguageModel) -> None:
    """N12: the same token map, not only the same size. Raises VocabularyMismatch that says how they differ."""
    ours, theirs = optional(target, "token_map"), optional(draft, "token_map")
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
