"""rotalabs-accel: `rejection_sample`, its test of one drafted token. Needs `pip install torch transformers rotalabs-accel`.

Its loop, `speculative_decode`, raises a TypeError at the first draft: it passes an argument that its own sampler does not take.
"""

from importlib.metadata import version

import torch
from rotalabs_accel.speculative.sampling import rejection_sample, sample_from_logits

from refspec.conformance.adapters.parts import by_rule


def _rule(tokens: torch.Tensor, draft_rows: torch.Tensor, target_rows: torch.Tensor) -> tuple[int, int]:
    logits = target_rows.log()
    for i, token in enumerate(tokens):
        accepted, new = rejection_sample(target_rows[i, token], draft_rows[i, token], token, logits[i])
        if not accepted:
            return i, int(new)
    return len(tokens), int(sample_from_logits(logits[-1:])[0])


rule = by_rule(_rule, "rotalabs-accel, rejection_sample", version("rotalabs-accel"))
