"""Bugs of block verification."""

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from mutants.planting import Known, patched, planted
from refspec.conformance.bugs.uniforms import OneUniform
from refspec.arrays import Array
from refspec.decoding import verify
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify import Verdict
from refspec.decoding.verify.block_rule import block

MUTANTS, plant = planted("block")
BLOCK = "refspec.decoding.verify.block_rule"
THIRD = Fraction(1, 3)
P, Q = (THIRD, 2 * THIRD), (2 * THIRD, THIRD)
KEPT = "kept = next((i for i in range(n, 0, -1) if chance.accept(mass[i], mass[i] + (1 - keep[i]))), 0)"
PASSES = "chance.accept(mass[i], mass[i] + (1 - keep[i]))"


@lru_cache
def longest_below(bounds: tuple[Fraction, ...]) -> list[int]:
    """How often each i is the last for which u_1 * ... * u_i <= bounds[i], over a grid of all uniforms."""
    side = {0: 1, 1: 4096, 2: 1024, 3: 128, 4: 32}[len(bounds)]
    product, last = np.ones(()), np.zeros((), int)
    for i, bound in enumerate(bounds):
        product = product[..., None] * (np.arange(side) + 0.5) / side
        last = np.where(product <= float(bound), i + 1, last[..., None])
    return np.bincount(last.ravel(), minlength=len(bounds) + 1).tolist()


def block_rule(
    name: str, what: str, source: str, *changes: tuple[str, str], law: Any = None, tolerance: float = 0, **names: Any
) -> None:
    known = Known(P, Q, law, gamma=2, tolerance=tolerance) if law else None
    plant(name, what, source, promises="block", rule=patched(BLOCK, *changes, **names).block, known=known)


# 4/9 of drafts are (0, 0), with bounds 1/2 and 1/4, and keep the first token with 1/2 + 1/4 (1 + ln 4) - 1/4 (1 + ln 2);
# 2/9 are (0, 1) and keep it always. That is .5215.
block_rule(
    "block-product-of-uniforms",
    "compares p_i with a product of uniforms",
    "vllm-ascend",
    (KEPT, "kept = chance.pick(longest_below(tuple(keep[1:])))"),
    longest_below=longest_below,
    law=(0.5215, 0.4785),
    tolerance=0.0005,
)
block_rule(
    "block-stops-at-first-failure",
    "tests upwards and stops at the first prefix that fails",
    "vllm-ascend #7807",
    (KEPT, f"kept = next((i for i in range(n) if not {PASSES.replace('[i]', '[i + 1]')}), n)"),
    law=(Fraction(0), Fraction(1)),
)
block_rule(
    "block-threshold-is-p_i",
    "each prefix passes with p_i itself",
    "vllm-ascend #7807",
    (PASSES, "chance.accept(keep[i], 1)"),
    law=(Fraction(1, 2), Fraction(1, 2)),
)
block_rule(
    "block-residual-of-token",
    "goes on from p - q where it should from p_i * p - q",
    "several",
    (
        "chance.pick(left[kept] if left[kept].any()",
        "chance.pick(verify.residual(target_probs[kept], draft.row(kept, like=target_probs[0])) if kept < n",
    ),
    verify=verify,
)


def with_one_uniform(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    return block(draft, target_probs, OneUniform(chance))


plant("block-one-u-for-all", "one uniform tests every prefix", "several", promises="block", rule=with_one_uniform)
