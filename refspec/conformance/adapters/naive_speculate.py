"""naive-speculate: `speculative_sampling`, its rule.

Needs `pip install torch`, and `pip install --no-deps --ignore-requires-python naive-speculate` below Python 3.14: the function is
taken from its file.
"""

from importlib.metadata import version

import torch

from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.parts import by_rule

naive = borrowed(
    "naive-speculate", "naive_speculate/speculate/utils.py", "speculative_sampling", "_indexing_or_mask", torch=torch
)


def _rule(tokens: torch.Tensor, draft_rows: torch.Tensor, target_rows: torch.Tensor) -> tuple[int, int]:
    accepted, token = naive.speculative_sampling(target_rows, draft_rows, tokens)
    return int(accepted), int(token)


rule = by_rule(_rule, "naive-speculate, speculative_sampling", version("naive-speculate"))
