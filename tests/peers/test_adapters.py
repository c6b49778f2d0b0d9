"""The ready adapters: what each engine conforms to, and where it deviates. `docs/peers.md` explains the deviations."""

import importlib
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from refspec import verify
from refspec.arrays import Array
from refspec.conformance import replay
from refspec.conformance.adapter import ByGenerator, Case, Run, Skip
from refspec.conformance.answered import answered_law
from refspec.conformance.cases import CHECKS
from refspec.conformance.checks import check_case, observed, require
from refspec.conformance.diagnosis import diagnosed
from refspec.conformance.expected import law_alone
from refspec.conformance.own import Own
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import Verdict
from refspec.models.sampling import Sampling
from refspec.proof.exact import total_variation

pytestmark = pytest.mark.peers

ADAPTERS = "refspec.conformance.adapters."
CONFORMING = (
    "transformers:assistant",
    "transformers:early_exit",
    "transformers:lookup",
    "dflash:rejection",
    "dflash_mlx:rejection",
    "dspark:rule",
    "eagle:angelslim",
    "economize:one",
    "flashmap:loop",
    "flashspec:rejection",
    "lucidrains:loop",
    "mini_infer:step",
    "seqspecdecod:naive_hsd",
    "seqspecdecod:standard",
)
DEVIATING = {
    "csaq:loop": "greedy",
    "eagle:chain": "proposal-law",
    "flashinfer:reference": "one-round-law",
    "litgpt:loop": "greedy",
    "litgpt:step": "greedy",
    "mlx_dspark:rule": "support",
    "naive_speculate:rule": "support",
    "nunspark:rule": "support",
    "rotalabs:rule": "one-round-law",
    "seqspecdecod:capped_hsd": "multi-round-law",
    "specdec:loop": "length",
}
AT_U_0 = ("lmdeploy:tests", "mtplx:rounds", "tpu_inference:tests", "vllm:tests")
# What an engine has no notion of, or what was not asked of it.
SKIPPED = {"vocabulary-padding", "ragged-batch", "processors", "proposal-law", "stop-token"}


def engine(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(ADAPTERS + module), attribute)
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("name", CONFORMING)
def test_it_conforms(name: str, check: Any) -> None:
    found = [check_case(engine(name), check, case) for case in check.cases]
    skipped = SKIPPED | ({"greedy"} if engine(name).dialect.ties == "open" else set())
    assert {each.status for each in found} <= {"conforms"} | ({"skipped"} if check.id in skipped else set()), found


@pytest.mark.parametrize("name", DEVIATING)
def test_it_deviates_where_the_page_says(name: str) -> None:
    check = CHECKS[DEVIATING[name]]
    assert any(check_case(engine(name), check, case).status == "deviates" for case in check.cases)  # the first to do so is enough


@pytest.mark.parametrize("name", AT_U_0)
def test_a_kernel_accepts_at_u_0(name: str) -> None:
    """And on all vectors it is the bug that accepts iff u <= p / q."""
    report = replay.conform(engine(name))
    diagnosis = diagnosed(report)
    assert (report.code, diagnosis.equal) == (1, ("u-at-most-p-over-q",))


def test_a_bonus_token_that_is_not_warped_explains_eagle() -> None:
    chain, check = engine("eagle:chain"), CHECKS["proposal-law"]
    for case in (case for case in check.cases if case.name in ("temperature", "top-k")):
        expected = observed(Own(partial(_bonus_of_raw_row, case)), case).texts
        assert total_variation(observed(chain, case).texts, expected) < 1e-6  # float32 rows
        assert total_variation(expected, law_alone(case)) > 0.01


def _bonus_of_raw_row(case: Case, draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    """One drafted token, and two in the text. The last row of the target is taken before the warps."""
    rows = target_probs.copy()
    if draft.tokens:
        rows[-1] = case.target.probs(case.prompt + draft.tokens)[0]
    return verify.token(draft, rows, chance)


def test_litgpt_at_temperature_0_tests_the_likeliest_by_softmax_rows() -> None:
    case = next(case for case in CHECKS["greedy"].cases if case.name == "temperature 0")
    case = replace(case, max_new_tokens=2, gamma=1)
    p, q = (table.probs(case.prompt)[0] for table in (case.target, case.draft))
    drafted, instead = int(q.argmax()), int((p - q).argmax())
    passes = min(1.0, p[drafted] / q[drafted])
    found = Counter[int]()
    for text, weight in observed(engine("litgpt:step"), case).texts.items():
        found[text[0]] += float(weight)
    assert dict(found) == pytest.approx({drafted: passes, instead: 1 - passes}, abs=1e-6)  # float32 rows


def test_keras_hub_tests_its_greedy_draft_as_if_it_had_been_drawn() -> None:
    sampler = engine("keras_hub:sampler")
    case = replace(CHECKS["one-round-law"].cases[0], max_new_tokens=1)
    n, p, q = 1000, *(table.probs(case.prompt)[0] for table in (case.target, case.draft))
    passes, left = min(1, p[q.argmax()] / q[q.argmax()]), np.maximum(p - q, 0)
    law = passes * (np.arange(len(p)) == q.argmax()) + (1 - passes) * left / left.sum()
    seen = np.bincount([run.tokens[0] for run in sampler.sampled(case, range(n))], minlength=len(p)) / n
    # 1000 samples: a share is off by 0.016 at most, and 0.08 is five times that; the target's own is off by 0.125
    assert np.abs(seen - law).max() < 0.08 < np.abs(law - p).max()


def test_flashinfers_reference_is_two_lines_of_a_bug() -> None:
    """Its law equals that of a rule that accepts iff p >= q and else takes the likeliest token."""
    reference = engine("flashinfer:reference")

    def never_draws(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        for i, drafted in enumerate(draft.tokens):
            if not target_probs[i][drafted] >= draft.row(i, like=target_probs[i])[drafted]:
                return Verdict(i, int(target_probs[i].argmax()))
        return Verdict(len(draft.tokens), int(target_probs[-1].argmax()) if draft.tokens else chance.pick(target_probs[0]))

    for case in (*CHECKS["one-round-law"].cases, *CHECKS["multi-round-law"].cases):
        assert total_variation(observed(reference, case).texts, observed(Own(never_draws), case).texts) < 1e-6  # float32 rows


@pytest.mark.parametrize(
    "check", [check for check in CHECKS.values() if check.id not in SKIPPED], ids=lambda check: str(check.id)
)
def test_csaq_is_explained_by_a_row_behind_and_a_cache_of_what_was_drafted(check: Any) -> None:
    """Its law is that of this loop, with the rows of refspec's own tables."""
    csaq = engine("csaq:loop")

    def slips(case: Case, generator: Any) -> Run:
        target, draft = Own()._models(case)
        text, read = case.prompt, ()
        while (left := len(case.prompt) + case.max_new_tokens - len(text)) > 0:
            read += text[-1:]  # which the cache may have already
            guesses: Tokens = ()
            for _ in range(min(case.gamma, left)):
                guesses += (int(generator.choice(case.size, p=draft.probs(read + guesses)[0])),)
            p = target.probs(read + guesses, last=len(guesses))  # each behind its guess
            q = draft.probs(read + guesses[:-1], last=len(guesses))
            kept = guesses
            for i, token in enumerate(guesses):
                if generator.random() * q[i][token] >= p[i][token]:
                    weights = np.maximum(p[i] - q[i], 0)
                    weights = weights if weights.any() else p[i]
                    kept = (*guesses[:i], int(generator.choice(case.size, p=weights / weights.sum())))
                    break
            text, read = text + kept, read + guesses[: len(kept)]  # not what is kept
        return Run(text[len(case.prompt) :])

    for case in check.cases:
        try:
            require(case, csaq.dialect)
            theirs = observed(csaq, case)
        except Skip:
            continue
        ours = observed(ByGenerator(slips, csaq.dialect), case)
        assert total_variation(theirs.texts, ours.texts) < 1e-6  # float32 rows


# The table of docs/peers.md: how far the law is from plain decoding's, after one and after two new tokens.
HIDDEN_PROMPT = {
    ("repetition_penalty", 1.5): (0.120, 0.172),
    ("repetition_penalty", 2.0): (0.218, 0.312),
    ("presence_penalty", 1.0): (0.207, 0.270),
}


@pytest.mark.parametrize("penalty", HIDDEN_PROMPT, ids=str)
def test_mlx_lm_is_explained_by_the_shortened_text(penalty: tuple[str, float]) -> None:
    """Its law is that of mlx-lm's own plain loop where processors see the last token of the prompt and the new ones."""
    engine("mlx_lm:speculative")
    mlx_lm = importlib.import_module(ADAPTERS + "mlx_lm")

    def law(case: Any, *, speculative: bool) -> Any:
        return answered_law(lambda generator: mlx_lm.run(case, generator, speculative=speculative, **dict([penalty])).tokens)

    for n, expected in enumerate(HIDDEN_PROMPT[penalty], 1):
        case = replace(CHECKS["processors"].cases[1], max_new_tokens=n, gamma=1, repetition_penalty=1)
        assert case.prompt == (1, 0)  # two tokens; the rows go by the last one alone
        found = law(case, speculative=True)
        assert total_variation(found, law(replace(case, prompt=case.prompt[-1:]), speculative=False)) == 0
        assert round(float(total_variation(found, law(case, speculative=False))), 3) == expected


LLAMA_CPP = ("draft", "probabilistic", "ngram")


@pytest.mark.parametrize("name", LLAMA_CPP)
def test_llama_cpp_has_the_targets_law_as_far_as_samples_tell(name: str) -> None:
    case = CHECKS["one-round-law"].cases[0]
    case = replace(case, max_new_tokens=3)  # with two, it drafts nothing
    runs = engine(f"llama_cpp:{name}").sampled(case, range(4000))
    assert sum(run.drafted for run in runs) > 1000
    expected = law_alone(case)
    # Pearson's chi-square: 26 degrees of freedom, so that 90 has a chance of 4e-9
    assert {run.tokens for run in runs} <= set(expected)
    seen = Counter(run.tokens for run in runs)
    assert sum((seen[text] - 4000 * float(p)) ** 2 / (4000 * float(p)) for text, p in expected.items()) < 90


@pytest.mark.parametrize("name", LLAMA_CPP)
def test_llama_cpp_repeats_a_seed_and_is_greedy_where_it_should_be(name: str) -> None:
    llama, case = engine(f"llama_cpp:{name}"), replace(CHECKS["one-round-law"].cases[0], max_new_tokens=5, gamma=2)
    texts = [run.tokens for run in llama.sampled(case, range(100))]
    assert [run.tokens for run in llama.sampled(case, range(100)[::-1])][::-1] == texts
    if name != "probabilistic":  # which draws to test, and so what it draws next is another number
        assert texts == [run.tokens for run in engine("llama_cpp:plain").sampled(case, range(100))]
    for sampling in (Sampling(temperature=0.0), Sampling(top_k=1)):
        runs = llama.sampled(replace(case, sampling=sampling), range(20))
        assert {run.tokens for run in runs} == set(law_alone(replace(case, sampling=Sampling(temperature=0.0))))
        assert sum(run.drafted for run in runs) > 0
