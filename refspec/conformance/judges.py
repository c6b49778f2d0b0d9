"""What is asked of an observed law: that it is the target's, that the draft was used, that nothing impossible came.

RESOLUTION is how far, in total variation, an engine may be off by rounding alone: far above thousands of roundings of its
number type, far below the bugs that the cases show. A single rounding in a row moves it by about the type's epsilon.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from refspec.conformance.adapter import Case, Dialect
from refspec.conformance.answers import impossible
from refspec.conformance.expected import Law, law_alone, row
from refspec.decoding.lm import Tokens
from refspec.proof.exact import total_variation

RESOLUTION = {
    "float64": Fraction(1, 10**9),
    "float32": Fraction(1, 10**6),
    "float16": Fraction(1, 10**2),
    "bfloat16": Fraction(5, 10**2),
}


@dataclass(frozen=True)
class Observed:
    """An engine's law of one case: {text: probability}, and how many tokens it drafted and accepted on average (None: not said).

    >>> from fractions import Fraction
    >>> from refspec.conformance.judges import Observed
    >>> Observed({(0,): Fraction(1)}, Fraction(2), Fraction(1)).drafted
    Fraction(2, 1)
    """

    texts: Mapping[Tokens, Fraction]
    drafted: Fraction | None
    accepted: Fraction | None


@dataclass(frozen=True)
class Judgement:
    """status: conforms, deviates or vacuous. distance: total variation to the target's law. detail: in exact numbers."""

    status: str
    distance: Fraction = Fraction(0)
    detail: str = ""


def expected_law(case: Case, dialect: Dialect) -> Law:
    order = tuple(each for each in dialect.warps if each != "repetition_penalty")
    return law_alone(case, order, dialect.ties)


def law(seen: Observed, case: Case, dialect: Dialect) -> Judgement:
    """The texts have the target's law, and the draft was used: a right law without it is vacuous, and no pass."""
    expected, resolution = expected_law(case, dialect), RESOLUTION[dialect.kv_dtype]
    distance = total_variation(seen.texts, expected)
    if distance > resolution:
        return Judgement("deviates", distance, _not_a_text(seen, case) or shortest(seen.texts, expected, resolution))
    if case.max_new_tokens > 1 and not seen.drafted:
        why = "the engine does not say what it drafted" if seen.drafted is None else "the draft was never used"
        return Judgement("vacuous", distance, f"{why}, so nothing was tested")
    return Judgement("conforms", distance)


def support(seen: Observed, case: Case, dialect: Dialect) -> Judgement:
    """And nothing that cannot come came, however seldom."""
    expected = expected_law(case, dialect)
    never = sorted(text for text, weight in seen.texts.items() if weight > 0 and text not in expected)
    if not never:
        return law(seen, case, dialect)
    why = _not_a_text(seen, case) or _came(seen, never[0], _never(never[0], case, dialect))
    return Judgement("deviates", total_variation(seen.texts, expected), why)


def _never(text: Tokens, case: Case, dialect: Dialect) -> str:
    order = tuple(each for each in dialect.warps if each != "repetition_penalty")
    rows = (row(case, case.target, case.prompt + text[:i], order, dialect.ties) for i in range(len(text)))
    i = next(i for i, (token, weights) in enumerate(zip(text, rows, strict=True)) if not weights[token])
    return f"after {text[:i]} the token {text[i]} has probability 0"


def _not_a_text(seen: Observed, case: Case) -> str:
    """Of what is no text of this case, whatever the rows, the first."""
    found = ((text, impossible(text, case)) for text in sorted(seen.texts) if seen.texts[text] > 0)
    return next((_came(seen, text, why) for text, why in found if why), "")


def _came(seen: Observed, text: Tokens, why: str) -> str:
    return f"the text {text} comes with probability {said(seen.texts[text])}, and cannot: {why}"


def length(seen: Observed, case: Case, dialect: Dialect) -> Judgement:
    """And no text, however seldom, is too long."""
    if all(len(text) <= case.max_new_tokens for text in seen.texts):
        return law(seen, case, dialect)
    return Judgement("deviates", total_variation(seen.texts, expected_law(case, dialect)), _not_a_text(seen, case))


def acceptance(seen: Observed, case: Case, dialect: Dialect) -> Judgement:
    """The law, and accepted / drafted beside sum min(p, q), which no exact rule exceeds where one token is drafted a round."""
    judged = law(seen, case, dialect)
    if judged.status != "conforms" or seen.accepted is None:
        return judged
    assert seen.drafted is not None  # or it were vacuous
    best = sum(map(min, row(case, case.target, case.prompt), row(case, case.draft, case.prompt)))
    rate = seen.accepted / seen.drafted
    if rate > best + RESOLUTION[dialect.kv_dtype]:
        return Judgement("deviates", judged.distance, f"it says that {said(rate)} of drafts were accepted; {best} is the most")
    slow = best - rate > RESOLUTION[dialect.kv_dtype]
    return Judgement("conforms", judged.distance, f"slow: keeps {said(rate)} of drafts where {best} could be" if slow else "")


def alive(seen: Observed, case: Case, dialect: Dialect) -> Judgement:
    """Every token is certain for target and draft alike, so that drafts of more than one round are accepted, if they are made."""
    judged = law(seen, case, dialect)
    if judged.status == "conforms" and seen.accepted is not None and seen.accepted <= case.gamma:
        return Judgement(
            "vacuous",
            judged.distance,
            f"of {case.max_new_tokens} certain tokens {said(seen.accepted)} were accepted from the draft: it died on the way",
        )
    return judged


JUDGES: Mapping[str, Callable[[Observed, Case, Dialect], Judgement]] = {
    each.__name__: each for each in (law, support, length, acceptance, alive)
}


def shortest(observed: Mapping[Tokens, Fraction], expected: Mapping[Tokens, Fraction], resolution: Fraction) -> str:
    """The shortest beginning of a text whose probability is wrong, and of equally short ones the one that is furthest off."""
    for n in range(max(map(len, (*observed, *expected))) + 1):
        ours, theirs = beginnings(expected, n), beginnings(observed, n)
        texts = sorted(ours.keys() | theirs.keys())
        worst = max(texts, key=lambda text: abs(ours[text] - theirs[text]))
        if abs(ours[worst] - theirs[worst]) * 2 > resolution / len(texts):
            return f"P(text begins with {worst}) is {said(theirs[worst])} and should be {said(ours[worst])}"
    return ""


def beginnings(laws: Mapping[Tokens, Fraction], n: int) -> defaultdict[Tokens, Fraction]:
    """The law of the first n tokens of a text, or of all of a shorter one."""
    found: defaultdict[Tokens, Fraction] = defaultdict(Fraction)
    for text, weight in laws.items():
        found[text[:n]] += weight
    return found


def said(number: Fraction) -> str:
    """A fraction as it is where that is short, else to nine digits.

    >>> from fractions import Fraction
    >>> from refspec.conformance.judges import said
    >>> said(Fraction(1, 8)), said(Fraction(0.1))
    ('1/8', '0.1')
    """
    return str(number) if len(str(number)) <= 12 else f"{float(number):.9g}"
