"""FlashInfer's published reference of `chain_speculative_sampling`, which its GPU kernels' traces are compared with.

Needs `pip install torch`, and `pip install --no-deps flashinfer-python`: the function is taken from its file.
"""

from importlib.metadata import version

import torch

from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.parts import by_rule

_trace = borrowed(
    "flashinfer-python", "flashinfer/trace/templates/sampling.py", "_chain_speculative_sampling_reference", torch=torch
)


def _rule(tokens: torch.Tensor, draft_rows: torch.Tensor, target_rows: torch.Tensor) -> tuple[int, int]:
    emitted = _trace._chain_speculative_sampling_reference(draft_rows[None], tokens[None], target_rows[None])[0]
    new = emitted[emitted >= 0].tolist()
    return len(new) - 1, new[-1]


reference = by_rule(_rule, "FlashInfer, reference of chain_speculative_sampling", version("flashinfer-python"))
