"""An engine in any language, as a process that speaks JSON lines: start, dialect, run, stop.

Each question is one line on its standard input, with a number `n`; each answer one line on its standard output with the same
`n`, and `skipped` or `errored` with a reason where it has none. docs/conformance.md writes the lines down.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from refspec.arrays import Array
from refspec.conformance.adapter import Case, Dialect, EngineDied, Run, Skip, Verdict
from refspec.conformance.answers import BadAnswer
from refspec.conformance.expected import ORDER
from refspec.conformance.limits import LIMIT
from refspec.conformance.process import Process
from refspec.decoding.lm import TableLM, Tokens
from refspec.errors import BadArgument, RefspecError

PROTOCOL = "refspec-engine-1"
START = 600.0  # seconds for the answer to `start`, behind which weights may be loaded


class EngineError(RefspecError):
    """What the engine itself reports as `errored`."""


class Child:
    """An engine behind a command. timeout: seconds for one answer. Raises EngineDied, and BadArgument for what cannot be run.

    A process that died, hung, or was left in the middle of an answer, is ended, and the next question starts another one.

    >>> import sys
    >>> from refspec.conformance.child import Child
    >>> Child([sys.executable, "-c", "raise SystemExit('no weights here')"])
    Traceback (most recent call last):
    ...
    refspec.conformance.adapter.EngineDied: the engine ended with exit code 1: no weights here
    """

    def __init__(self, command: str | Sequence[str], timeout: float = LIMIT) -> None:
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if not words:
            raise BadArgument("command is empty; give the program that is the engine, and its arguments")
        self._words, self._timeout = words, timeout
        self._process: Process | None = None
        self.dialect = self._begun()

    def replay(self, case: Case, uniforms: Sequence[float]) -> Run:
        return _run(self._ask("run", way="replay", case=as_object(case), uniforms=list(uniforms)))

    def verify(self, tokens: Tokens, draft_probs: Array, target_probs: Array, accept: Sequence[float], pick: float) -> Verdict:
        rows = {"draft_probs": draft_probs.tolist(), "target_probs": target_probs.tolist()}
        found = self._ask("run", way="verify", drafted=list(tokens), **rows, accept=list(accept), pick=pick)
        return _read_as(lambda: Verdict(found["accepted"], found["token"]), found)

    def sampled(self, case: Case, seeds: Sequence[int]) -> Sequence[Run]:
        found = self._ask("run", way="sampled", case=as_object(case), seeds=list(seeds))
        return [_run(each) for each in _read_as(lambda: list(found["runs"]), found)]

    def begin_anew(self) -> None:
        """Where it has ended: to load its weights may take longer than a case."""
        if self._process is None:
            self._begun()

    def close(self) -> None:
        """Ask it to stop, and end it where it does not."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _begun(self) -> Dialect:
        try:
            self._started()
            self._put("start", START, protocol=PROTOCOL)
            return dialect_of(self._put("dialect", START).get("dialect"))
        except BaseException:
            self._end()
            raise

    def _started(self) -> None:
        self._process = Process(self._words)

    def _ask(self, op: str, **question: Any) -> dict[str, Any]:
        self.begin_anew()
        try:
            return self._put(op, self._timeout, **question)
        except (Skip, EngineError):
            raise
        except BaseException:  # also what came from outside, an alarm or Ctrl-C: an answer that nobody awaits any more may follow
            self._end()
            raise

    def _put(self, op: str, timeout: float, **question: Any) -> dict[str, Any]:
        """One question and its answer."""
        assert self._process is not None  # as who calls has seen to
        n, line = self._process.ask({"op": op, **question}, timeout)
        try:
            answer = json.loads(line)
            fits = isinstance(answer, dict) and answer.get("n") == n
        except ValueError:
            fits = False
        if not fits:
            raise EngineDied(f"the engine answered question {n} with {line[:120]!r}; give one JSON object with its n")
        if "skipped" in answer:
            raise Skip(str(answer["skipped"]))
        if "errored" in answer:
            raise EngineError(f"the engine says: {answer['errored']}")
        return dict(answer)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None


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


def _run(said: Any) -> Run:
    return _read_as(lambda: Run(said["tokens"], *(said.get(name) for name in ("drafted", "accepted", "draws"))), said)


def _read_as(read: Any, said: Any) -> Any:
    try:
        return read()
    except (AttributeError, KeyError, TypeError):
        raise BadAnswer(f"the engine answered {str(said)[:120]}; docs/conformance.md says what is expected") from None
