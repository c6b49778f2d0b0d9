"""Ready adapters, a file an engine. Each imports its engine where it is loaded; `docs/peers.md` says what they found."""

import os

import numpy as np

from refspec.conformance.adapter import Case, Skip

# Kernels run on a CPU in Triton's interpreter. It is chosen before Triton is imported, which some engines do on the way.
os.environ["TRITON_INTERPRET"] = "1"


def require_no_ties(case: Case, *, exactly_k: bool = False) -> None:
    """Raises Skip where a cut falls between equal probabilities: which of them stay is open (N8).

    exactly_k: the engine's top-k keeps k of them, also where the next is equal to the last.

    >>> from refspec.conformance.adapters import require_no_ties
    >>> from refspec.conformance.cases import CHECKS
    >>> require_no_ties(CHECKS["one-round-law"].cases[0])
    """
    warp, k = case.sampling, case.sampling.top_k
    if warp.temperature == 0 or (k, warp.top_p) == (None, None):
        return
    ends = [(), *((token,) for token in range(case.target.vocab_size))]
    for row in (table.probs(case.prompt + end)[0] for table in (case.target, case.draft) for end in ends):
        with np.errstate(divide="ignore"):
            logits = np.log(row)[None]
        kept = warp(logits)
        if not np.allclose(kept, warp(logits[:, ::-1])[:, ::-1]) or (exactly_k and k is not None and (kept > 0).sum() > k):
            raise Skip("top-k or top-p would cut between equal probabilities, and which of them stay is open")
