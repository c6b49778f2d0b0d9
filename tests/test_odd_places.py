"""Odd places to run in: closed and full streams, no home, Ctrl-C before anything happened, messages of any length."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import refspec
from refspec.cli.main import main
from refspec.errors import LONGEST, BadArgument, RefspecError, one_line
from refspec.models import home

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
GENERATE = "-m refspec generate --model tiny-target --max-new-tokens 3"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python COMMAND` in a shell, which closes and redirects as it is told to."""
    return subprocess.run(
        f'"{sys.executable}" {command}', shell=True, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@POSIX
@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (f"{GENERATE} ROMEO: >&-", 2, "standard output is closed"),
        (f"{GENERATE} ROMEO: <&- >&- 2>&-", 2, ""),
        (f"{GENERATE} ROMEO: 2>&-", 0, ""),
        (f"{GENERATE} <&-", 2, "the prompt is empty"),
        ("-m refspec models > /dev/full", 2, "No space left"),
        ("-m refspec nothing 2> /dev/full", 2, ""),
        ("-m weights_tools inspect tiny-draft >&-", 2, "standard output is closed"),
        ("-m weights_tools inspect tiny-draft > /dev/full", 2, "No space left"),
        ("-m weights_tools inspect nothing 2> /dev/full", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(command: str, code: int, says: str) -> None:
    if "/dev/full" in command and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = shell(command)
    assert done.returncode == code, done
    assert (says in done.stderr) if says else done.stderr == ""
    assert len(done.stderr.splitlines()) <= 1


@POSIX
@pytest.mark.parametrize("program", ["refspec", "weights_tools"])
def test_ctrl_c_while_importing_ends_a_program_without_a_traceback(program: str, tmp_path: Path) -> None:
    """It comes while NumPy is imported, which takes the most time. The shell sees a program that was ended by SIGINT."""
    (tmp_path / "numpy.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    child = subprocess.run(
        [sys.executable, "-m", program, "--help"], capture_output=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(refspec.__file__).parents[1])])},
    )  # fmt: skip
    assert (child.returncode, child.stdout, child.stderr) == (-signal.SIGINT, b"", b"")


def test_importing_refspec_leaves_ctrl_c_as_it_was() -> None:
    program = "import signal, refspec; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Models inside the package and folders need none; what does says what to set."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("REFSPEC_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert home.find("tiny-target").is_dir()
    assert not home.is_fetched("gpt2")
    with pytest.raises(BadArgument, match="set REFSPEC_HOME"):
        home.find("gpt2")
    assert main(["models"]) == 2
    assert "set REFSPEC_HOME" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--seed", "--gamma", "--top-k", "--temperature", "--max-new-tokens", "--verify", "--model"])
def test_two_dashes_are_no_value_of_these(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--ngram", "--model", "tiny-target", "ROMEO:", f"{option}=--"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--" in line


@given(st.text(st.characters(), max_size=3000))
@example("\x1b[31m" * 1000)
@example("\ud800" * 500)
def test_a_message_is_one_printable_line_of_bounded_length(text: str) -> None:
    for message in (one_line(text), str(RefspecError(text))):
        assert message.isprintable()
        assert len(message) <= LONGEST
        assert one_line(message) == message
    if text.isprintable() and len(text) <= LONGEST:
        assert one_line(text) == text
