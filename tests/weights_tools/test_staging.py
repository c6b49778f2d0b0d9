"""A folder has its name or it does not exist: errors, Ctrl-C and kills leave nothing that loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refspec.errors import BadArgument
from weights_tools.staging import staged


def test_published_whole(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "m"
    with staged(folder) as (model, scratch):
        (model / "config.json").write_text("{}")
        (scratch / "download").write_text("big")
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_newer_folder_replaces_the_older_one(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    for text in ("old", "new"):
        with staged(folder) as (model, _):
            (model / text).write_text(text)
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_file_is_left_alone_and_a_link_is_followed(tmp_path: Path) -> None:
    file, link, elsewhere = tmp_path / "file", tmp_path / "link", tmp_path / "disk" / "m"
    file.write_text("mine")
    with pytest.raises(BadArgument, match="file, which is no folder; give a folder to write to"), staged(file):
        pass
    assert file.read_text() == "mine"
    elsewhere.mkdir(parents=True)
    if os.name != "nt":
        link.symlink_to(elsewhere)
        with staged(link) as (model, _):
            (model / "new").touch()
        assert (link.is_symlink(), [path.name for path in elsewhere.iterdir()]) == (True, ["new"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "file", "link"][: 2 + link.is_symlink()]


@pytest.mark.parametrize("reason", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_nothing_and_spares_what_was_there(tmp_path: Path, reason: type[BaseException]) -> None:
    folder = tmp_path / "m"

    def interrupted() -> None:
        with staged(folder) as (model, _):
            (model / "config.json").write_text("{}")
            raise reason("half way")

    with pytest.raises(reason, match="half way"):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with staged(folder) as (model, _):
        (model / "whole").touch()
    with pytest.raises(reason, match="half way"):
        interrupted()
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_a_killed_run_is_cleaned_up_by_the_next_and_a_running_one_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\nfrom weights_tools.staging import staged\n"
        "with staged(pathlib.Path(sys.argv[1])) as (model, _):\n"
        "    (model / 'config.json').touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], check=False)
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".m.partial-")
    running = tmp_path / f".other.partial-{os.getppid()}"
    running.mkdir()
    with staged(tmp_path / "n"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [running.name, "n"]
