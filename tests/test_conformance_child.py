"""An engine behind a pipe: the example in JavaScript conforms, and whatever a program does wrong ends in one line."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from refspec.cli.main import main
from refspec.conformance import process, replay, sampled
from refspec.conformance.asking import asked
from refspec.conformance.cases import CHECKS
from refspec.conformance.child import Child
from refspec.errors import BadArgument

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "engine.mjs"
node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


@node
def test_the_example_conforms() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 60
    child = Child(["node", str(EXAMPLE)])
    try:
        report = replay.conform(child)
        assert {each.id: each.detail for each in report.findings if each.status not in ("conforms", "skipped")} == {}
        assert sum(each.status == "conforms" for each in report.findings) > 90
        assert sampled.conform(child, [CHECKS["multi-round-law"]], budget=1).code == 0
    finally:
        child.close()


@node
def test_a_bug_in_it_is_found_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "engine.mjs"
    source = EXAMPLE.read_text(encoding="utf-8")
    right = "next = pick(uniform(), left.some((w) => w > 0) ? left : p);"
    assert right in source
    wrong.write_text(source.replace(right, "next = pick(uniform(), p);"), encoding="utf-8")
    assert main(["conform", "--command", f"node {wrong}"]) == 1
    assert "it equals residual-is-p" in capsys.readouterr().out


ANSWERS = """
import json, sys, time
for line in sys.stdin:
    ask = json.loads(line)
    {body}
    print(json.dumps({{"n": ask["n"], **answer}}), flush=True)
"""
HELLO = """
    answer = {"dialect": {"name": "toy", "uniforms_in": "texts"}} if ask["op"] == "dialect" else {}
    if ask["op"] == "stop": break
"""


def program(tmp_path: Path, body: str) -> str:
    file = tmp_path / "engine.py"
    file.write_text(ANSWERS.format(body="pass" + HELLO + body), encoding="utf-8")
    return f"{sys.executable} {file}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('    if ask["op"] == "dialect": answer = {"dialect": {"name": "toy", "colour": "red"}}', "any of batched, block"),
        ('    answer["dialect"] = {"name": "toy", "ties": "random"}', "a dialect's ties is 'random'"),
        ('    if ask["op"] == "dialect": answer = {}', "the engine's dialect is None"),
        ('    print("Error: no weights", "Runtime v20", sep="\\n", file=sys.stderr); sys.exit(1)', "code 1: Error: no weights"),
    ],
)
def test_a_program_that_cannot_begin_is_one_line(
    body: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conform", "--command", program(tmp_path, body)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('sys.exit("out of memory")', "the engine ended with exit code 1: out of memory"),
        ('print("hello"); continue', "the engine answered question 3 with 'hello"),
        ('ask["n"] = 7', "give one JSON object with its n"),
        ('answer = {"text": [0]}', "docs/conformance.md says what is expected"),
        ('answer = {"tokens": [0, 1.5]}', "the engine's text has 1.5 at place 1"),
        ('answer = {"tokens": [0], "drafted": "1"}', "gave '1' for drafted"),
        ("__import__('os').close(1); time.sleep(60)", "closed its standard output"),
    ],
)
def test_what_breaks_in_one_check_is_told_there_and_the_next_one_goes_on(
    body: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE", 0.1)
    broken, fine = CHECKS["one-round-law"], CHECKS["multi-round-law"]
    names = {each["id"] for check, each in replay.vectors().values() if check == broken.id}
    breaks = f'    answer["tokens"] = [0]\n    if ask["op"] == "run" and ask["case"]["name"] in {names}: {body}'
    child = Child(program(tmp_path, breaks))
    try:
        report = replay.conform(child, [broken, fine])
    finally:
        child.close()
    statuses = {check.id: [each.status for each in report.findings if each.check == check.id] for check in (broken, fine)}
    assert message in report.findings[0].detail
    assert report.code == 2
    assert statuses[broken.id][0] == "errored"
    assert "errored" not in statuses[fine.id]


def test_what_it_skips_and_what_it_calls_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--command", program(tmp_path, '    if ask["op"] == "run": answer = {"skipped": "no tables"}')]) == 3
    assert "skipped: no tables" in capsys.readouterr().out
    command = program(tmp_path, '    if ask["op"] == "run": answer = {"errored": "CUDA"}')
    assert main(["conform", "--command", command, "--json"]) == 2
    assert "the engine says: CUDA" in json.loads(capsys.readouterr().out)["findings"][0]["detail"]


@pytest.mark.parametrize("by", ["alarm", "timeout"])
def test_a_program_that_hangs_is_ended_and_begun_anew(by: str, tmp_path: Path) -> None:
    hanging, fine = CHECKS["length"].cases[:2]
    body = f'    if ask["op"] == "run" and ask["case"]["name"] == {hanging.name!r}: time.sleep(60)\n    answer["tokens"] = [0]'
    child = Child(program(tmp_path, body), timeout=0.5 if by == "timeout" else 60)
    try:
        first = child._process
        found = asked(lambda: child.replay(hanging, []), "length", hanging.name, "replay", 0.5 if by == "alarm" else None)
        assert (found.status, found.ended) == ("errored", True)
        assert "0.5 seconds" in found.detail
        child._timeout = 60
        assert child.replay(fine, []).tokens == [0]
        assert child._process is not first
    finally:
        child.close()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc, to see what runs")
def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    command = program(tmp_path, f'    open({str(tmp_path / "pid")!r}, "w").write(str(__import__("os").getpid()))')
    (tmp_path / "run.sh").write_text(f"{command}\ntrue\n", encoding="utf-8")
    child = Child(["sh", str(tmp_path / "run.sh")])
    child._end()
    started = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not _runs(started):
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def _runs(pid: int) -> bool:
    """A process that ended and that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("command", ["", "no-such-program-anywhere"])
def test_a_command_that_cannot_be_run(command: str) -> None:
    with pytest.raises(BadArgument, match="command is"):
        Child(command)
