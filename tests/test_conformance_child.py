"""An engine behind a pipe: the example in JavaScript conforms, and whatever a program does wrong ends in one line."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from refspec.cli.main import main
from refspec.conformance import replay, sampled
from refspec.conformance.adapter import EngineDied
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
        ('    if ask["op"] == "run": sys.exit("out of memory")', "ended with exit code 1: out of memory"),
        ('    if ask["op"] == "run": print("hello"); continue', "answered question 3 with 'hello"),
        ('    if ask["op"] == "run": ask["n"] = 7', "give one JSON object with its n"),
        ('    if ask["op"] == "run": answer = {"text": [0]}', "docs/conformance.md says what is expected"),
        ('    if ask["op"] == "dialect": answer = {"dialect": {"name": "toy", "colour": "red"}}', "any of batched, block"),
        ('    answer["dialect"] = {"name": "toy", "ties": "random"}', "a dialect's ties is 'random'"),
        ('    if ask["op"] == "dialect": answer = {}', "the engine's dialect is None"),
    ],
)
def test_a_broken_program_is_one_line(body: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--command", program(tmp_path, body)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_what_it_skips_and_what_it_calls_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--command", program(tmp_path, '    if ask["op"] == "run": answer = {"skipped": "no tables"}')]) == 3
    assert "skipped: no tables" in capsys.readouterr().out
    command = program(tmp_path, '    if ask["op"] == "run": answer = {"errored": "CUDA"}')
    assert main(["conform", "--command", command, "--json"]) == 2
    assert "the engine says: CUDA" in json.loads(capsys.readouterr().out)["findings"][0]["detail"]


def test_an_engine_that_hangs_is_ended(tmp_path: Path) -> None:
    child = Child(program(tmp_path, '    if ask["op"] == "run": time.sleep(60)'), timeout=0.5)
    try:
        with pytest.raises(EngineDied, match=r"no answer to 'run' in 0\.5 seconds"):
            replay.conform(child)
    finally:
        child.close()


@pytest.mark.parametrize("command", ["", "no-such-program-anywhere"])
def test_a_command_that_cannot_be_run(command: str) -> None:
    with pytest.raises(BadArgument, match="command is"):
        Child(command)
