"""What a case should give, in fractions: the rows after warps, and the law of the target's texts without a draft.

It shares no code with the float path (`models/sampling.py`, `decoding/chance.py`): what both say alike was written twice.
A row's logits are the logs of its probabilities, so that a temperature of 1/2, or a penalty of 2, squares them.
"""

from fractions import Fraction

from refspec.conformance.adapter import Case
from refspec.decoding.lm import TableLM, Tokens

Row = tuple[Fraction, ...]
Law = dict[Tokens, Fraction]
ORDER = ("temperature", "top_k", "top_p", "min_p")  # N8


def law_alone(case: Case, order: tuple[str, ...] = ORDER, ties: str = "lowest") -> Law:
    """{tokens: probability} of the target without a draft, exactly.

    >>> import refspec
    >>> from refspec.conformance.adapter import Case
    >>> from refspec.conformance.expected import law_alone
    >>> coin = refspec.TableLM({(): [0.25, 0.75]})
    >>> law_alone(Case("coin", coin, coin, gamma=1, max_new_tokens=2, prompt=(0,)))[0, 1]
    Fraction(3, 16)
    """
    finished: Law = {}
    open_texts: Law = {(): Fraction(1)}
    for length in range(1, case.max_new_tokens + 1):
        longer: Law = {}
        for text, weight in open_texts.items():
            for token, p in enumerate(row(case, case.target, case.prompt + text, order, ties)):
                if p:
                    ends = token in case.stop or length == case.max_new_tokens
                    (finished if ends else longer)[*text, token] = weight * p
        open_texts = longer
    return finished if case.max_new_tokens else open_texts


def row(case: Case, model: TableLM, text: Tokens, order: tuple[str, ...] = ORDER, ties: str = "lowest") -> Row:
    """The distribution that follows a text: the table's row, cut to the tokens there are, penalised and warped in this order.

    >>> import refspec
    >>> from refspec.conformance.adapter import Case
    >>> from refspec.conformance.expected import row
    >>> coin = refspec.TableLM({(): [0.25, 0.75]})
    >>> row(Case("coin", coin, coin, 1, 1, (0,), repetition_penalty=2.0), coin, (1,))[1]
    Fraction(9, 13)
    """
    return warped(case, _of_table(model, text)[: case.size], text, order, ties)


def _of_table(model: TableLM, text: Tokens) -> Row:
    context = next(text[start:] for start in range(len(text) + 1) if text[start:] in model.by_context)
    return tuple(Fraction(each) for each in model.by_context[context].tolist())


def warped(case: Case, weights: Row, text: Tokens, order: tuple[str, ...], ties: str) -> Row:
    penalty = _whole(case.repetition_penalty)
    weights = tuple(w**penalty if token in text else w for token, w in enumerate(weights))
    if case.sampling.temperature == 0:
        best = max(weights)
        at = [token for token, w in enumerate(weights) if w == best]
        return tuple(Fraction(token == at[-1 if ties == "highest" else 0]) for token in range(len(weights)))
    for step in order:
        weights = _STEPS[step](_normalised(weights), getattr(case.sampling, step))
    return _normalised(weights)


def _whole(power: float) -> int:
    assert power == int(power), "cases are made so that their laws are fractions"
    return int(power)


def _normalised(weights: Row) -> Row:
    total = sum(weights)
    return tuple(w / total for w in weights)


def _temperature(weights: Row, t: float) -> Row:
    return tuple(w ** _whole(1 / t) for w in weights)


def _top_k(weights: Row, k: int | None) -> Row:
    kth = sorted(weights, reverse=True)[min(k or len(weights), len(weights)) - 1]
    return tuple(w if w >= kth else Fraction(0) for w in weights)


def _top_p(weights: Row, p: float | None) -> Row:
    if p is None:
        return weights
    ranked = sorted(range(len(weights)), key=lambda token: -weights[token])  # stable: lowest id first
    above = {token: sum((weights[other] for other in ranked[:place]), Fraction(0)) for place, token in enumerate(ranked)}
    return tuple(w if above[token] < Fraction(p) else Fraction(0) for token, w in enumerate(weights))


def _min_p(weights: Row, p: float | None) -> Row:
    least = Fraction(p or 0) * max(weights)
    return tuple(w if w >= least else Fraction(0) for w in weights)


_STEPS = {"temperature": _temperature, "top_k": _top_k, "top_p": _top_p, "min_p": _min_p}
