"""A program that answers lines with lines: one question at a time, with its number, and its last words where it dies."""

import json
import os
import queue
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Any

from refspec.conformance.adapter import EngineDied
from refspec.conformance.limits import in_seconds
from refspec.errors import BadArgument, reason

PATIENCE = 2.0  # seconds for what should happen at once
GROUPS = hasattr(os, "killpg")  # a command may be a shell, which starts the engine


class Process:
    """words: the command. Raises BadArgument where it cannot be run.

    >>> import sys
    >>> from refspec.conformance.process import Process
    >>> process = Process([sys.executable, "-c", "print(input())"])
    >>> process.ask({"op": "start"}, timeout=60)
    (1, '{"n": 1, "op": "start"}\\n')
    >>> process.stop()
    """

    def __init__(self, words: Sequence[str]) -> None:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self._process = subprocess.Popen(
                words, text=True, encoding="utf-8", errors="replace", start_new_session=GROUPS, **pipes
            )
        except (OSError, ValueError) as error:
            raise BadArgument(f"command is {words[0]!r}, which cannot be run ({reason(error)})") from None
        self._asked = 0
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._complaints: deque[str] = deque(maxlen=20)
        assert self._process.stdout is not None  # as the pipes say
        assert self._process.stderr is not None
        self._readers = (
            threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._complaints.extend, args=(map(str.strip, self._process.stderr),), daemon=True),
        )
        for reader in self._readers:
            reader.start()

    def ask(self, question: dict[str, Any], timeout: float) -> tuple[int, str]:
        """The question's number, and the line that answers. Raises EngineDied where none comes."""
        try:
            self._send(question)
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise EngineDied(f"the engine gave no answer to {question['op']!r} in {in_seconds(timeout)}") from None
        except OSError:
            line = None
        if line is None:
            raise EngineDied(self._last_words())
        return self._asked, line

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        if self._process.poll() is None:
            try:
                self._send({"op": "stop"})
                self._process.wait(timeout=PATIENCE)
            except (OSError, subprocess.TimeoutExpired):
                pass
        self.kill()

    def kill(self) -> None:
        """End it, and what it started."""
        try:
            if GROUPS:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        except (ProcessLookupError, PermissionError):
            pass  # it has ended
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                assert pipe is not None  # as they were asked for
                pipe.close()
            except OSError:
                pass  # what is left in it has no reader any more

    def _send(self, question: dict[str, Any]) -> None:
        self._asked += 1
        assert self._process.stdin is not None  # as the pipes say
        self._process.stdin.write(json.dumps({"n": self._asked, **question}) + "\n")
        self._process.stdin.flush()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            if line.strip():
                self._answers.put(line)
        self._answers.put(None)

    def _last_words(self) -> str:
        try:
            self._process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return "the engine closed its standard output; it is where answers are read"
        self._readers[1].join(timeout=PATIENCE)
        said = [line for line in reversed(self._complaints) if line]
        errors = [line for line in said if re.search("error|exception|panic", line, re.IGNORECASE)]  # not a version, say
        last = (errors or said or ["it said nothing on standard error"])[0]
        return f"the engine ended with exit code {self._process.returncode}: {last}"
