"""Sample and compare: what transformers and llama.cpp do when they verify a sampled draft.

It looks biased, since a draft that the target's own sample misses is thrown away whatever p says of it. But what is
emitted is always that sample, so the distribution is p by construction; only fewer drafts survive than under the token rule.
"""

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify.verdict import Verdict, claims


@claims(exact=True)
def sample_match(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    """Draw from p at each position and emit it; go on while the draft said the same.

    Order of draws: one pick for each drafted token until the first mismatch; after full acceptance one more.

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.verify import sample_match
    >>> draft = refspec.Draft((0,), np.array([[0.75, 0.25]]), start=0)
    >>> target_probs = np.array([[0.25, 0.75], [0.5, 0.5]])
    >>> sample_match(draft, target_probs, refspec.Tape([0.9]))
    Verdict(accepted=0, token=1)
    """
    for i, drafted in enumerate(draft.tokens):
        token = chance.pick(target_probs[i])
        if token != drafted:
            return Verdict(i, token)
    return Verdict(len(draft.tokens), chance.pick(target_probs[len(draft.tokens)]))
