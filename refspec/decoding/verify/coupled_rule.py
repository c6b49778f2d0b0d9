"""Coupled verification: one noise a position for target and draft, so that the text depends on the seed alone.

Daliri, Musco and Suresh 2024, arXiv 2408.07978 (drafter-invariant speculative decoding, by Gumbel sampling). The
noise of a position, exponential clocks, is a function of the seed and the position; target and draft each take the
token whose clock rings first at the rate its own distribution gives it. Similar distributions choose the same token most
of the time.
"""

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify.verdict import Verdict, claims
from refspec.errors import BrokenDrafter


@claims(exact=True)
def coupled(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    """Race p at each position and emit the winner; go on while the draft said the same.

    Draws no uniform (N5): every token is a race keyed by its absolute position, the bonus and the empty draft included.
    So tokens are equal for all drafters and all gamma. Pairs with `CoupledDrafter`; any drafter is correct.

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.verify import coupled
    >>> draft = refspec.Draft((0,), np.array([[0.75, 0.25]]), start=0)
    >>> target_probs = np.array([[0.25, 0.75], [0.5, 0.5]])
    >>> coupled(draft, target_probs, refspec.Tape([0.5, 0.5]))
    Verdict(accepted=0, token=1)
    """
    if draft.start is None:
        raise BrokenDrafter("the draft does not say at which position it starts; the coupled rule races by position: set start")
    for i, drafted in enumerate(draft.tokens):
        token = chance.race(draft.start + i, target_probs[i])
        if token != drafted:
            return Verdict(i, token)
    return Verdict(len(draft.tokens), chance.race(draft.start + len(draft.tokens), target_probs[len(draft.tokens)]))
