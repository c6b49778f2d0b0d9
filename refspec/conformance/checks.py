"""The exact level: an engine's law of each case, with its draws answered along every branch, held against the target's alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

from refspec.conformance.adapter import PLAIN, Answered, Case, Dialect, Engine, Run, Skip
from refspec.conformance.answered import answered_law
from refspec.conformance.answers import as_run
from refspec.conformance.asking import Asking, shown
from refspec.conformance.cases import CHECKS, Check
from refspec.conformance.expected import ORDER, tied
from refspec.conformance.findings import Finding, Report, gathered
from refspec.conformance.judges import JUDGES, Observed
from refspec.conformance.limits import LIMIT, TookTooLong, within
from refspec.conformance.rounds import round_by_round
from refspec.decoding.lm import Tokens


def conform(engine: Engine, checks: Iterable[Check] = CHECKS.values(), limit: float | None = LIMIT) -> Report:
    """What each case of each check showed, at the exact level. limit: seconds for a case; None: it may take any time.

    >>> from refspec import verify
    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.own import Own
    >>> conform(Own(rule=verify.inexact_typical()), [CHECKS["one-round-law"]]).findings[0].detail
    'P(text begins with (1,)) is 1/8 and should be 1/2'
    """
    asking = Asking(limit, engine)
    every = [(check, case) for check in checks for case in check.cases]
    coming = shown(every, lambda each: f"{each[0].id}/{each[1].name}")
    return gathered(engine.dialect, "exact", (check_case(engine, check, case, asking) for check, case in coming))


def check_case(engine: Engine, check: Check, case: Case, asking: Asking | None = None) -> Finding:
    """One case. Whatever the engine raises is told in the finding.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import check_case
    >>> from refspec.conformance.own import Own
    >>> check_case(Own(), CHECKS["length"], CHECKS["length"].cases[0]).status
    'conforms'
    """

    def ask() -> Any:
        require(case, engine.dialect)
        return observed(cast(Answered, engine), case, merges=check.judge != "alive")

    seen = (asking or Asking())(ask, check.id, case.name, "exact")
    if isinstance(seen, Finding):
        return seen
    judged = JUDGES[check.judge](seen, case, engine.dialect)
    return Finding(check.id, case.name, "exact", judged.status, judged.distance, judged.detail, seen)


def require(case: Case, dialect: Dialect) -> None:
    """Raises Skip for a case that the dialect rules out."""
    options = case.sampling
    asked = [each for each in ORDER if getattr(options, each) != getattr(PLAIN, each)]
    asked += ["repetition_penalty"] * (case.repetition_penalty != 1)
    reasons = {
        f"it does not take {', '.join(each for each in asked if each not in dialect.warps)}": set(asked) <= set(dialect.warps),
        "it leaves open which of equal logits it takes": dialect.ties != "open" or "temperature" not in tied(case),
        "its top-k may drop what ties with the k-th": dialect.top_k_ties or "top_k" not in tied(case),
        "it decodes one text at a time": dialect.batched or not case.batch,
        "its rows have no padding": dialect.padded or case.size == case.target.vocab_size,
        "it takes no stop tokens": dialect.stops or not case.stop,
        "it takes no longer prompt": dialect.prompts or len(case.prompt) == 1,
        "it is lossy by its own account": not dialect.lossy,
        "it takes no tables": dialect.tables or case.folders is not None,
    }
    for reason, fits in reasons.items():
        if not fits:
            raise Skip(reason)


def observed(engine: Answered, case: Case, merges: bool = True) -> Observed:
    """The engine's exact law of a case. Long texts merge after each round (`rounds.py`), but where the last ones are asked about.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import observed
    >>> from refspec.conformance.own import Own
    >>> observed(Own(), CHECKS["one-round-law"].cases[0]).accepted
    Fraction(5, 8)
    """
    if not (merges and case.max_new_tokens >= engine.dialect.merge_from):
        return _summed(answered_law(lambda generator: as_run(engine.answered(case, generator))).items())
    if not engine.dialect.round_by_round:
        raise Skip("it does not say when a round has ended, and this text has too many branches")
    return round_by_round(engine, case)


def _summed(weighed: Iterable[tuple[Run, Fraction]]) -> Observed:
    texts: defaultdict[Tokens, Fraction] = defaultdict(Fraction)
    drafted: Fraction | None = Fraction(0)
    accepted: Fraction | None = Fraction(0)
    for run, weight in weighed:
        texts[run.tokens] += weight
        drafted = None if drafted is None or run.drafted is None else drafted + weight * run.drafted
        accepted = None if accepted is None or run.accepted is None else accepted + weight * run.accepted
    return Observed(dict(texts), drafted, accepted)


def smaller(engine: Engine, check: Check, case: Case, limit: float | None = None) -> Case:
    """The same tables with the fewest new tokens, and then drafted ones, that still deviate. limit: seconds for all of them.

    >>> from refspec.conformance.bugs import BUGS
    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import smaller
    >>> check = CHECKS["multi-round-law"]
    >>> smaller(BUGS["ratio-inverted"].engine, check, check.cases[0]).max_new_tokens
    2
    """

    def found() -> Case:
        for less in _less(case):
            try:
                if JUDGES[check.judge](observed(cast(Answered, engine), less), less, engine.dialect).status == "deviates":
                    return less
            except (Exception, SystemExit):  # an engine may break where it is not asked to work
                continue
        return case

    try:
        return within(limit, found)
    except TookTooLong:  # nor end
        return case


def _less(case: Case) -> Iterator[Case]:
    for n in range(1, case.max_new_tokens + 1):
        for gamma in range(1, case.gamma + 1):
            if (n, gamma) != (case.max_new_tokens, case.gamma):
                yield replace(case, max_new_tokens=n, gamma=gamma)
