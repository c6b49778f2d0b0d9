"""The ready adapters: what each engine conforms to, and where it deviates. `docs/peers.md` explains the deviations."""

import importlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from refspec.arrays import Array
from refspec.conformance.cases import CHECKS
from refspec.conformance.checks import check_case, observed
from refspec.conformance.expected import law_alone
from refspec.conformance.own import Own
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify import Verdict
from refspec.proof.exact import total_variation

pytestmark = pytest.mark.peers

ADAPTERS = "refspec.conformance.adapters."
CONFORMING = (
    "transformers:assistant",
    "transformers:early_exit",
    "transformers:lookup",
    "economize:one",
    "flashspec:rejection",
    "mini_infer:step",
    "seqspecdecod:naive_hsd",
    "seqspecdecod:standard",
)
DEVIATING = {
    "flashinfer:reference": "one-round-law",
    "seqspecdecod:capped_hsd": "multi-round-law",
}
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
    assert {each.status for each in found} <= {"conforms"} | ({"skipped"} if check.id in SKIPPED else set()), found


@pytest.mark.parametrize("name", DEVIATING)
def test_it_deviates_where_the_page_says(name: str) -> None:
    check = CHECKS[DEVIATING[name]]
    assert "deviates" in {check_case(engine(name), check, case).status for case in check.cases}


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


def test_mlx_lm_is_explained_by_the_shortened_text() -> None:
    """Its law is the target's where processors see the last token of the prompt and the new ones."""
    case = replace(CHECKS["processors"].cases[1], max_new_tokens=2, gamma=1)
    assert case.prompt == (1, 0)  # two tokens; the rows go by the last one alone
    shortened = law_alone(replace(case, prompt=case.prompt[-1:]))
    found = observed(engine("mlx_lm:speculative"), case).texts
    assert total_variation(found, shortened) < 1e-6 < 0.1 < total_variation(found, law_alone(case))  # float32 logits


def test_llama_cpp_has_the_targets_law_as_far_as_samples_tell() -> None:
    case = CHECKS["one-round-law"].cases[0]
    case = replace(case, max_new_tokens=3)  # with two, it drafts nothing
    runs = engine("llama_cpp:draft").sampled(case, range(4000))
    assert sum(run.drafted for run in runs) > 1000
    expected = law_alone(case)
    # Pearson's chi-square: 26 degrees of freedom, so that 90 has a chance of 4e-9
    assert {run.tokens for run in runs} <= set(expected)
    seen = Counter(run.tokens for run in runs)
    assert sum((seen[text] - 4000 * float(p)) ** 2 / (4000 * float(p)) for text, p in expected.items()) < 90
