"""The bridge to a real network: whatever was asked and rolled back before, the answer is a fresh prefill's (N10)."""

import random
import tempfile
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
from folders import LLAMA, write_folder
from models import Case

import refspec
from properties import Subject, Violation
from refspec.models.sampling import with_temperature

V = 5
TINY = {**LLAMA, "vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "max_position_embeddings": 64, "rope_theta": 100.0}
TINY |= {"bos_token_id": None, "eos_token_id": None}
ROUNDING = 1e-9  # N10's bound in float64


@lru_cache
def tiny(seed: int) -> refspec.Model:
    """A random Llama in float64."""
    with tempfile.TemporaryDirectory() as folder:
        return refspec.load(write_folder(Path(folder), TINY, seed=seed, tokenizer=False), dtype=np.float64)


def rows_after_any_history_are_a_fresh_prefills(subject: Subject, case: Case) -> Violation | None:
    """Rows asked of a CachedLM, after texts that grew, were cut and turned elsewhere, equal those without a cache."""
    choose = random.Random(case.seed)
    for make in (subject.target_lm, subject.draft_lm):
        model = tiny(0)
        remembering, tokens = make(model), (0,)
        for step in range(6):
            kept = max(1, len(tokens) - choose.randint(0, 4))
            tokens = (*tokens[:kept], *(choose.randint(0, V - 1) for _ in range(choose.randint(0, 4))))
            last = choose.randint(1, min(len(tokens), 4))
            fresh = with_temperature(model.logits(tokens)[-last:], 1)
            off = np.abs(remembering.probs(tokens, last) - fresh).sum(axis=1).max() / 2
            if not off <= ROUNDING:
                return Violation(Fraction(float(off)), f"step {step}: the row after {len(tokens)} tokens, {kept} of them kept")
    return None


def a_cached_draft_does_not_decay(subject: Subject, case: Case) -> Violation | None:
    """A draft model with the target's own weights and its own cache is accepted in full, round after round."""
    drafter = subject.drafters["model"](subject.draft_lm(tiny(1)))
    found = list(
        subject.rounds(
            subject.target_lm(tiny(1)),
            drafter,
            (1, 2, 3),
            gamma=1 + case.seed % 4,
            max_new_tokens=40,
            stop=(),
            chance=refspec.Seeded(case.seed),
            verify=refspec.verify.token,
        )
    )
    short = [i for i, each in enumerate(found) if each.accepted < each.drafted]
    if not short:
        return None
    share = Fraction(sum(each.accepted for each in found), sum(each.drafted for each in found))
    seen = f"{float(share):.0%} of the draft accepted, from round {short[0] + 1} on less than all (distance: what is missing)"
    return Violation(1 - share, seen)


def a_cached_run_is_the_uncached_run(subject: Subject, case: Case) -> Violation | None:
    """With the same uniforms, caches on both sides change no token: every row is as if computed afresh."""

    class Forgetful:
        vocab_size = V

        def probs(self, tokens: tuple[int, ...], last: int = 1) -> np.ndarray:
            return with_temperature(tiny(self.seed).logits(tokens)[-last:], 1)

        def __init__(self, seed: int) -> None:
            self.seed = seed

    def text(target: refspec.LanguageModel, draft: refspec.LanguageModel) -> tuple[int, ...]:
        found = subject.rounds(
            target,
            subject.drafters["model"](draft),
            (1, 2, 3),
            gamma=1 + case.seed % 4,
            max_new_tokens=30,
            stop=(),
            chance=refspec.Seeded(case.seed),
            verify=subject.rule,
        )
        return tuple(token for each in found for token in each.tokens)

    cached, fresh = text(subject.target_lm(tiny(1)), subject.draft_lm(tiny(2))), text(Forgetful(1), Forgetful(2))
    if cached == fresh:
        return None
    at = next(i for i, (ours, theirs) in enumerate(zip(cached, fresh, strict=True)) if ours != theirs)
    return Violation(Fraction(0), f"token {at + 1} is another one with caches than without")
