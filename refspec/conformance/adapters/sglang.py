"""SGLang: its rejection kernel for chains, by tokens and by blocks, in Triton's interpreter: uniforms in, tokens out.

Needs `pip install torch triton` and `pip install --no-deps sglang`: the kernel is taken from its file. The uniforms are read from
memory, so nothing is intercepted: this is the replay level.
"""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch

from refspec.arrays import Array
from refspec.conformance.adapter import Dialect, Verdict
from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.interpreted import triton
from refspec.decoding.lm import Tokens

_kernels = borrowed(
    "sglang",
    "sglang/kernels/ops/speculative/reject_sampling.py",
    "speculative_sampling_classic_kernel",
    "chain_speculative_sampling_triton",
    triton=triton,
    tl=triton.language,
)


class Kernel:
    """One round of SGLang's verification. block: by blocks (arXiv 2403.10444), whose tests are read from the last token on."""

    def __init__(self, block: bool) -> None:
        self._block = block
        name = f"SGLang, chain_speculative_sampling_triton, by {'blocks' if block else 'tokens'}"
        self.dialect = Dialect(name, version("sglang"), uniforms_in="rounds", block=block, kv_dtype="float32")

    def verify(self, tokens: Tokens, draft_probs: Array, target_probs: Array, accept: Sequence[float], pick: float) -> Verdict:
        n = len(tokens)
        predicts, index = torch.full((n + 1,), -1, dtype=torch.int32), torch.arange(n + 1)[None]
        accepted, count = torch.full((1, n + 1), -1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
        _kernels.chain_speculative_sampling_triton(
            predicts,
            accepted,
            count,
            torch.tensor([(0, *tokens)]),  # the first slot is the last token of the text
            index,
            None,
            None,
            torch.tensor([(*accept, 0.0)], dtype=torch.float32),
            torch.tensor([pick], dtype=torch.float32),
            torch.tensor(np.array(target_probs)[None], dtype=torch.float32),
            torch.tensor(np.array(draft_probs)[None], dtype=torch.float32),
            1.0,
            1.0,
            True,
            block_verification=self._block,
        )
        return Verdict(int(count), int(predicts[int(count)]))


by_tokens = Kernel(block=False)
by_blocks = Kernel(block=True)
