"""The checkers of the course: each accepts its solution, names every known mistake, and never raises, whatever it is given."""

from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutants import ALL

import refspec
from refspec import exercises, verify
from refspec.exercises.verdicts import _guilty

TASKS = {name: each for name in exercises.__all__ if isinstance(each := getattr(exercises, name), exercises.Task)}
CHECKS = {**TASKS, **{name: getattr(exercises, name) for name in ("rule", "one_token", "drafter", "accuse")}}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_accepts_its_solution_and_names_every_known_mistake(name: str) -> None:
    task = TASKS[name]
    assert task.name == name
    assert task(task.right)
    assert len(task.wrong) >= 3
    for mistake, function in task.wrong.items():
        said = task(function)
        assert not said
        assert mistake in said.text


def test_an_equal_float_is_not_exact() -> None:
    said = exercises.acceptance(lambda p, q: float(sum(np.minimum(p, q))))
    assert not said
    assert "float" in said.text


@pytest.mark.parametrize("name", exercises.ZOO)
def test_the_rule_check_names_the_bug(name: str) -> None:
    said = exercises.rule(exercises.ZOO[name].rule)
    assert not said
    assert f"the bug {name}:" in said.text


@pytest.mark.parametrize("name", exercises.ZOO)
def test_a_bug_of_the_course_is_the_one_of_that_name_in_the_zoo(name: str) -> None:
    def texts(rule: Any) -> Any:
        drafter = refspec.ModelDrafter(exercises.TARGET)  # the two change places, since one pair could hide a difference
        return refspec.sequence_law(exercises.DRAFT, drafter, gamma=2, max_new_tokens=4, verify=rule)

    assert texts(exercises.ZOO[name].rule) == texts(ALL[name].subject.rule)


def test_the_rule_check_accepts_what_is_exact_and_keeps_the_most() -> None:
    assert exercises.rule(verify.token)
    assert exercises.rule(verify.block)
    said = exercises.rule(verify.sample_match)
    assert not said
    assert "difference 0" in said.text
    assert "too strict" in said.text


def test_a_rule_that_writes_into_its_rows_spoils_nothing() -> None:
    def greedy_writer(draft: Any, target_probs: Any, chance: Any) -> Any:
        target_probs[:] = Fraction(1, 3)
        return verify.token(draft, target_probs, chance)

    assert "read-only" in exercises.rule(greedy_writer).text
    assert exercises.rule(verify.token)


class Inverted:
    def __init__(self, chance: Any) -> None:
        self.pick = chance.pick
        self.accept = lambda p, q: chance.accept(q, p)


def one_token(accepts: Any = None, replaces: Any = verify.residual) -> Any:
    def answer(drafted: int, p: Any, q: Any, chance: Any) -> int:
        kept = accepts(p, q) if accepts else chance.accept(p[drafted], q[drafted])
        return drafted if kept else chance.pick(replaces(p, q))

    return answer


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (one_token(accepts=lambda p, q: True), "always-accepts"),
        (one_token(replaces=lambda p, q: p), "residual-is-p"),
        (lambda drafted, p, q, chance: one_token()(drafted, p, q, Inverted(chance)), "ratio-inverted"),
    ],
)
def test_the_check_of_one_token(wrong: Any, name: str) -> None:
    assert exercises.one_token(one_token())
    assert f"the bug {name}:" in exercises.one_token(wrong).text


class Greedy:
    """Takes the likeliest token, and shows what `shown` makes of the row."""

    def __init__(self, shown: Any) -> None:
        self.shown = shown

    def propose(self, tokens: Any, gamma: int, chance: Any) -> refspec.Draft:
        row = exercises.DRAFT.probs(tokens)[0]
        one_hot = np.array([Fraction(int(i == row.argmax())) for i in range(len(row))], dtype=object)
        rows = np.stack([self.shown(row, one_hot)] * min(1, gamma)) if gamma else None
        return refspec.Draft((int(row.argmax()),)[:gamma], rows)


SHOWN = (
    lambda row, one_hot: row,
    lambda row, one_hot: (row + one_hot) / 2,
    lambda row, one_hot: np.array([Fraction(1, 3)] * 3, dtype=object),
)


@pytest.mark.parametrize("shown", SHOWN)
def test_the_check_of_a_drafter_says_where_it_lies(shown: Any) -> None:
    assert exercises.drafter(Greedy(lambda row, one_hot: one_hot))
    said = exercises.drafter(Greedy(shown))
    assert not said
    assert "among those it shows it comes with 1" in said.text


def test_an_accusation() -> None:
    guilty = _guilty()
    assert sorted(guilty.values()) == sorted(exercises.ZOO)
    assert exercises.accuse(guilty)
    assert "still free" in exercises.accuse({"A": guilty["A"]}).text
    for a, b in combinations("ABC", 2):
        assert "8 of 10" in exercises.accuse({**guilty, a: guilty[b], b: guilty[a]}).text
    assert "no accusation" in exercises.accuse({"A": "nobody"}).text


JUNK = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers() | st.text(max_size=1), max_size=3)
ERRORS = st.sampled_from([ValueError("no\nline"), KeyError("x"), refspec.RefspecError("ours"), IndexError()])


@pytest.mark.parametrize("name", CHECKS)
@given(answer=JUNK, error=ERRORS)
def test_junk_is_answered_in_one_line(name: str, answer: Any, error: Exception) -> None:
    def raises(*given: Any) -> Any:
        raise error.with_traceback(None)  # one object, which would remember where it was raised in all examples before

    for each in (answer, lambda *given: answer, raises):
        said = CHECKS[name](each)
        assert isinstance(said, exercises.Report)
        assert not said or (name, answer) == ("goes_wrong", 0)  # which is its solution
        assert "\n" not in said.text
