"""Make `vectors/*.json`: `python -m refspec.conformance.vectors [FOLDER]`. The answers come from the enumerator over fractions.

Uniforms are odd multiples of 1/256 and so on no boundary of rows in eighths, or are written out, to stand on one. A vector in
which one of them, moved by MARGIN, gave another text is left out: there a rounding decides. Of many the file keeps those that
tell a known bug from the rules, where no vector before them did.
"""

import json
import re
import sys
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from refspec.conformance.adapter import PLAIN, Case
from refspec.conformance.bugs import BUGS
from refspec.conformance.cases import CHECKS, table
from refspec.conformance.enumerator import left_over, one_round, steady, text
from refspec.conformance.expected import ORDER, Row
from refspec.conformance.own import Own, OwnKernel
from refspec.conformance.replay import FOLDER, answer
from refspec.decoding.chance import seeded_generator
from refspec.decoding.lm import TableLM
from refspec.errors import RefspecError

SCHEMA = "refspec-vectors-1"
BELOW_ONE = Fraction(1) - Fraction(1, 2**24)  # the largest float32 below one
ANSWER = ("id", "why", "result", "tokens", "draws", "accepted", "token", "possible", "also", "kills")  # the rest is input
MARGIN = Fraction(1, 2**9)
TRIED = 40


def hexed(number: Any) -> str:
    """As float.hex, without the zeros at its end, which C's strtod and everybody else read as well."""
    return re.sub(r"\.?0*p", "p", float(number).hex())


def as_vector(case: Case, uniforms: Sequence[Fraction], why: str, also: Sequence[Sequence[int]] = ()) -> dict[str, Any]:
    """A text vector, its answer enumerated."""
    right = text(case, uniforms)
    return {
        "kind": "text",
        "why": why,
        "target": _rows(case.target),
        "draft": _rows(case.draft),
        "prompt": list(case.prompt),
        "gamma": case.gamma,
        "max_new_tokens": case.max_new_tokens,
        **{name: value for name, value in _options(case).items() if value is not None},
        "uniforms": list(map(hexed, uniforms)),
        "result": "acceptable" if also else "valid",
        "tokens": list(right.tokens),
        "draws": right.draws,
        **({"also": [list(each) for each in also]} if also else {}),
    }


def _options(case: Case) -> dict[str, Any]:
    return {
        "stop": list(case.stop) or None,
        "sampling": None if case.sampling == PLAIN else {name: getattr(case.sampling, name) for name in ORDER},
        "repetition_penalty": None if case.repetition_penalty == 1 else case.repetition_penalty,
        "vocab_size": case.vocab_size,
    }


def _rows(model: TableLM) -> dict[str, list[str]]:
    return {" ".join(map(str, context)): [hexed(p) for p in row] for context, row in model.by_context.items()}


def as_round(
    drafted: Sequence[int],
    q: Sequence[str],
    p: Sequence[str],
    accept: Sequence[Fraction],
    last: Fraction,
    why: str,
    also: Sequence[Sequence[int]] = (),
    below: int | None = None,
) -> dict[str, Any]:
    """A round vector: rows in eighths. below: the id whose probability in the target's first row is 2**-23 less."""
    ours, theirs = [_eighths(row) for row in p], [_eighths(row) for row in q]
    if below is not None:
        ours[0][below] -= Fraction(1, 2**23)
    accepted, token, weights = one_round(tuple(drafted), as_rows(theirs), as_rows(ours), iter(accept), iter([last]))
    possible = weights if accepted == len(drafted) else left_over(ours[accepted], theirs[accepted])
    return {
        "kind": "round",
        "why": why,
        "drafted": list(drafted),
        "draft_probs": [list(map(hexed, row)) for row in theirs],
        "target_probs": [list(map(hexed, row)) for row in ours],
        "accept": list(map(hexed, accept)),
        "pick": hexed(last),
        "result": "acceptable" if also else "valid",
        "accepted": accepted,
        "token": token,
        "possible": [i for i, weight in enumerate(possible) if weight],
        **({"also": [list(each) for each in also]} if also else {}),
    }


def as_rows(rows: Sequence[Sequence[Fraction]]) -> list[Row]:
    return [tuple(row) for row in rows]


def _eighths(row: str) -> list[Fraction]:
    return [Fraction(int(each), 8) for each in row]


def boundaries() -> Iterator[dict[str, Any]]:
    """Uniforms that stand on the boundary."""
    zero, half = Fraction(0), Fraction(1, 2)
    yield as_round([0], ["440"], ["044", "800"], [zero], half, "u = 0 does not accept p = 0")
    yield as_round([0], ["800"], ["107", "800"], [zero], half, "u = 0 accepts p > 0")
    yield as_round([0], ["440"], ["440", "008"], [BELOW_ONE], half, "p = q is accepted at any u")
    yield as_round([0], ["260"], ["440", "008"], [BELOW_ONE], half, "p > q is accepted at any u")
    yield as_round([0], ["440"], ["206", "080"], [half], half, "at u = p / q the strict test rejects", also=[(1, 1)])
    yield as_round([0], ["800"], ["044", "800"], [half], zero, "u = 0 does not pick a weight of 0")
    yield as_round([0], ["800"], ["044", "800"], [half], half, "at a boundary the next token is picked", also=[(0, 1)])
    yield as_round([0], ["800"], ["080", "800"], [half], BELOW_ONE, "a weight of 0 behind the last positive one is never picked")
    yield as_round([0], ["800"], ["800", "440"], [zero], BELOW_ONE, "the bonus token is not beyond the last positive weight")
    yield as_round([0], ["422"], ["143", "800"], [Fraction(3, 4)], Fraction(9, 10), "the residual need not sum to one")
    yield as_round([0, 1], ["440", "440"], ["440", "404", "800"], [half, zero], half, "the second is tested by its own row")
    yield as_round([1, 1], ["440", "440"], ["404", "080", "008"], [zero, zero], half, "nothing behind the first rejection counts")

    last = Fraction(1) - Fraction(1, 2**53)
    yield as_round([0], ["440"], ["440", "008"], [last], half, "p = q at the largest u") | {"dtype": "float64"}
    case = Case("", table({(): "044"}), table({(): "440"}), 1, 2, (2,))
    refused = replace(case, draft=table({(): "800"}))
    tape = [zero, zero, *[Fraction(2 * k + 1, 256) for k in (50, 20, 90, 70, 10, 120)]]
    yield as_vector(case, tape, "u = 0 does not accept p = 0")
    yield as_vector(replace(case, draft=case.target), tape, "u = 0 does not pick a weight of 0")
    yield as_vector(refused, [half, half, *tape[1:]], "u = 0 does not pick a weight of 0 after a rejection")
    largest = [Fraction(3, 4), last, *tape[2:]]
    yield as_vector(replace(case, draft=case.target), largest, "p = q at the largest u") | {"dtype": "float64"}


def zero_residuals() -> Iterator[dict[str, Any]]:
    # four float32 ulps and not one: p / q is so far below u that `<`, `<=` and a division that rounds all reject
    why = "q is a rounding above p and the test rejects: no residual is left, and any token of p is right"
    quarter = Fraction(1, 4)
    for rows, ulp, last in (("440", 0, quarter), ("440", 0, 3 * quarter), ("044", 1, BELOW_ONE), ("440", 0, 0 * quarter)):
        possible = [i for i, each in enumerate(rows) if each != "0"]
        yield as_round([ulp], [rows], [rows, "800"], [BELOW_ONE], last, why, [(0, i) for i in possible], ulp)
    # the same in float64, where rows of a whole text have to sum to one more closely
    below, above = TableLM({(): [0.5 - 2.0**-52, 0.5, 0.0]}), TableLM({(): [0.5, 0.5, 0.0]})
    tape = [quarter, Fraction(1) - Fraction(1, 2**53), *[Fraction(2 * k + 1, 256) for k in (50, 20, 90, 70)]]
    yield as_vector(Case("", below, above, 1, 2, (2,)), tape, why, also=[(0, 0), (1, 0)]) | {"dtype": "float64"}


def accounting() -> Iterator[dict[str, Any]]:
    """Texts in which a uniform read too many, or too few, shows in the tokens."""
    certain = Case("", table({(): "080", (1,): "242"}), table({(): "080", (1,): "422"}), 1, 3, (2,))
    tape = [Fraction(2 * k + 1, 256) for k in (20, 100, 30, 90, 10, 120, 60, 5)]
    yield as_vector(certain, tape, "a test whose outcome is certain takes its uniform")
    yield as_vector(replace(certain, max_new_tokens=1), tape, "an empty draft is one plain pick")
    yield as_vector(replace(certain, gamma=2, max_new_tokens=4), tape, "a pick a drafted token, tests to the first rejection")


def found_by_search() -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each check's cases: texts at uniforms that tell known bugs from the rules."""
    for check in CHECKS.values():
        killed: set[str] = set()
        for case in (each for each in check.cases if not each.batch):
            for n, tape in enumerate(_tapes(len(check.id) + case.max_new_tokens, case)):
                vector = as_vector(case, tape, case.name)
                kills = killers(vector, BUGS.keys() - killed)
                if n == 0 or kills:
                    killed.update(kills)
                    yield check.id, vector


def _tapes(seed: int, case: Case) -> Iterator[list[Fraction]]:
    generator = seeded_generator(seed)
    for _ in range(TRIED if case.max_new_tokens < 9 else 1):
        tape = [Fraction(2 * int(k) + 1, 256) for k in generator.integers(0, 128, 4 * case.max_new_tokens + 4)]
        if steady(case, tape, MARGIN):
            yield tape


def killers(vector: Mapping[str, Any], among: Collection[str] = BUGS.keys()) -> list[str]:
    """The known bugs, of these, that answer otherwise, or not at all."""
    of_text = vector["kind"] == "text"
    right = [vector["tokens"] if of_text else [vector["accepted"], vector["token"]], *vector.get("also", [])]

    def wrong(engine: Own) -> bool:
        try:
            said = answer(engine, vector)[0] if of_text else answer(OwnKernel(engine), vector)
        except RefspecError:  # broken is not right either
            return True
        return list(said) not in right

    return [name for name, bug in BUGS.items() if name in among and wrong(bug.engine)]


def files() -> dict[str, dict[str, Any]]:
    """{check: what its file holds}, each vector with its id and the bugs that it kills."""
    made: dict[str, list[dict[str, Any]]] = {
        "uniform-boundaries": list(boundaries()),
        "zero-residual": list(zero_residuals()),
        "draw-accounting": list(accounting()),
    }
    for check, vector in found_by_search():
        made.setdefault(check, []).append(vector)
    return {
        check: {
            "schema": SCHEMA,
            "check": check,
            "what": CHECKS[check].what,
            "rules": list(CHECKS[check].rules),
            "vectors": [{"id": named(check, each), **each, "kills": killers(each)} for each in found],
        }
        for check, found in made.items()
    }


def named(check: str, vector: Mapping[str, Any]) -> str:
    """An id that is the vector's own: another vector never has it, and it does not move when others come."""
    inputs = {key: value for key, value in vector.items() if key not in ANSWER}
    return f"{check}-{zlib.crc32(json.dumps(inputs).encode()):08x}"


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for check, held in files().items():
        (folder / f"{check}.json").write_text(dumped(held), encoding="utf-8")


def dumped(held: Mapping[str, Any]) -> str:
    """One vector a line."""
    lines = ",\n".join(json.dumps(each) for each in held["vectors"])
    head = json.dumps({key: value for key, value in held.items() if key != "vectors"})
    return f'{head[:-1]}, "vectors": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
