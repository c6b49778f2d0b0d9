"""Block verification: one decision for the whole draft, so that a later token can rescue an earlier one.

Sun et al. 2024, arXiv 2403.10444, Algorithm 2. Its expected accepted length is never below the token rule's.
"""

from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify.verdict import Verdict, claims


@claims(exact=True, looks_ahead=True)
def block(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    """Keep the longest prefix whose test succeeds; go on from the residual of where it ends.

    Order of draws: accepts from the whole draft downwards until the first success, none for the empty prefix, then one
    pick. (The paper tests every prefix upwards and keeps the longest success: the same distribution, with more draws.)

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.verify import block
    >>> draft = refspec.Draft((0,), np.array([[0.75, 0.25]]), start=0)
    >>> target_probs = np.array([[0.25, 0.75], [0.5, 0.5]])
    >>> block(draft, target_probs, refspec.Tape([0.9, 0.5]))
    Verdict(accepted=0, token=1)
    """
    n = len(draft.tokens)
    # keep[i] is p_i of the paper: the chance that i tokens stay, given that they were drafted.
    # left[i] is what the target has left after them, and mass[i] how much that is; after all n, p itself, keep[n] times.
    keep: list[Any] = [1]
    left = []
    for i, drafted in enumerate(draft.tokens):
        target_row = target_probs[i]
        draft_row = draft.row(i, like=target_row)
        left.append(np.maximum(keep[i] * target_row - draft_row, 0))
        # min before the division: over a subnormal q the quotient would overflow
        keep.append(min(keep[i] * target_row[drafted], draft_row[drafted]) / draft_row[drafted])
    mass = [each.sum() for each in left] + [keep[n]]
    left.append(target_probs[n])

    # 1 - keep first: at keep = 1 the second weight is then exactly the first, and the test certain
    kept = next((i for i in range(n, 0, -1) if chance.accept(mass[i], mass[i] + (1 - keep[i]))), 0)
    return Verdict(kept, chance.pick(left[kept] if left[kept].any() else target_probs[kept]))
