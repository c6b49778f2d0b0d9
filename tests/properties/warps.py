"""The filters on probabilities, against their definition read token by token, on rationals (N8); temperature 0 (N7)."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from models import Case

from properties import Subject, Violation

Row = list[Fraction]


def above(row: Row, token: int) -> list[int]:
    """The tokens ranked above this one: the likelier, and of equals the lower ids."""
    return [other for other, share in enumerate(row) if (-share, other) < (-row[token], token)]


def given(row: Row, keeps: Callable[[int], bool]) -> Row:
    mass = sum((share for token, share in enumerate(row) if keeps(token)), Fraction(0))
    return [share / mass if keeps(token) else Fraction(0) for token, share in enumerate(row)]


def rows(case: Case) -> list[Row]:
    """A row of the target, and one twice as long that mixes it with the draft's."""
    ours, theirs = (list(each.probs(case.prompt)[-1]) for each in (case.target, case.draft))
    return [ours, [share / 3 for share in ours] + [2 * share / 3 for share in theirs]]


def compared(found: Row, expected: Row, what: str) -> Violation | None:
    if list(found) == expected:
        return None
    distance = sum((abs(x - y) for x, y in zip(found, expected, strict=True)), Fraction(0)) / 2
    return Violation(distance, f"{what} gives {list(map(str, found))}, should be {list(map(str, expected))}")


def filters_keep_what_they_say(subject: Subject, case: Case) -> Violation | None:
    """top-k, top-p and min-p on Fractions are the law given their survivors, for every k and at every boundary."""
    for row in rows(case):
        array, tokens = np.array(row, dtype=object), range(len(row))
        thresholds = {Fraction(i, 5) for i in range(1, 6)} | {sum(row[: i + 1]) for i in tokens} - {0}
        for k in range(1, len(row) + 2):
            # a value that ties with the k-th stays: fewer than k are strictly above it
            expected = given(row, lambda token, row=row, k=k: sum(share > row[token] for share in row) < k)
            if wrong := compared(subject.warp.top_k(array, k), expected, f"top_k {k} of {list(map(str, row))}"):
                return wrong
        for p in thresholds:
            expected = given(row, lambda token, row=row, p=p: sum(row[other] for other in above(row, token)) < p)
            if wrong := compared(subject.warp.top_p(array, p), expected, f"top_p {p} of {list(map(str, row))}"):
                return wrong
            expected = given(row, lambda token, row=row, p=p: row[token] >= p * max(row))
            if wrong := compared(subject.warp.min_p(array, p), expected, f"min_p {p} of {list(map(str, row))}"):
                return wrong
    return None


def warps_apply_in_order(subject: Subject, case: Case) -> Violation | None:
    """A Sampling is temperature, then top-k, then top-p, then min-p, each renormalised; temperature 0 is the first maximum."""
    warp = subject.warp
    logits = np.array([[float(share) for share in row] for row in rows(case)[1:]]) * 3
    options = {"temperature": 0.5, "top_k": 3, "top_p": 0.7, "min_p": 0.3}
    stepwise = warp.with_temperature(logits, 0.5)[0]
    for step, value in [(warp.top_k, 3), (warp.top_p, 0.7), (warp.min_p, 0.3)]:
        stepwise = step(stepwise, value)
    best = [float(token == int(np.flatnonzero(logits[0] == logits[0].max())[0])) for token in range(logits.shape[1])]
    for found, expected, what in [
        (warp.Sampling(**options)(logits)[0], stepwise, "Sampling"),
        (warp.Sampling(temperature=0)(logits)[0], best, "temperature 0"),
    ]:
        if wrong := compared([Fraction(float(x)) for x in found], [Fraction(float(x)) for x in expected], what):
            return wrong
    return None
