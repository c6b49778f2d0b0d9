"""What the system refuses is told in words, by every command: which file, and why, without a number or a traceback."""

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import refspec
import weights_tools
from refspec.cli.main import main
from refspec.errors import refused
from weights_tools.__main__ import main as tools

OWN = "refspec.conformance.own:Own"
FILES = sorted(each for package in (refspec, weights_tools) for each in Path(str(package.__file__)).parent.rglob("*.py"))
ODD = ("no/such/file", "folder", "file/below", "x" * 300, "/".join(["y" * 200] * 30), "dangling", "a\0b")

READ = [
    (main, ["generate", "Hi", "--model", "@"]),
    (main, ["generate", "Hi", "--model", "tiny-target", "--draft", "@"]),
    (main, ["generate", "--model", "tiny-target", "--file", "@"]),
    (main, ["generate", "--model", "tiny-target", "--jsonl", "@"]),
    (main, ["conform", "--adapter", "@.py:engine"]),
    (main, ["conform", "--command", "./@"]),
    (main, ["conform", "--adapter", OWN, "--xfail", "@"]),
    (main, ["compare", "--model", "tiny-target", "--activations", "@"]),
    (main, ["golden", "--model", "@", "--ids", "1,2", "--out", "new"]),
    (main, ["sweep", "@", "--out", "new"]),
    (tools, ["inspect", "@"]),
]
WRITTEN = [
    (main, ["trace", "Hi", "--html", "@"]),
    (main, ["conform", "--adapter", OWN, "--junit", "@"]),
    (main, ["golden", "--model", "tiny-target", "--ids", "1,2", "--out", "@"]),
]
Command = Callable[[list[str]], int]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("not much", encoding="utf-8")
    Path("dangling").symlink_to("nowhere")


def told(command: Command, words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([each.replace("@", name) for each in words]) == 2
    said = capsys.readouterr()
    both = said.err + said.out
    assert said.err.count("\n") <= 1
    assert both.count("\n") >= 1
    for each in ("Errno", "Error:", "Traceback", "os error"):
        assert each not in both


@pytest.mark.parametrize("name", ODD, ids=lambda name: repr(name[:8]))
@pytest.mark.parametrize(("command", "words"), READ, ids=lambda each: " ".join(each[:6]) if isinstance(each, list) else "")
def test_what_cannot_be_read(command: Command, words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    told(command, words, name, capsys)


@pytest.mark.parametrize("name", [each for each in ODD if each != "dangling"], ids=lambda name: repr(name[:8]))
@pytest.mark.parametrize(("command", "words"), WRITTEN, ids=lambda each: each[0] if isinstance(each, list) else "")
def test_what_cannot_be_written(command: Command, words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    told(command, words, name, capsys)


@pytest.mark.parametrize(("command", "words"), [*READ[2:4], *READ[6:8], *WRITTEN], ids=lambda each: "")
def test_what_is_forbidden(
    command: Command, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A superuser is forbidden nothing, so that it is the opening that refuses here."""
    whole = Path.open

    def refuses(path: Path, *args: object, **kwargs: object) -> object:
        if path.name == "file":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuses)
    told(command, words, "file", capsys)


def test_what_nobody_foresaw(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28), "a.txt")

    monkeypatch.setattr("refspec.cli.models.run", full)
    monkeypatch.setattr("weights_tools.__main__.run_inspect", full)
    for command, words in ((main, ["models"]), (tools, ["inspect", "tiny-target"])):
        assert command(words) == 2
        assert capsys.readouterr().err.endswith("a.txt: No space left on device\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(17, "File exists", "a", None, "b"), "a and b: File exists"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (OSError("full"), "full"),
        (OSError(), "OSError"),
        (OSError(2, "No such file or directory", 7), "No such file or directory"),
    ],
)
def test_errors_of_the_system_in_words(error: OSError, said: str) -> None:
    assert refused(error) == said


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nobody_words_one_by_its_own_text(path: Path) -> None:
    """`str` of an OSError begins with its number: `reason` and `refused` are the only ways to word one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for handler in (each for each in ast.walk(tree) if isinstance(each, ast.ExceptHandler) and each.name and each.type):
        if "OSError" not in {each.id for each in ast.walk(handler.type) if isinstance(each, ast.Name)}:
            continue
        for node in ast.walk(handler):
            shown = node.value if isinstance(node, ast.FormattedValue) else None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str":
                shown = node.args[0]
            assert not (isinstance(shown, ast.Name) and shown.id == handler.name), f"line {handler.lineno}: use errors.reason"
