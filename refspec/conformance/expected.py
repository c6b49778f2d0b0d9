"""What a case should give, in fractions: the rows after warps, and the law of the target's texts without a draft.

It shares no code with the float path (`models/sampling.py`, `decoding/chance.py`): what both say alike was written twice.
A row's logits are the logs of its probabilities, so that a temperature of 1/2, or a penalty of 2, squares them.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from refspec.conformance.adapter import PLAIN, Case
from refspec.decoding.lm import TableLM, Tokens

Row = tuple[Fraction, ...]
Law = dict[Tokens, Fraction]
ORDER = ("temperature", "top_k", "top_p", "min_p")  # N8


@lru_cache(maxsize=1000)  # each bug that a deviation is compared with asks for the same ones
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
    weights = _penalised(case, weights, text)
    if case.sampling.temperature == 0:
        best = max(weights)
        at = [token for token, w in enumerate(weights) if w == best]
        return tuple(Fraction(token == at[-1 if ties == "highest" else 0]) for token in range(len(weights)))
    for step in order:
        weights = _STEPS[step](_normalised(weights), getattr(case.sampling, step))
    return _normalised(weights)


def _penalised(case: Case, weights: Row, text: Tokens) -> Row:
    penalty = _whole(case.repetition_penalty)
    return tuple(w**penalty if token in text else w for token, w in enumerate(weights))


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


@lru_cache
def tied(case: Case) -> frozenset[str]:
    """The options at whose cut two probabilities of a row are equal: which of them stays is a convention.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.expected import tied
    >>> {case.name: set(tied(case)) for case in CHECKS["greedy"].cases if tied(case)}
    {'equal logits': {'temperature'}}
    """
    return frozenset(name for name, gap in gaps(case).items() if gap == 0)


def gaps(case: Case, order: tuple[str, ...] = ORDER) -> dict[str, Fraction]:
    """{option: the least distance of a row from being cut otherwise}, over the rows behind all that target or draft may give.

    Between the last weight that stays and the next one relative to the former, of a bound absolute. Temperature cuts at 0 alone.

    >>> import refspec
    >>> from refspec.conformance.adapter import Case
    >>> from refspec.conformance.expected import gaps
    >>> from refspec.models.sampling import Sampling
    >>> coin = refspec.TableLM({(): [0.25, 0.75]})
    >>> gaps(Case("coin", coin, coin, 1, 1, (0,), sampling=Sampling(top_k=1)))
    {'top_k': Fraction(2, 3)}
    """
    found: dict[str, Fraction] = {}
    if case.sampling == PLAIN:
        return found
    texts = {case.prompt}
    for _ in range(case.max_new_tokens):
        longer = set()
        for text in texts:
            for model in (case.target, case.draft):
                for name, gap in _gaps(case, _of_table(model, text)[: case.size], text, order):
                    found[name] = min(gap, found.get(name, gap))
                longer |= {(*text, token) for token, p in enumerate(row(case, model, text, order)) if p}
        texts = longer
    return found


def _gaps(case: Case, weights: Row, text: Tokens, order: tuple[str, ...]) -> Iterator[tuple[str, Fraction]]:
    weights = _penalised(case, weights, text)
    if case.sampling.temperature == 0:
        yield "temperature", _after(sorted(weights, reverse=True), 1)
        return
    for step in order:
        weights, value = _normalised(weights), getattr(case.sampling, step)
        cut = _STEPS[step](weights, value)
        if step != "temperature" and value is not None:
            ranked = sorted(weights, reverse=True)
            between = _after(ranked, value if step == "top_k" else sum(map(bool, cut)))
            yield step, min([between, *_from_bound(step, ranked, value)])
        weights = cut


def _after(ranked: list[Fraction], kept: int) -> Fraction:
    """Zeros may stay or go."""
    return 1 - ranked[kept] / ranked[kept - 1] if kept < len(ranked) and ranked[kept] else Fraction(1)


def _from_bound(step: str, ranked: list[Fraction], value: float) -> Iterator[Fraction]:
    if step == "top_p":
        yield from (abs(sum(ranked[:n]) - Fraction(value)) for n in range(1, sum(map(bool, ranked))))
    if step == "min_p":
        yield from (abs(weight / ranked[0] - Fraction(value)) for weight in ranked)
