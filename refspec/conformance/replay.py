"""The replay level: the vectors of `vectors/*.json`, uniforms in and exact tokens out."""

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from refspec.conformance.adapter import Case, Engine, Kernel, Skip, Texts
from refspec.conformance.answers import as_run, as_verdict, impossible
from refspec.conformance.asking import Asking, shown
from refspec.conformance.cases import CHECKS, Check
from refspec.conformance.checks import require
from refspec.conformance.expected import tied
from refspec.conformance.findings import Finding, Report, gathered
from refspec.conformance.limits import LIMIT
from refspec.decoding.lm import TableLM, Tokens
from refspec.models.sampling import Sampling

FOLDER = Path(__file__).parent / "vectors"
Vector = Mapping[str, Any]


@lru_cache
def vectors() -> Mapping[str, tuple[str, Vector]]:
    """{id: (check, vector)} of all files.

    >>> from refspec.conformance.replay import vectors
    >>> len(vectors()) > 100
    True
    """
    found: dict[str, tuple[str, Vector]] = {}
    for check in CHECKS:
        path = FOLDER / f"{check}.json"
        if not path.is_file():  # no vector has other rows beside it
            continue
        held = json.loads(path.read_text(encoding="utf-8"))
        found |= {each["id"]: (held["check"], each) for each in held["vectors"]}
    return found


def conform(engine: Engine, checks: Iterable[Check] = CHECKS.values(), limit: float | None = LIMIT) -> Report:
    """What each vector of these checks showed. limit: seconds for a vector; None: it may take any time.

    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.replay import conform
    >>> conform(Own()).code
    0
    """
    wanted, asking = {check.id for check in checks}, Asking(limit, engine)
    every = [(check, vector) for check, vector in vectors().values() if check in wanted]
    coming = shown(every, lambda each: str(each[1]["id"]))
    return gathered(engine.dialect, "replay", (_found(engine, check, vector, asking) for check, vector in coming))


def _found(engine: Engine, check: str, vector: Vector, asking: Asking | None = None) -> Finding:
    seen = (asking or Asking())(lambda: answer(engine, vector), check, vector["id"], "replay")
    if isinstance(seen, Finding):
        return seen
    return Finding(check, vector["id"], "replay", *_judged(engine, vector, seen), seen=seen)


def answer(engine: Engine, vector: Vector) -> Any:
    """What an engine makes of a vector: the tokens of a text, or accepted and token of a round.

    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.replay import answer, vectors
    >>> vector = next(each for check, each in vectors().values() if each["kind"] == "text")
    >>> answer(Own(), vector)[0] == tuple(vector["tokens"])
    True
    """
    if vector.get("dtype", engine.dialect.kv_dtype) != engine.dialect.kv_dtype:
        raise Skip(f"its uniforms are no {engine.dialect.kv_dtype}")
    if (engine.dialect.uniforms_in == "texts") != (vector["kind"] == "text"):
        raise Skip(f"it takes uniforms for {engine.dialect.uniforms_in}, and this is a {vector['kind']}")
    if vector["kind"] == "round":
        given = cast(Kernel, engine).verify(
            tuple(vector["drafted"]),
            floats(vector["draft_probs"]),
            floats(vector["target_probs"]),
            [float.fromhex(u) for u in vector["accept"]],
            float.fromhex(vector["pick"]),
        )
        verdict = as_verdict(given)
        return verdict.accepted, verdict.token
    case = case_of(vector)
    require(case, engine.dialect)
    if engine.dialect.ties != "lowest" and "temperature" in tied(case):
        raise Skip("it takes another one of equal logits than the lowest id, which the vector has")
    if engine.dialect.block and case.gamma > 1:
        raise Skip("it decides on a draft as a whole, which asks for its uniforms in another order")
    run = as_run(cast(Texts, engine).replay(case, [float.fromhex(u) for u in vector["uniforms"]]))
    return run.tokens, run.draws


def _judged(engine: Engine, vector: Vector, seen: Any) -> tuple[str, Fraction, str]:
    """The status, no distance, and what was answered where it is wrong."""
    text = vector["kind"] == "text"
    right = [tuple(vector["tokens"]) if text else (vector["accepted"], vector["token"]), *map(tuple, vector.get("also", []))]
    if text:
        no_text = impossible(seen[0], case_of(vector))
        fits, said = seen[0] in right, f"the text is {seen[0]}{f' ({no_text})' * bool(no_text)}; it should be {right[0]}"
        if seen[0] == right[0] and seen[1] not in (None, vector["draws"]):
            fits, said = False, f"the text took {seen[1]} uniforms; it should take {vector['draws']}"
    else:
        fits = seen in right
        if engine.dialect.uniforms_in == "tests":  # which draws the token in a way of its own
            fits = seen[0] in {accepted for accepted, _ in right} and seen[1] in vector["possible"]
        no_id = f" (no id: they are 0 to {len(vector['target_probs'][0]) - 1})"
        odd = "" if 0 <= seen[1] < len(vector["target_probs"][0]) else no_id
        said = f"it accepts {seen[0]}, then {seen[1]}{odd}; it should accept {right[0][0]}, then {right[0][1]}"
    return ("conforms", Fraction(0), "") if fits else ("deviates", Fraction(0), f"{said}: {vector['why']}")


def floats(rows: Any) -> Any:
    return np.array([[float.fromhex(p) for p in row] for row in rows])


def case_of(vector: Vector) -> Case:
    """The case of a text vector.

    >>> from refspec.conformance.replay import case_of, vectors
    >>> case_of(next(each for check, each in vectors().values() if check == "one-round-law")).gamma
    1
    """
    return Case(
        vector.get("id", ""),
        _table(vector["target"]),
        _table(vector["draft"]),
        vector["gamma"],
        vector["max_new_tokens"],
        tuple(vector["prompt"]),
        tuple(vector.get("stop", ())),
        Sampling(**vector.get("sampling", {})),
        vector.get("repetition_penalty", 1.0),
        vector.get("vocab_size"),
    )


def _table(rows: Mapping[str, list[str]]) -> TableLM:
    def context(key: str) -> Tokens:
        return tuple(map(int, key.split()))

    return TableLM({context(key): [float.fromhex(p) for p in row] for key, row in rows.items()})
