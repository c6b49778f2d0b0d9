"""Exit codes, how a mistake is told, and standard streams that are closed or full."""

import os
import sys
from pathlib import Path
from typing import TextIO

from refspec.errors import BadArgument, one_line

SUCCESS, DIFFERS, MISTAKE, INTERRUPTED, READER_LEFT = 0, 1, 2, 130, 141  # the last two as a shell reports SIGINT and SIGPIPE


def require_streams() -> None:
    """Open what was closed (`<&-`, `2>&-`), or the next file would take its place. Raises BadArgument without an output."""
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
    if "stdout" in closed:
        raise BadArgument("standard output is closed; send it to a file or another program")
    for stream in (sys.stdout, sys.stderr):
        if callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors="replace")  # a model may say what an old console cannot show


def complain(message: str, program: str = "refspec") -> None:
    """One line on standard error, if that can be written to: the exit code tells as well."""
    try:
        print(f"{program}:", one_line(" ".join(message.split())), file=sys.stderr, flush=True)
    except OSError:
        to_nowhere(sys.stderr)


def leave(message: str, code: int, program: str = "refspec") -> int:
    """The exit code, after what is left to be shown and the message."""
    try:
        sys.stdout.flush()
    except OSError:
        to_nowhere(sys.stdout)
    if message:
        complain(message, program)
    return code


def to_nowhere(stream: TextIO) -> None:
    """Let a stream that cannot be written to lead to no place: what is left in it would be tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
