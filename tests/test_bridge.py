"""The whole real stack, enumerated: forward pass, cache, warp and loop together have the law of their own conditionals."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder

import refspec
from refspec.exact import law, total_variation
from refspec.interval import IntervalChance, float_bound

VOCAB, GAMMA, HORIZON, PROMPT = 3, 2, 3, (1, 0)
# Rows of one context differ by the order of additions in the forward pass (a chunk of three, or one by one): some 1e-15
# each in float64 at this width. A path has fewer than 1000 such roundings.
FORWARD = Fraction(1, 10**12)


@pytest.mark.parametrize("family", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_the_law_of_the_real_stack_is_the_product_of_its_conditionals(family: dict, tmp_path: Path) -> None:
    target, draft = (
        refspec.load(
            write_folder(
                tmp_path / name, {**family, "vocab_size": VOCAB, "bos_token_id": 0, "eos_token_id": 0}, seed=seed, tokenizer=False
            ),
            dtype=np.float64,
        )
        for name, seed in (("target", 0), ("draft", 1))
    )
    warps = {"temperature": 2.0, "top_p": 0.97}
    rejected = 0

    def program(chance: refspec.Chance) -> tuple[int, ...]:
        """A fresh cache for each path; what was rejected on it is rolled back on it."""
        nonlocal rejected
        out = refspec.speculative(
            target.language_model(**warps),
            refspec.ModelDrafter(draft.language_model(**warps)),
            PROMPT,
            gamma=GAMMA,
            max_new_tokens=HORIZON,
            chance=chance,
        )
        rejected += any(each.accepted < each.drafted for each in out.rounds)
        return out.tokens

    found = law(program, chance=IntervalChance)
    assert rejected > 10  # caches were rolled back

    conditionals: dict[tuple[int, ...], Fraction] = {(): Fraction(1)}
    for _ in range(HORIZON):
        longer = {}
        for text, weight in conditionals.items():
            row = [Fraction(float(each)) for each in target.language_model(**warps).probs(PROMPT + text)[-1]]
            longer |= {(*text, token): weight * each / sum(row) for token, each in enumerate(row) if each}
        conditionals = longer

    assert len(found) > 8
    assert total_variation(found, conditionals) <= float_bound(VOCAB, draws=HORIZON * (2 * GAMMA + 1)) + FORWARD
