"""`refspec conform`: what it prints, its exit codes, known deviations, and the names of adapters."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refspec.cli.main import main
from refspec.conformance import checks, kit
from refspec.conformance.adapter import Dialect
from refspec.conformance.cases import CHECKS
from refspec.conformance.findings import Finding, Report
from refspec.conformance.own import Own
from refspec.conformance.telling import as_junit
from refspec.errors import BadArgument


@pytest.fixture(autouse=True)
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to see what is printed; `test_conformance.py` runs them all."""
    few = [CHECKS["one-round-law"], CHECKS["ragged-batch"]]
    monkeypatch.setitem(kit.LEVEL, "exact", lambda engine, limit: checks.conform(engine, few, limit))


ENGINES = """
from refspec.conformance.adapter import ByGenerator, Dialect, Run
from refspec.conformance.bugs import BUGS
from refspec.conformance.own import Own

right = Own()
wrong = BUGS["always-accepts"].engine
mute = ByGenerator(None, Dialect("mute"))

def breaks(case, generator):
    raise RuntimeError("out of memory")

def quits(case, generator):
    raise SystemExit(0)

def prints(case, generator):
    print("drafting")
    return right._run(case, generator)

class NoMethod:
    dialect = Dialect("no method", draws_intercepted=True)

class NoDialect:
    dialect = {"name": "mine"}

no_method, no_dialect = NoMethod(), NoDialect()
talks = ByGenerator(prints, Dialect("talks", draws_intercepted=True))
broken = ByGenerator(breaks, Dialect("broken", "1.2", draws_intercepted=True))
quitter = ByGenerator(quits, Dialect("quitter", draws_intercepted=True))
lossy = ByGenerator(breaks, Dialect("lossy", draws_intercepted=True, lossy=True))
number = 3
"""


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "engines_of_a_test.py"
    file.write_text(ENGINES, encoding="utf-8")
    return file


def test_an_adapter_that_exits_is_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    with pytest.raises(BadArgument, match="cannot be made"):
        kit.engine_of(f"{tmp_path / 'exits.py'}:engine")


def test_an_adapter_may_import_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "engine_beside_it.py").write_text(ENGINES, encoding="utf-8")
    (tmp_path / "adapter_of_a_test.py").write_text("from engine_beside_it import wrong as engine\n", encoding="utf-8")
    assert kit.engine_of(f"{tmp_path / 'adapter_of_a_test.py'}:engine").dialect.name == "always-accepts"


@pytest.mark.parametrize(("name", "code"), [("right", 0), ("wrong", 1), ("broken", 2), ("quitter", 2), ("lossy", 3)])
def test_exit_codes(name: str, code: int, engines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--adapter", f"{engines}:{name}", "--level", "exact"]) == code
    said = capsys.readouterr()
    assert "exact level" in said.out
    assert "Traceback" not in said.out + said.err


def test_a_failure_shows_the_smallest_case_and_the_bug(engines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--adapter", f"{engines}:wrong", "--level", "exact"]) == 1
    said = capsys.readouterr().out
    assert "prompt (2,), gamma 1, 2 new tokens" in said
    assert "target after anything else: 1/8 1/2 3/8" in said
    assert "it equals always-accepts: every drafted token passes" in said


def test_json_and_junit(engines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml = tmp_path / "found.xml"
    main(["conform", "--adapter", f"{engines}:wrong", "--level", "exact", "--json", "--junit", str(xml)])
    told = json.loads(capsys.readouterr().out)
    assert (told["code"], told["level"]) == (1, "exact")
    assert "always-accepts" in told["diagnosis"]["equal"]
    assert told["findings"][0]["id"] == "one-round-law/one draft"
    assert xml.read_text(encoding="utf-8").count("<failure") == 1


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("nowhere", "give MODULE:NAME"),
        ("no_such_module:engine", "needs the module no_such_module"),
        ("no_such_file.py:engine", "there is no such file"),
        ("{file}:rigth", "did you mean right?"),
        ("{file}:number", "without a dialect"),
        ("{file}:mute", "allows no"),
        ("{file}:no_method", "NoMethod without answered(), which the exact level asks for"),
        ("{file}:no_dialect", "whose dialect is {'name': 'mine'}"),
    ],
)
def test_a_wrong_adapter_is_one_line(adapter: str, message: str, engines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--adapter", adapter.format(file=engines)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_what_breaks_names_the_place_once(
    engines: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [CHECKS["support"]]
    monkeypatch.setitem(kit.LEVEL, "exact", lambda engine, limit: checks.conform(engine, few, limit))
    assert main(["conform", "--adapter", f"{engines}:broken", "--level", "exact"]) == 2
    said = [line for line in capsys.readouterr().out.splitlines() if "errored:" in line]
    line = ENGINES.splitlines().index('    raise RuntimeError("out of memory")') + 1
    assert said == [
        f"      errored: one draft, two drafts and 1 more: RuntimeError: out of memory (engines_of_a_test.py, line {line})"
    ]


def test_what_an_engine_prints_is_no_part_of_the_report(engines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--adapter", f"{engines}:talks", "--level", "exact", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["code"] == 0
    assert "drafting" in said.err


@pytest.mark.parametrize("values", [{"name": 7}, {"version": 1.2}, {"seeds_in": 1}, {"warps": []}, {"merge_from": "5"}])
def test_a_dialect_of_the_wrong_types_is_refused(values: Any) -> None:
    with pytest.raises(BadArgument, match=r"it is a (str|bool|tuple|int)"):
        Dialect(**{"name": "mine", **values})


def test_no_engine_can_change_the_rows() -> None:
    with pytest.raises(ValueError, match="read-only"):
        CHECKS["one-round-law"].cases[0].target.by_context[()][0] = 1


def known(tmp_path: Path, **changes: Any) -> str:
    file = tmp_path / "known.json"
    entry = {"id": "one-round-law", "versions": "*", "link": "https://example.org/1", "reason": "known"} | changes
    file.write_text(json.dumps([entry]), encoding="utf-8")
    return str(file)


def test_a_known_deviation_does_not_fail_the_run(engines: Path, tmp_path: Path) -> None:
    assert main(["conform", "--adapter", f"{engines}:wrong", "--level", "exact", "--xfail", known(tmp_path)]) == 0


def test_a_known_deviation_that_does_not_occur_fails_the_run(engines: Path, tmp_path: Path) -> None:
    assert main(["conform", "--adapter", f"{engines}:right", "--level", "exact", "--xfail", known(tmp_path)]) == 1


def test_a_known_deviation_of_another_version_is_none(engines: Path, tmp_path: Path) -> None:
    file = known(tmp_path, versions=">=1.3")
    assert main(["conform", "--adapter", f"{engines}:broken", "--level", "exact", "--xfail", file]) == 2
    file = known(tmp_path, versions=">=1.2,<1.3")
    assert main(["conform", "--adapter", f"{engines}:broken", "--level", "exact", "--xfail", file]) == 0


@pytest.mark.parametrize("changes", [{"id": "suport"}, {"versions": "about 3"}, {"level": "deep"}, {"colour": "red"}])
def test_a_list_of_known_deviations_is_read_strictly(changes: dict[str, str], tmp_path: Path, engines: Path) -> None:
    assert main(["conform", "--adapter", f"{engines}:wrong", "--level", "exact", "--xfail", known(tmp_path, **changes)]) == 2


@pytest.mark.parametrize(
    ("version", "bounds", "within"),
    [("5.24.0", ">=5.24", True), ("5.9", ">=5.24", False), ("2.13.0+cpu", "==2.13.0", True), ("1.0", "*", True)],
)
def test_version_ranges(version: str, bounds: str, within: bool) -> None:
    assert kit.Expected("support", bounds, "", "").holds_for(version) is within


def test_a_level_that_the_engine_lacks_is_refused() -> None:
    with pytest.raises(BadArgument, match="level is deep"):
        kit.conform(Own(), "deep")


def test_junit_counts_what_happened() -> None:
    findings = tuple(Finding("support", str(i), "exact", status) for i, status in enumerate(("conforms", "errored", "skipped")))
    assert 'tests="3" failures="0" errors="1" skipped="1"' in as_junit(Report(Own().dialect, "exact", findings))


def test_modules_of_the_folder_one_stands_in_are_found(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ENGINES, encoding="utf-8")
    program = "from refspec.conformance.kit import engine_of; print(engine_of('mine:right').dialect.name)"
    ran = subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "refspec\n"
