"""Answers that are none: in words, as the engine's deviation where it is a text, as the adapter's fault where it is not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refspec.conformance import checks, replay, sampled
from refspec.conformance.adapter import Case, Dialect, Run, Verdict
from refspec.conformance.answers import BadAnswer, as_run, impossible
from refspec.conformance.cases import CHECKS
from refspec.conformance.expected import law_alone

CHECK, ROUNDS = CHECKS["one-round-law"], CHECKS["zero-residual"]  # of three tokens, of which two are asked for


class Gives:
    """An engine with one answer for everything."""

    def __init__(self, answer: Any, uniforms_in: str = "texts") -> None:
        self.answer = answer
        self.dialect = Dialect("gives", uniforms_in=uniforms_in, draws_intercepted=True, seeds_in=True)

    def replay(self, case: Case, uniforms: Sequence[float]) -> Any:
        return self.answer

    def answered(self, case: Case, generator: Any) -> Any:
        return self.answer

    def sampled(self, case: Case, seeds: Sequence[int]) -> Any:
        return [self.answer] * len(seeds)

    def verify(self, *_: Any) -> Any:
        return self.answer


def told(answer: Any) -> set[tuple[str, str]]:
    """Status and reason at each level."""
    levels = replay.conform, checks.conform, lambda engine, few: sampled.conform(engine, few, budget=0.01)
    found = [level(Gives(answer), [CHECK]).findings for level in levels]
    return {(each.status, each.detail) for of_level in found for each in of_level if each.status != "skipped"}


@pytest.mark.parametrize(
    ("tokens", "why"),
    [
        ((0, 17), "token 17 is no id below 3"),
        ((3, 0), "token 3 is no id below 3"),
        ((0, -1), "token -1 is no id, since they begin at 0"),
        ((0,), "it has 1 tokens, and 2 are asked for"),
        ((), "it has 0 tokens, and 2 are asked for"),
        ((0, 1, 2), "it has 3 tokens, and 2 is the most"),
    ],
)
def test_a_text_that_cannot_be_is_told_in_words(tokens: tuple[int, ...], why: str) -> None:
    for given_as in (tokens, np.array(tokens, np.int32)):
        found = told(Run(given_as, 1, 0))  # type: ignore[arg-type]
        assert {status for status, _ in found} == {"deviates"}
        assert all(why in detail for _, detail in found), found


@pytest.mark.parametrize(
    "answer",
    [
        None,
        (0, 1),
        {"tokens": [0, 1]},
        *(Run(each, 1, 0) for each in ((0, 1.0), "01", b"01", None, 7, [[0, 1]], {0: 1}, {0, 1}, (0, None), ("0", "1"))),  # type: ignore[arg-type]
        Run(np.array([0.0, 1.0]), 1, 0),  # type: ignore[arg-type]
        Run(np.array([[0, 1]]), 1, 0),  # type: ignore[arg-type]
        Run((True, False), 1, 0),
        Run(iter((0, 1)), 1, 0),  # type: ignore[arg-type]
        Run((0, 1), "1", 0),  # type: ignore[arg-type]
        Run((0, 1), 1, -1),
        Run((0, 1), 1.5, 0),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_list_of_ids_is_the_adapters_fault(answer: Any) -> None:
    found = told(answer)
    assert {status for status, _ in found} == {"errored"}
    assert all("give a" in detail or "a list of ids" in detail for _, detail in found), found
    assert all("Error" not in detail for _, detail in found), found


@pytest.mark.parametrize("answer", [None, (1, 2), Verdict(1.0, 2), Verdict(1, None), Verdict("1", 2)])  # type: ignore[arg-type]
def test_a_verdict_that_is_none(answer: Any) -> None:
    found = [each for each in replay.conform(Gives(answer, "rounds"), [ROUNDS]).findings if each.status != "skipped"]
    assert {each.status for each in found} == {"errored"}
    assert "give a Verdict" in found[0].detail


def test_a_verdict_with_a_token_that_is_no_id() -> None:
    found = [each for each in replay.conform(Gives(Verdict(0, 9), "rounds"), [ROUNDS]).findings if each.status != "skipped"]
    assert {each.status for each in found} == {"deviates"}
    assert "then 9 (no id: they are 0 to" in found[0].detail


@pytest.mark.parametrize(("runs", "why"), [([], "0 runs for 10 seeds"), ([Run((0, 1))] * 11, "more runs"), (None, "gave None")])
def test_there_is_one_run_for_each_seed(runs: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gives, "sampled", lambda self, case, seeds: runs)
    found = sampled.conform(Gives(None), [CHECK], budget=0.01).findings
    assert {each.status for each in found} == {"errored"}
    assert why in found[0].detail


@given(st.lists(st.integers(-3, 20), max_size=4))
def test_ids_are_read_as_they_are_whatever_array_they_come_in(ids: list[int]) -> None:
    each_by_itself = [np.int32(each) for each in ids], [np.array(each) for each in ids]
    forms: list[Any] = [ids, tuple(ids), np.array(ids, np.int16), *each_by_itself]
    assert {as_run(Run(each)).tokens for each in forms} == {tuple(ids)}


@given(st.lists(st.one_of(st.integers(0, 2), st.floats(), st.none(), st.text(), st.booleans(), st.lists(st.integers()))))
def test_what_is_read_is_a_list_of_whole_numbers(ids: list[Any]) -> None:
    if all(type(each) is int for each in ids):
        assert as_run(Run(tuple(ids))).tokens == tuple(ids)
    else:
        with pytest.raises(BadAnswer, match="a list of ids"):
            as_run(Run(tuple(ids)))


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: str(check.id))
def test_no_text_that_a_right_engine_gives_is_called_impossible(check: Any) -> None:
    for case in check.cases:
        assert {impossible(text, case) for text in law_alone(case)} == {""}
