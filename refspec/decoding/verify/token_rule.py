"""Token-by-token verification: the rule of arXiv 2211.17192 (Algorithm 1) and arXiv 2302.01318 (Algorithm 2)."""

import numpy as np

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify.verdict import Verdict, claims


@claims(exact=True)
def token(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    """Accept each drafted token with probability min(1, p / q); replace the first one rejected from the residual.

    Order of draws: one accept for each drafted token until the first rejection, then one pick (N5).

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.verify import token
    >>> draft = refspec.Draft((0,), np.array([[0.75, 0.25]]), start=0)
    >>> target_probs = np.array([[0.25, 0.75], [0.5, 0.5]])
    >>> token(draft, target_probs, refspec.Tape([0.9, 0.5]))
    Verdict(accepted=0, token=1)
    """
    for i, drafted in enumerate(draft.tokens):
        target_row = target_probs[i]
        draft_row = draft.row(i, like=target_row)
        if not chance.accept(target_row[drafted], draft_row[drafted]):  # rejected: r_i > p_i(x) / q_i(x)
            return Verdict(i, chance.pick(residual(target_row, draft_row)))  # t ~ norm(max(0, p - q))
    return Verdict(len(draft.tokens), chance.pick(target_probs[len(draft.tokens)]))  # the bonus: t ~ p


def residual(target_row: Array, draft_row: Array) -> Array:
    """N4: max(p - q, 0), [v], unnormalised: what p has left once min(p, q) is spent.

    After a rejection it can be all zero only through rounding (q one ulp above p somewhere); then p itself.

    >>> import numpy as np
    >>> from refspec.verify import residual
    >>> residual(np.array([0.25, 0.75]), np.array([0.75, 0.25])).tolist()
    [0.0, 0.5]
    """
    left = np.maximum(target_row - draft_row, 0)
    return left if left.any() else target_row
