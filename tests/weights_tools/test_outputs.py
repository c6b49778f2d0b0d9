"""No command writes over what it reads, or over what no such command wrote: it says so in one line, before any work."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from weights_tools.__main__ import main

READ = {  # by command: the options of what is read
    "train": ("--start",),
    "distill": ("--target", "--draft"),
    "collect": ("--target",),
    "table": ("--target", "--text"),
    "train-head": ("--target", "--text", "--start"),
    "passages": ("--target", "--text"),
}
RUNS = ("train", "distill", "train-head")
FOLDERS = [each for each in READ if each != "passages"]


def spelled_otherwise(folder: Path) -> list[Path]:
    link = folder.with_name(f"link-to-{folder.name}")
    if not link.is_symlink():
        link.symlink_to(folder)
    return [folder, folder / ".." / folder.name, link]


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The one line of a command that is refused; each option of what it reads is a folder of that name, with files in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)  # all is said before it is needed
    (tmp_path / "corpus.txt").write_text("a text")
    for name in ("target", "draft", "start", "text"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "ngram-table"}')  # which `table` takes for its own

    def of(command: str, *options: str) -> str:
        reads = [word for option in READ[command] for word in (option, option.removeprefix("--"))]
        corpus = ["--corpus", "corpus.txt"] if command in ("train", "distill") else []
        before = tree(tmp_path)
        try:
            code = main([command, *reads, *corpus, *options])
        except SystemExit as left:
            code = left.code
        assert code == 2
        assert tree(tmp_path) == before
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return of


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
@pytest.mark.parametrize(("command", "read"), [(command, read) for command in FOLDERS for read in READ[command]])
def test_nothing_is_written_where_a_command_reads(command: str, read: str, refused: Callable[..., str], tmp_path: Path) -> None:
    for folder in spelled_otherwise(tmp_path / read.removeprefix("--")):
        assert f"out is {folder}, which is the " in refused(command, f"--out={folder}")
        (tmp_path / "new.run").mkdir(exist_ok=True)
        if command in RUNS:
            for more in (f"--run-folder={tmp_path / 'new.run'}", f"--run-folder={tmp_path / 'x.run'}"):
                assert f"out is {folder}, which is the " in refused(command, f"--out={folder}", more)
            assert f"run_folder is {folder}, which is the " in refused(command, "--out=new", f"--run-folder={folder}")


@pytest.mark.parametrize("command", FOLDERS)
def test_what_no_such_command_wrote_is_left_alone(command: str, refused: Callable[..., str], tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    options = ["--out"]
    if command in RUNS:
        options.append("--run-folder")
        (tmp_path / "begun.run").mkdir()
        assert "holds notes.txt, and begun.run no checkpoint" in refused(command, "--out=full", "--run-folder=begun.run")
        assert "run_folder is one, which is out" in refused(command, "--out=one", "--run-folder=one")
    for option in options:
        more = ["--out=new"] * (option == "--run-folder")
        assert "which holds notes.txt, and " in refused(command, *more, f"{option}=full")
        for file in ("file", "dangling", "loop"):
            assert f"is {file}, which is no folder; give a folder to write to" in refused(command, *more, f"{option}={file}")
        assert f"argument {option}: it is empty; give a path" in refused(command, *more, f"{option}=")


def test_a_file_to_write_is_no_folder_and_lies_in_none_that_is_read(refused: Callable[..., str], tmp_path: Path) -> None:
    for folder in (".", "..", str(tmp_path), "target"):
        assert f"{folder} cannot be written (Is a directory); give a file in a folder that is there" in refused(
            "passages", f"--out={folder}"
        )
    for name in ("target", "text"):
        for file in ("config.json", "new.jsonl"):
            assert "; give one in another folder" in refused("passages", f"--out={name}/{file}")
    assert "argument --out: it is empty; give a path" in refused("passages", "--out=")
