"""The vectors: their answers are the enumerator's, refspec gives them, and each bug that they name does not."""

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from refspec.conformance import enumerator, replay, vectors
from refspec.conformance.adapter import Run
from refspec.conformance.bugs import BUGS
from refspec.conformance.cases import CHECKS
from refspec.conformance.diagnosis import diagnosed
from refspec.conformance.enumerator import one_round, text
from refspec.conformance.findings import Report
from refspec.conformance.own import Own, OwnKernel

FILES = sorted(replay.FOLDER.glob("*.json"))


def test_every_check_has_a_file_but_that_of_batches() -> None:
    assert {path.stem for path in FILES} == CHECKS.keys() - {"ragged-batch", "same-seed"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_answers_are_the_enumerators(path: Path) -> None:
    held = json.loads(path.read_text(encoding="utf-8"))
    assert held["schema"] == vectors.SCHEMA
    assert held["rules"] == list(CHECKS[held["check"]].rules)
    for vector in held["vectors"]:
        assert vector["id"] == vectors.named(held["check"], vector)
        if vector["kind"] == "text":
            right = text(replay.case_of(vector), [Fraction(float.fromhex(u)) for u in vector["uniforms"]])
            assert (list(right.tokens), right.draws) == (vector["tokens"], vector["draws"])
        else:
            q, p = (
                [tuple(Fraction(float.fromhex(w)) for w in row) for row in vector[name]]
                for name in ("draft_probs", "target_probs")
            )
            tests = (Fraction(float.fromhex(u)) for u in vector["accept"])
            last = iter([Fraction(float.fromhex(vector["pick"]))])
            assert one_round(tuple(vector["drafted"]), q, p, tests, last)[:2] == (vector["accepted"], vector["token"])


def moved(vector: replay.Vector, by: Fraction) -> Iterator[replay.Vector]:
    """The vector with one of its uniforms moved, each in turn and either way."""
    for key in ("uniforms", "accept", "pick"):
        held = vector.get(key, [])
        for i, u in enumerate([held] if isinstance(held, str) else held):
            for each in (float.fromhex(u) - by, float.fromhex(u) + by):
                if 0 <= each < 1:
                    said = float(each).hex()
                    yield {**vector, key: said if key == "pick" else [*held[:i], said, *held[i + 1 :]]}


def enumerated(vector: replay.Vector) -> list[int]:
    if vector["kind"] == "text":
        return list(text(replay.case_of(vector), [Fraction(float.fromhex(u)) for u in vector["uniforms"]]).tokens)
    q, p = ([tuple(Fraction(float.fromhex(w)) for w in row) for row in vector[name]] for name in ("draft_probs", "target_probs"))
    tests = (Fraction(float.fromhex(u)) for u in vector["accept"])
    return list(one_round(tuple(vector["drafted"]), q, p, tests, iter([Fraction(float.fromhex(vector["pick"]))]))[:2])


@pytest.mark.parametrize("check", sorted(CHECKS.keys() - {"ragged-batch", "uniform-boundaries", "same-seed"}))
def test_no_answer_hangs_on_a_rounding(check: str) -> None:
    """Whether an engine compares with `<` or `<=`, and however it rounds, it is not called wrong."""
    for vector in (each for of, each in replay.vectors().values() if of == check):
        text_or_round = vector["tokens"] if vector["kind"] == "text" else [vector["accepted"], vector["token"]]
        right = [text_or_round, *vector.get("also", [])]
        # the largest float32 below one cannot be moved further: what is left over there is a few ulps wide
        by = vectors.MARGIN if vector["result"] == "valid" else Fraction(1, 2**24)
        assert all(enumerated(each) in right for each in moved(vector, by)), vector["id"]


def accepts_at_most(u: Fraction, p: Fraction, q: Fraction) -> bool:
    return p > 0 and u * q <= p


def pick_before(u: Fraction, weights: Sequence[Fraction]) -> int:
    level = u * sum(weights)
    return next(i for i, weight in enumerate(weights) if weight and sum(weights[: i + 1]) >= level)


@pytest.mark.parametrize(
    ("accepts", "pick"), list(product((enumerator.accepts, accepts_at_most), (enumerator.pick, pick_before)))
)
def test_no_convention_about_boundaries_is_called_wrong(accepts: Any, pick: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SPEC.md leaves open: whether a test passes at u = p / q, and which side of a step of the cumulative sum is picked."""
    monkeypatch.setattr(enumerator, "accepts", accepts)
    monkeypatch.setattr(enumerator, "pick", pick)
    for _, vector in replay.vectors().values():
        text_or_round = vector["tokens"] if vector["kind"] == "text" else [vector["accepted"], vector["token"]]
        assert enumerated(vector) in [text_or_round, *vector.get("also", [])], vector["id"]


@pytest.mark.nightly
def test_the_files_are_what_the_command_writes(tmp_path: Path) -> None:
    vectors.write(tmp_path)
    assert {path.name: path.read_text() for path in FILES} == {path.name: path.read_text() for path in tmp_path.iterdir()}


def test_refspec_gives_every_answer() -> None:
    for engine in (Own(), OwnKernel()):
        report = replay.conform(engine)
        assert {each.id: each.detail for each in report.findings if each.status not in ("conforms", "skipped")} == {}
    assert len(replay.vectors()) > 100


def test_ids_are_not_used_twice() -> None:
    ids = [vector["id"] for path in FILES for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", BUGS)
def test_every_bug_fails_the_vectors_that_name_it(name: str) -> None:
    named = [(check, each) for check, each in replay.vectors().values() if name in each["kills"]]
    assert named, "no vector tells this bug from the rules"
    for _, vector in named[:5]:
        engine = BUGS[name].engine if vector["kind"] == "text" else OwnKernel(BUGS[name].engine)
        assert replay._found(engine, "", vector).status in ("deviates", "errored")  # a broken text is no pass either


@pytest.mark.parametrize("name", ["always-accepts", "pick-at-the-boundary", "processors-miss-the-prompt", "bonus-forgotten"])
def test_a_bug_is_diagnosed_by_its_own_name(name: str) -> None:
    report = replay.conform(BUGS[name].engine)
    assert report.code in (1, 2)
    assert name in diagnosed(Report(report.dialect, "replay", report.findings)).equal


def test_a_kernel_that_draws_the_token_by_itself_is_asked_for_a_possible_one() -> None:
    class Tests(OwnKernel):
        def __init__(self) -> None:
            super().__init__()
            object.__setattr__(self.dialect, "uniforms_in", "tests")

    assert replay.conform(Tests()).code == 0


def test_a_right_text_of_one_draw_more_is_no_known_bug() -> None:
    engine, whole = Own(), Own().replay

    def one_more(case: Any, uniforms: Any) -> Any:
        run = whole(case, uniforms)
        return Run(run.tokens, run.drafted, run.accepted, len(uniforms))

    engine.replay = one_more  # type: ignore[method-assign]
    report = replay.conform(engine)
    assert report.code == 1
    assert diagnosed(report).equal == ()
