"""An engine in any language, as a process that speaks JSON lines: start, dialect, run, stop.

Each question is one line on its standard input, with a number `n`; each answer one line on its standard output with the same
`n`, and `skipped` or `errored` with a reason where it has none. docs/conformance.md writes the lines down.
"""

import json
import queue
import shlex
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import fields
from typing import IO, Any

from refspec.arrays import Array
from refspec.conformance.adapter import Case, Dialect, EngineDied, Run, Skip, Verdict
from refspec.conformance.expected import ORDER
from refspec.decoding.lm import TableLM, Tokens
from refspec.errors import BadArgument, RefspecError

PROTOCOL = "refspec-engine-1"


class EngineError(RefspecError):
    """What the engine itself reports as `errored`."""


class Child:
    """An engine behind a command. timeout: seconds for one answer. Raises EngineDied, and BadArgument for what cannot be run.

    >>> import sys
    >>> from refspec.conformance.child import Child
    >>> Child([sys.executable, "-c", "raise SystemExit('no weights here')"])
    Traceback (most recent call last):
    ...
    refspec.conformance.adapter.EngineDied: the engine ended with exit code 1: no weights here
    """

    def __init__(self, command: str | Sequence[str], timeout: float = 120.0) -> None:
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if not words:
            raise BadArgument("command is empty; give the program that is the engine, and its arguments")
        self._timeout, self._asked = timeout, 0
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self._process = subprocess.Popen(words, text=True, encoding="utf-8", errors="replace", **pipes)
        except OSError as error:
            raise BadArgument(f"command is {words[0]!r}, which cannot be run: {error.strerror}") from None
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
        try:
            self._ask("start", protocol=PROTOCOL)
            self.dialect = dialect_of(self._ask("dialect").get("dialect"))
        except RefspecError:
            self.close()
            raise

    def replay(self, case: Case, uniforms: Sequence[float]) -> Run:
        return _run(self._ask("run", way="replay", case=as_object(case), uniforms=list(uniforms)))

    def verify(self, tokens: Tokens, draft_probs: Array, target_probs: Array, accept: Sequence[float], pick: float) -> Verdict:
        rows = {"draft_probs": draft_probs.tolist(), "target_probs": target_probs.tolist()}
        found = self._ask("run", way="verify", drafted=list(tokens), **rows, accept=list(accept), pick=pick)
        return _read_as(lambda: Verdict(int(found["accepted"]), int(found["token"])), found)

    def sampled(self, case: Case, seeds: Sequence[int]) -> Sequence[Run]:
        found = self._ask("run", way="sampled", case=as_object(case), seeds=list(seeds))
        runs = [_run(each) for each in _read_as(lambda: list(found["runs"]), found)]
        if len(runs) != len(seeds):
            raise EngineDied(f"the engine gave {len(runs)} runs for {len(seeds)} seeds; one for each is needed")
        return runs

    def close(self) -> None:
        """Ask it to stop, and end it where it does not."""
        if self._process.poll() is None:
            try:
                self._send({"n": self._asked + 1, "op": "stop"})
                self._process.wait(timeout=2)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=2)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                assert pipe is not None  # as they were asked for
                pipe.close()
            except OSError:
                pass  # what is left in it has no reader any more

    def _ask(self, op: str, **question: Any) -> dict[str, Any]:
        self._asked += 1
        try:
            self._send({"n": self._asked, "op": op, **question})
            line = self._answers.get(timeout=self._timeout)
        except queue.Empty:
            self._process.kill()
            raise EngineDied(f"the engine gave no answer to {op!r} in {self._timeout:g} seconds") from None
        except OSError:
            line = None
        if line is None:
            raise EngineDied(self._last_words())
        try:
            answer = json.loads(line)
            fits = isinstance(answer, dict) and answer.get("n") == self._asked
        except ValueError:
            fits = False
        if not fits:
            raise EngineDied(f"the engine answered question {self._asked} with {line[:120]!r}; give one JSON object with its n")
        if "skipped" in answer:
            raise Skip(str(answer["skipped"]))
        if "errored" in answer:
            raise EngineError(f"the engine says: {answer['errored']}")
        return dict(answer)

    def _send(self, question: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # as the pipes say
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            if line.strip():
                self._answers.put(line)
        self._answers.put(None)

    def _last_words(self) -> str:
        self._process.wait()
        self._readers[1].join(timeout=2)
        last = next((line for line in reversed(self._complaints) if line), "it said nothing on standard error")
        return f"the engine ended with exit code {self._process.returncode}: {last}"


def dialect_of(said: Any) -> Dialect:
    """
    >>> from refspec.conformance.child import dialect_of
    >>> dialect_of({"name": "mine", "uniforms_in": "texts"}).levels
    ('replay',)
    """
    known = {each.name for each in fields(Dialect)} - {"draws_intercepted", "round_by_round"}  # which need a shared process
    if not (isinstance(said, dict) and "name" in said and said.keys() <= known):
        raise EngineDied(f"the engine's dialect is {said!r}; it is an object with a name and any of {', '.join(sorted(known))}")
    values: dict[str, Any] = {name: tuple(value) if name == "warps" else value for name, value in said.items()}
    return Dialect(**values)


def as_object(case: Case) -> dict[str, Any]:
    """A case as JSON has it: a table's contexts are ids with blanks between.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.child import as_object
    >>> as_object(CHECKS["independence"].cases[0])["target"]
    {'': [0.5, 0.5]}
    """
    return {
        "name": case.name,
        "target": _table(case.target),
        "draft": _table(case.draft),
        "gamma": case.gamma,
        "max_new_tokens": case.max_new_tokens,
        "prompt": case.prompt,
        "stop": case.stop,
        **{each: getattr(case.sampling, each) for each in ORDER},
        "repetition_penalty": case.repetition_penalty,
        "vocab_size": case.size,
        "batch": case.batch,
        "folders": None if case.folders is None else list(map(str, case.folders)),
    }


def _table(model: TableLM) -> dict[str, list[float]]:
    return {" ".join(map(str, context)): row.tolist() for context, row in model.by_context.items()}


def _run(said: dict[str, Any]) -> Run:
    counts = (said.get(name) for name in ("drafted", "accepted", "draws"))
    return _read_as(lambda: Run(tuple(map(int, said["tokens"])), *counts), said)


def _read_as(read: Any, said: Any) -> Any:
    try:
        return read()
    except (KeyError, TypeError, ValueError):
        raise EngineDied(f"the engine answered {str(said)[:120]}; docs/conformance.md says what is expected") from None
