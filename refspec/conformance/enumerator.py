"""What uniforms decide, in fractions: N2 to N5 and N9 written once more, for the vectors, without any code of the float path."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from refspec.conformance.adapter import PLAIN, Case
from refspec.conformance.expected import Row, row
from refspec.decoding.lm import TableLM, Tokens


def accepts(u: Fraction, p: Fraction, q: Fraction) -> bool:
    """N2.

    >>> from fractions import Fraction
    >>> from refspec.conformance.enumerator import accepts
    >>> accepts(Fraction(0), Fraction(0), Fraction(1, 2))
    False
    """
    return p >= q or u * q < p


def pick(u: Fraction, weights: Sequence[Fraction]) -> int:
    """N3.

    >>> from fractions import Fraction
    >>> from refspec.conformance.enumerator import pick
    >>> pick(Fraction(0), [Fraction(0), Fraction(1)])
    1
    """
    level, cumulative = u * sum(weights), Fraction(0)
    for i, weight in enumerate(weights):
        cumulative += weight
        if cumulative > level:
            return i
    raise AssertionError("u is below one, and not all weights are zero")


def left_over(p: Sequence[Fraction], q: Sequence[Fraction]) -> Row:
    """N4: the residual, or p where there is none."""
    left = tuple(max(a - b, Fraction(0)) for a, b in zip(p, q, strict=True))
    return left if any(left) else tuple(p)


def one_round(
    drafted: Tokens, q: Sequence[Row], p: Sequence[Row], tests: Iterator[Fraction], last: Iterator[Fraction]
) -> tuple[int, int, Row]:
    """(accepted, token, the weights that the token was drawn from). tests and last give the uniforms, one at a time.

    >>> from fractions import Fraction
    >>> from refspec.conformance.enumerator import one_round
    >>> half = Fraction(1, 2)
    >>> one_round((0,), [(half, half)], [(half, half), (half, half)], iter([half]), iter([half]))[:2]
    (1, 1)
    """
    for i, token in enumerate(drafted):
        if not accepts(next(tests), p[i][token], q[i][token]):
            weights = left_over(p[i], q[i])
            return i, pick(next(last), weights), weights
    return len(drafted), pick(next(last), p[len(drafted)]), p[len(drafted)]


@dataclass(frozen=True)
class Text:
    """tokens of a text, and how many uniforms they took."""

    tokens: Tokens
    draws: int


def text(case: Case, uniforms: Sequence[Fraction]) -> Text:
    """The text of these uniforms, in the order of N5. Raises IndexError where they are too few.

    >>> from fractions import Fraction
    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.enumerator import text
    >>> text(CHECKS["one-round-law"].cases[0], [Fraction(1, 3)] * 4)
    Text(tokens=(2, 1), draws=3)
    """
    tape = _Tape(uniforms)
    made: Tokens = ()
    while len(made) < case.max_new_tokens:
        drafted: Tokens = ()
        q, p = [], []
        for _ in range(min(case.gamma, case.max_new_tokens - len(made) - 1)):
            q.append(rows(case, case.draft, case.prompt + made + drafted))
            drafted += (pick(next(tape), q[-1]),)
        for n in range(len(drafted) + 1):
            p.append(rows(case, case.target, case.prompt + made + drafted[:n]))
        accepted, token, _ = one_round(drafted, q, p, tape, tape)
        for each in (*drafted[:accepted], token):
            made += (each,)
            if each in case.stop:
                return Text(made, tape.read)
    return Text(made, tape.read)


def steady(case: Case, uniforms: Sequence[Fraction], by: Fraction) -> bool:
    """Whether the text is the same, and takes as many uniforms, where each that it takes is moved by so much either way.

    >>> from fractions import Fraction
    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.enumerator import steady
    >>> case = CHECKS["one-round-law"].cases[0]
    >>> [steady(case, [u] * 4, by=Fraction(1, 100)) for u in (Fraction(1, 3), Fraction(1, 2))]
    [True, False]
    """
    right = text(case, uniforms)
    moved = (
        [*uniforms[:i], each, *uniforms[i + 1 :]]
        for i in range(right.draws)
        for each in (uniforms[i] - by, uniforms[i] + by)
        if 0 <= each < 1
    )
    return all(text(case, tape) == right for tape in moved)


def rows(case: Case, model: TableLM, tokens: Tokens) -> Row:
    """As they are written where nothing changes them, so that an ulp in them stays one; else as `expected.row` has them."""
    if case.sampling == PLAIN and case.repetition_penalty == 1 and case.size == model.vocab_size:
        context = next(tokens[start:] for start in range(len(tokens) + 1) if tokens[start:] in model.by_context)
        return tuple(Fraction(each) for each in model.by_context[context].tolist())
    return row(case, model, tokens)


class _Tape:
    """Uniforms, one after another, and how many were read."""

    def __init__(self, uniforms: Sequence[Fraction]) -> None:
        self._uniforms = uniforms
        self.read = 0

    def __iter__(self) -> "_Tape":
        return self

    def __next__(self) -> Fraction:
        self.read += 1
        return self._uniforms[self.read - 1]
