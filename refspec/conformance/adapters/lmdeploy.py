"""LMDeploy: its rejection sampling in PyTorch, which serves where there is no kernel.

Needs `pip install torch` and `pip install --no-deps lmdeploy`: it is taken from its file. All positions of a round race with the
same exponential draws, of which one race counts.
"""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch

from refspec.arrays import Array
from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.kernels import Tests, sampled
from refspec.conformance.taped import TapedGenerator
from refspec.conformance.torch_draws import drawing_from

_lmdeploy = borrowed(
    "lmdeploy",
    "lmdeploy/pytorch/backends/default/rejection_sampling.py",
    *("_format_rejection_outputs", "DefaultRejectionSamplingImpl"),
    torch=torch,
    RejectionSamplingImpl=object,
    PLACEHOLDER_TOKEN_ID=-1,
)


def judge(
    tokens: Sequence[int], draft_rows: Array, target_rows: Array, accept: Sequence[float], race: Array, bonus: int
) -> tuple[int, int]:
    p, q = (torch.tensor(np.array(rows)[None], dtype=torch.float32) for rows in (target_rows[:-1], draft_rows))
    with drawing_from(TapedGenerator([*accept, *-np.expm1(-race)])):
        new, _, last = _lmdeploy.DefaultRejectionSamplingImpl().forward(
            p.log(), torch.tensor([tokens]), torch.tensor([bonus]), is_greedy=None, draft_probs=q
        )
    return int((new >= 0).sum()) - 1, int(last)


_NAME = "LMDeploy, DefaultRejectionSamplingImpl"
tests = Tests(judge, _NAME, version("lmdeploy"))
rejection = sampled(judge, _NAME, version("lmdeploy"))
