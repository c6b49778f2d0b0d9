"""The exact level: an engine's law on small tables, held against that of the target alone.

The rows are multiples of 1/8 and so exact in float64. An engine may round on its own account: laws further apart than
RESOLUTION, in total variation, deviate. Thousands of float64 roundings stay below it; the bugs of the zoo that these cases
show are 1e-6 or more away.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, takewhile

from refspec.conformance.adapter import Case, Engine, Run
from refspec.conformance.answered import answered_law
from refspec.decoding.autoregressive import autoregressive
from refspec.decoding.lm import TableLM, Tokens
from refspec.proof.exact import law, total_variation

RESOLUTION = Fraction(1, 10**9)


def _table(rows: Mapping[Tokens, str]) -> TableLM:
    return TableLM({context: [int(eighths) / 8 for eighths in row] for context, row in rows.items()})


# Rows in eighths, "143" for [1/8, 4/8, 3/8].
_TARGET = _table({(): "143", (0,): "521", (1,): "224"})
_DRAFT = _table({(): "422", (0,): "251", (2,): "116"})
CASES = (
    Case("first round", _TARGET, _DRAFT, gamma=1, max_new_tokens=2),
    Case("several rounds", _TARGET, _DRAFT, gamma=2, max_new_tokens=3),
    Case("after a prompt", _TARGET, _DRAFT, gamma=2, max_new_tokens=3, prompt=(1, 0)),
    Case("a likely draft first", _table({(): "143", (1,): "503"}), _table({(): "152"}), gamma=2, max_new_tokens=3),
    Case("support", _table({(): "044", (1,): "602"}), _DRAFT, gamma=2, max_new_tokens=3),
    Case("one-hot draft", _TARGET, _table({(): "800", (0,): "080"}), gamma=2, max_new_tokens=3),
    Case("equal draft", _TARGET, _TARGET, gamma=2, max_new_tokens=3),
    Case("greedy", _table({(): "080", (1,): "008"}), _DRAFT, gamma=2, max_new_tokens=3),
    Case("stop token", _TARGET, _DRAFT, gamma=2, max_new_tokens=3, stop=(1,)),
)


@dataclass(frozen=True)
class Finding:
    """What a case showed: `conforms`, `deviates`, or `vacuous` where nothing was drafted, so that nothing was tested.

    distance: total variation to the target's own law. detail: the smallest case, in exact numbers.

    >>> from fractions import Fraction
    >>> from refspec.conformance.checks import Finding
    >>> Finding("support", "conforms", Fraction(0), "").status
    'conforms'
    """

    case: str
    status: str
    distance: Fraction
    detail: str


def check(engine: Engine, case: Case) -> Finding:
    """The engine's exact law of one case against the target's.

    >>> from refspec import verify
    >>> from refspec.conformance.checks import CASES, check
    >>> from refspec.conformance.own import Own
    >>> check(Own(rule=verify.inexact_typical()), CASES[0]).detail
    'P(text begins with (0,)) is 1/2 and should be 1/8'
    """
    ran: dict[Run, Fraction] = answered_law(lambda generator: engine(case, generator))
    observed: defaultdict[Tokens, Fraction] = defaultdict(Fraction)
    for run, weight in ran.items():
        observed[tuple(map(int, run.tokens))] += weight
    expected = law_alone(case)
    distance = total_variation(observed, expected)
    if distance > RESOLUTION:
        return Finding(case.name, "deviates", distance, _smallest(observed, expected))
    if not any(run.drafted for run in ran):
        return Finding(case.name, "vacuous", distance, "the draft was never used, so nothing was tested")
    return Finding(case.name, "conforms", distance, "")


def conform(engine: Engine) -> tuple[Finding, ...]:
    """What each of CASES showed.

    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.own import Own
    >>> len(conform(Own()))
    9
    """
    return tuple(check(engine, case) for case in CASES)


def law_alone(case: Case) -> dict[Tokens, Fraction]:
    """{tokens: probability} of the target without a draft, exactly.

    >>> from refspec.conformance.checks import CASES, law_alone
    >>> law_alone(CASES[0])[0, 0]
    Fraction(5, 64)
    """
    size = case.target.vocab_size
    contexts = [(), *((token,) for token in range(size))]
    exact = TableLM({context: [Fraction(float(p)) for p in case.target.probs(context)[0]] for context in contexts})
    return law(
        lambda chance: autoregressive(exact, case.prompt, chance=chance, max_new_tokens=case.max_new_tokens, stop=case.stop)
    )


def _smallest(observed: Mapping[Tokens, Fraction], expected: Mapping[Tokens, Fraction]) -> str:
    """The shortest beginning of a text whose probability is wrong, in exact numbers."""
    for length in takewhile(lambda n: n <= max(map(len, (*observed, *expected))), count()):
        ours, theirs = _beginnings(expected, length), _beginnings(observed, length)
        for text in sorted(ours.keys() | theirs.keys()):
            if abs(ours[text] - theirs[text]) * 2 > RESOLUTION / len(ours.keys() | theirs.keys()):
                return f"P(text begins with {text}) is {theirs[text]} and should be {ours[text]}"
    return ""


def _beginnings(laws: Mapping[Tokens, Fraction], length: int) -> defaultdict[Tokens, Fraction]:
    found: defaultdict[Tokens, Fraction] = defaultdict(Fraction)
    for text, weight in laws.items():
        found[text[:length]] += weight
    return found
