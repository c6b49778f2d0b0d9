"""OpenVINO GenAI: what the adapter sees, and why. `docs/peers.md` says it in words."""

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refspec
from refspec.conformance import sampled
from refspec.conformance.adapter import PLAIN, Case
from refspec.conformance.bugs.uniforms import OneUniform
from refspec.conformance.fixtures import FOLDER, fixture_checks
from refspec.conformance.gtest import divergence, threshold
from refspec.conformance.openvino_ir import NAMES, NO_TOKEN
from refspec.decoding import loop
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import Verdict
from refspec.proof.exact import law as law_of

pytestmark = pytest.mark.peers
adapter = pytest.importorskip("refspec.conformance.adapters.openvino_genai", exc_type=ModuleNotFoundError)

CHECKS = fixture_checks()
RUNS = 2_000
TEXTS = CHECKS["multi-round-law"].cases[0]  # three new tokens: of those only the second is drafted


def status(engine: Any, check: str, budget: float = 5.0) -> str:
    (found,) = (each for each in sampled.conform(engine, [CHECKS[check]], budget).findings if each.status != "skipped")
    return found.status


@pytest.mark.parametrize("name", NAMES)
def test_its_networks_are_the_fixtures(name: str) -> None:
    """One pass over a text, against our own float64; 1e-5 is what float32 rounds in two layers."""
    openvino, text = pytest.importorskip("openvino"), (3, 1, 4, 1, 5, 9, 2, 6)
    network = openvino.Core().compile_model(adapter.IR / name / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    n = len(text)
    rows = {"input_ids": [text], "attention_mask": [[1] * n], "position_ids": [range(n)]}
    asked = {key: np.array(value, np.int64) for key, value in rows.items()} | {"beam_idx": np.zeros(1, np.int32)}
    theirs = network(asked)["logits"][0]
    assert abs(theirs - refspec.load(FOLDER / name, dtype=np.float64).logits(text)).max() < 1e-5


def test_greedy_is_right() -> None:
    assert status(adapter.Pipeline("a new one"), "greedy") == "conforms"


def test_lookup_is_right_and_uses_its_drafts() -> None:
    assert status(adapter.lookup, "one-hot-drafts") == "conforms"


@pytest.mark.parametrize("check", ["multi-round-law", "proposal-law"])
def test_with_a_draft_model_the_law_is_another(check: str) -> None:
    assert status(adapter.draft, check) == "deviates"


def test_with_prefix_caching_it_raises_and_then_never_drafts() -> None:
    engine = adapter.Pipeline("a new one", prefix_caching=True)
    report = sampled.conform(engine, [CHECKS["multi-round-law"], CHECKS["greedy"]], budget=5)
    assert [each.status for each in report.findings] == ["errored", "vacuous"]


# --- why: refspec's own loop, with their four slips ---


class OneSeed:
    """A drafter and a Chance: the k-th draw of the draft and the k-th of the target have one uniform, as of two generators of one
    seed."""

    def __init__(self, drafter: Any, chance: Chance) -> None:
        self._drafter, self._chance, self._drafting = drafter, chance, False
        self._uniforms: list[OneUniform] = []
        self._drawn = {True: 0, False: 0}

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        self._drafting = True
        draft: Draft = self._drafter.propose(tokens, gamma, self)
        self._drafting = False
        return draft

    def _next(self) -> OneUniform:
        k = self._drawn[self._drafting]
        self._drawn[self._drafting] += 1
        if k == len(self._uniforms):
            self._uniforms.append(OneUniform(self._chance))
        return self._uniforms[k]

    def accept(self, p: Any, q: Any) -> bool:
        return self._next().accept(p, q)

    def pick(self, weights: Any) -> int:
        return self._next().pick(weights)


@dataclass(frozen=True)
class Rule:
    """`validate_candidate` of their sampler.cpp, each of three slips in it or not."""

    fresh: bool = True  # p is that of a token drawn anew, not of the drafted one; and the ratio is upside down
    behind: bool = True  # the replacement is drawn from the row behind the refused token, and nothing is subtracted
    steps: bool = True  # u is one of 0, 0.01, ... 1, and may be equal

    def __call__(self, draft: Draft, target_probs: Any, chance: Any) -> Verdict:
        for i, drafted in enumerate(draft.tokens):
            p, q = target_probs[i], draft.row(i, like=target_probs[i])
            anew = chance.pick(p)
            ratio = min(1, q[drafted] / p[anew] if self.fresh else p[drafted] / q[drafted])
            if not chance.accept(Fraction(math.floor(100 * ratio) + 1, 101) if self.steps else ratio, 1):
                return Verdict(i, chance.pick(target_probs[i + 1] if self.behind else refspec.verify.residual(p, q)))
        return Verdict(len(draft.tokens), chance.pick(target_probs[-1]))


def rational(folder: Path) -> refspec.TableLM:
    """The rows behind the prompt and up to two more tokens, as fractions of 24 bits."""
    model = refspec.load(folder, dtype=np.float64).language_model(PLAIN)
    texts = [TEXTS.prompt + after for n in range(3) for after in product(range(NO_TOKEN), repeat=n)]
    parts = {text: [int(weight) for weight in np.rint(model.probs(text)[0] * 2**24)] for text in texts}
    rows = {text: [Fraction(part, sum(row)) for part in row] for text, row in parts.items()}
    return refspec.TableLM({(): rows[TEXTS.prompt], **rows})


def first_two(case: Case, rule: Callable[..., Verdict], one_seed: bool) -> Mapping[Hashable, Fraction]:
    """The law of the first two tokens, where the target gives the first alone."""
    target, draft = map(rational, case.folders or ())

    def program(chance: Chance) -> Tokens:
        drafter: Any = ModelDrafter(draft)
        if one_seed:
            drafter = chance = OneSeed(drafter, chance)  # type: ignore[assignment]
        text: Tokens = case.prompt
        for n in (1, 2):
            text += next(_rounds(target, drafter, text, n, rule, chance)).tokens[:1]
        return text[len(case.prompt) :]

    return law_of(program)


def _rounds(target: Any, drafter: Any, text: Tokens, n: int, rule: Any, chance: Chance) -> Iterator[Any]:
    return iter(loop.rounds(target, drafter, text, gamma=1, max_new_tokens=n, stop=(), chance=chance, verify=rule))


@pytest.fixture(scope="module")
def seen() -> Sequence[Tokens]:
    """Without top-k, whose survivors it keeps in the order of a heap, so that a shared uniform would pick others."""
    return [run.tokens[:2] for run in adapter.Pipeline("a new one").sampled(replace(TEXTS, sampling=PLAIN), range(RUNS))]


def test_its_own_random_numbers_give_its_tokens(seen: Sequence[Tokens]) -> None:
    """Seed by seed: the words of one Mersenne twister, read by the target and by the draft, each from the first."""
    p, q = map(rational, TEXTS.folders or ())
    assert [predicted(seed, p, q) for seed in range(RUNS)] == seen


def predicted(seed: int, target: refspec.TableLM, draft: refspec.TableLM) -> Tokens:
    words = np.random.RandomState(seed).randint(0, 2**32, 4, np.uint32)

    def rows(model: refspec.TableLM, *text: int) -> Any:
        return model.probs(TEXTS.prompt + text)[0].astype(float)

    def pick(k: int, row: Any) -> int:
        return int(np.searchsorted(np.cumsum(row), words[k] / 2**32, side="right"))

    first = pick(0, rows(target))
    q, p = rows(draft, first), rows(target, first)
    drafted, fresh = pick(0, q), pick(1, p)
    if int(words[2]) * 101 // 2**32 / 100 <= q[drafted] / p[fresh]:
        return first, drafted
    return first, pick(3, rows(target, first, drafted))


def test_their_law_is_that_of_four_slips(seen: Sequence[Tokens]) -> None:
    law = first_two(TEXTS, Rule(), one_seed=True)
    # chi-square of 225 degrees of freedom is above 295 once in a thousand; cells with few counts make G smaller
    assert len(law) == 226
    assert 2 * divergence(Counter(seen), law) < 295


@pytest.mark.parametrize("rule", [Rule(fresh=False), Rule(behind=False), Rule()])
def test_without_one_of_them_it_is_another(seen: Sequence[Tokens], rule: Rule) -> None:
    """The steps of a hundredth move too little; seed by seed they show."""
    law = first_two(TEXTS, rule, one_seed=rule != Rule())
    assert divergence(Counter(seen), law) > threshold(1e-9, len(law))


def test_ctrl_c_behind_a_pipeline_is_no_segmentation_fault() -> None:
    """As it is behind their own call (docs/peers.md)."""
    program = """
import gc, signal
from refspec.conformance.adapters import openvino_genai
pipeline = openvino_genai.draft._made()
del pipeline; gc.collect()
try: signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt: print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
