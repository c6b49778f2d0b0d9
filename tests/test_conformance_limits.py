"""An engine that never ends is cut off, told of, and the run goes on; nothing of the kit or of its caller is left half way."""

import importlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from refspec.cli.main import main
from refspec.conformance import asking, checks, kit, sampled
from refspec.conformance.adapter import ByGenerator, Case, Dialect, Run
from refspec.conformance.cases import CHECKS
from refspec.conformance.limits import TookTooLong, within
from refspec.conformance.own import Own
from refspec.conformance.python_draws import drawing_from

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm that this system does not have")
FEW = [CHECKS["length"], CHECKS["one-round-law"]]
OWN = Own()


def loops() -> NoReturn:
    while True:
        time.sleep(0.001)


def catches() -> None:
    with suppress(BaseException):
        loops()


def turns() -> None:
    try:
        loops()
    except BaseException:
        raise ValueError("bad weather") from None


def catches_some() -> None:
    for _ in range(3):
        with suppress(BaseException):
            loops()
    loops()


def endless(when: Callable[[Case], bool], how: Callable[[], None] = loops) -> ByGenerator:
    """refspec, but in some cases, and then by `how`."""

    def run(case: Case, generator: Any) -> Run:
        if when(case):
            how()
        return OWN._run(case, generator)

    return ByGenerator(run, Dialect("endless", uniforms_in="texts", draws_intercepted=True, seeds_in=True))


@pytest.mark.parametrize("how", [loops, catches, turns, catches_some])
def test_whatever_it_makes_of_the_alarm_it_is_out_of_time(how: Callable[[], None]) -> None:
    found = asking.asked(how, "length", "one token", "exact", 0.02)
    assert (found.status, found.ended) == ("errored", True)
    assert "longer than 0.02 seconds" in found.detail


@pytest.mark.parametrize("level", ["replay", "exact", "sampled"])
def test_what_never_ends_is_told_and_the_next_check_goes_on(level: str) -> None:
    first = CHECKS["length"].cases[0]
    engine = endless(lambda case: case.max_new_tokens == first.max_new_tokens and case.gamma == first.gamma)
    report = kit.conform(engine, level, budget=0.1, limit=1, checks=[CHECKS["length"], CHECKS["one-hot-drafts"]])
    broken = [each for each in report.findings if each.status == "errored"]
    assert report.code == 2
    assert {each.check for each in broken} == {"length"}
    assert "longer than 1 second" in broken[0].detail
    assert any(each.status == "conforms" for each in report.findings if each.check == "one-hot-drafts")


def test_of_a_check_that_broke_the_rest_is_not_asked() -> None:
    report = kit.conform(endless(lambda case: True), "exact", limit=0.05, checks=FEW)
    statuses = [each.status for each in report.findings if each.check == "one-round-law"]
    assert statuses == ["errored", *["skipped"] * (len(statuses) - 1)]


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.01)
    report = kit.conform(endless(lambda case: True), "exact", limit=0.05, checks=FEW)
    assert [each.status for each in report.findings].count("errored") == 1
    assert "came to nothing" in report.findings[-1].detail


def test_runs_that_were_made_before_a_case_of_the_check_broke_are_judged() -> None:
    fine, broken = CHECKS["length"].cases[:2]
    asked = 0

    def when(case: Case) -> bool:
        nonlocal asked
        asked += case.name == broken.name
        return asked > sampled.FIRST

    report = kit.conform(endless(when), "sampled", budget=1, limit=1, checks=[CHECKS["length"]])
    found = {each.case: each.status for each in report.findings}
    assert (found[fine.name], found[broken.name]) == ("conforms", "errored")


def test_the_command_names_the_case(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kit.LEVEL, "exact", lambda engine, limit: checks.conform(engine, FEW, limit))
    file = tmp_path / "endless_of_a_test.py"
    file.write_text(
        "from test_conformance_limits import endless\nengine = endless(lambda case: case.max_new_tokens == 1)\n", encoding="utf-8"
    )
    assert main(["conform", "--adapter", f"{file}:engine", "--level", "exact", "--limit", "1"]) == 2
    said = capsys.readouterr().out
    assert "errored: one token: it took longer than 1 second, and was cut off" in said
    assert f"one-round-law       {len(FEW[1].cases)} conforms" in said


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--adapter", "refspec.conformance.own:Own", "--limit", limit]) == 2
    assert "--limit is" in capsys.readouterr().err


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """An alarm of the caller's own."""
    rang: list[int] = []
    former = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(number))
    yield rang
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


def test_the_callers_alarm_is_there_again(heard: list[int]) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(TookTooLong):
        within(0.02, loops)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert within(0.02, lambda: 3) == 3
    assert not heard
    time.sleep(0.15)
    assert heard == [signal.SIGALRM]


def test_an_alarm_of_the_callers_that_comes_sooner_is_left_alone(heard: list[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    within(60, lambda: time.sleep(0.05))
    assert heard == [signal.SIGALRM]


def test_ctrl_c_is_heard() -> None:
    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        kit.conform(endless(lambda case: True, interrupted), "exact", checks=FEW)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_what_was_found_before_ctrl_c_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "interrupted_of_a_test.py"
    file.write_text(
        "import signal\nfrom test_conformance_limits import endless\n"
        "engine = endless(lambda case: case.max_new_tokens > 2, lambda: signal.raise_signal(signal.SIGINT))\n",
        encoding="utf-8",
    )
    assert main(["conform", "--adapter", f"{file}:engine", "--level", "exact"]) == 130
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == ["  one-round-law       1 conforms"]
    assert said.err == "refspec: interrupted\n"


def test_in_another_thread_there_is_no_limit() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(within(0.01, lambda: time.sleep(0.03) or 3)))  # type: ignore[func-returns-value]
    thread.start()
    thread.join()
    assert found == [3]


def test_an_alarm_leaves_no_draw_of_the_kits_behind() -> None:
    module, python = importlib.import_module("numpy.random"), importlib.import_module("random")
    before = {name: getattr(module, name) for name in dir(module)}, {name: getattr(python, name) for name in dir(python)}
    generator = np.random.default_rng(0)

    def draws() -> NoReturn:
        while True:
            with drawing_from(generator):
                pass

    for i in range(15):
        with pytest.raises(TookTooLong):
            within(0.001 + i / 15_000, draws)
    assert ({name: getattr(module, name) for name in before[0]}, {name: getattr(python, name) for name in before[1]}) == before
