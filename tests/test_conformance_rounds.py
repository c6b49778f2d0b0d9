"""Round by round: equal texts are followed once, and the law is the one that all branches have together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refspec.conformance.adapter import ByGenerator, Case, Dialect, Run, round_ended
from refspec.conformance.answered import AnsweredGenerator, answered_law
from refspec.conformance.bugs import BUGS
from refspec.conformance.cases import CHECKS, table
from refspec.conformance.checks import check_case, observed
from refspec.conformance.own import Own
from refspec.conformance.rounds import round_by_round
from refspec.decoding import verify
from refspec.decoding.round import Round
from refspec.errors import BadArgument

EIGHTHS = st.sampled_from(["26", "35", "44", "71", "08"])
PENALISED = CHECKS["processors"].cases[1]


def whole(engine: Any, case: Case) -> Any:
    return observed(engine, case, merges=False)


@settings(max_examples=20)
@given(
    EIGHTHS,
    EIGHTHS,
    EIGHTHS,
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([(), (1,)]),
    st.sampled_from(["token", "block"]),
)
def test_the_law_is_that_of_all_branches(p: str, q: str, r: str, gamma: int, n: int, stop: tuple[int, ...], rule: str) -> None:
    case = Case("any", table({(): p, (0,): r}), table({(): q}), gamma, n, (1,), stop=stop)
    engine = Own(rule=verify.EXACT[rule])
    assert round_by_round(engine, case) == whole(engine, case)


@pytest.mark.parametrize("name", ["ratio-inverted", "processors-miss-the-prompt", "bonus-from-wrong-row"])
def test_so_it_is_of_engines_that_are_wrong(name: str) -> None:
    engine = BUGS[name].engine
    assert round_by_round(engine, PENALISED) == whole(engine, PENALISED)
    assert observed(engine, PENALISED).texts != observed(Own(), PENALISED).texts


def test_an_engine_is_not_begun_anew_in_the_middle() -> None:
    """From the third round of a text on it forgets all but the prompt. Begun anew for each round, it would be right."""

    def forgets(case: Case, generator: Any) -> Run:
        made: list[Round] = []
        text: tuple[int, ...] = ()
        while len(text) < case.max_new_tokens:
            context = case.prompt + (text if len(made) < 2 else ())
            here = replace(case, prompt=context, max_new_tokens=case.max_new_tokens - len(text))
            made.append(next(iter(Own()._coming(here, generator))))
            text += made[-1].tokens
            so_far = Run(text, sum(each.drafted for each in made), sum(each.accepted for each in made))
            round_ended(generator, so_far)
        return so_far

    engine = ByGenerator(forgets, Dialect("forgets", draws_intercepted=True, round_by_round=True))
    check = CHECKS["multi-round-law"]
    many = next(case for case in check.cases if case.name == "many rounds")
    assert many.max_new_tokens >= engine.dialect.merge_from
    assert check_case(engine, check, many).status == "deviates"


def test_an_engine_may_not_carry_something_over_from_run_to_run() -> None:
    seen: list[int] = []

    def counts(generator: Any) -> int:
        seen.append(1)
        return int(generator.choice(2)) if len(seen) % 2 else 1

    with pytest.raises(BadArgument, match="carries something over from run to run"):
        answered_law(counts)


def test_of_a_real_generator_a_round_asks_nothing() -> None:
    case = replace(CHECKS["one-round-law"].cases[0])
    drawn = Own().sampled(case, [0, 1])
    assert all(len(run.tokens) == case.max_new_tokens for run in drawn)
    round_ended(np.random.default_rng(0), Run(()))
    round_ended(AnsweredGenerator(None), Run(()))  # type: ignore[arg-type]
