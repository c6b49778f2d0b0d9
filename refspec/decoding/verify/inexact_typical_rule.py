"""Typical acceptance, an INEXACT rule: keep what the target finds likely enough, whatever the draft's distribution was.

Cai et al. 2024, Medusa, arXiv 2401.10774, section 2.3.1 (the criterion is Hewitt et al.'s truncation, arXiv 2210.15191).
Left out: its tree of candidates, of which the longest accepted prefix wins. Here is one candidate.
"""

from typing import TYPE_CHECKING

import numpy as np

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify.verdict import Verdict, claims
from refspec.numeric import number

if TYPE_CHECKING:
    from refspec.decoding.verify import Rule


def inexact_typical(epsilon: float = 0.09, delta: float = 0.3) -> "Rule":
    """Inexact: a rule that keeps a drafted token iff p(d) > min(epsilon, delta * exp(-entropy of p)).

    After a rejection it emits the target's most likely token (lowest id of the maximum), and so it does after full
    acceptance and for an empty draft: the paper has no residual, and its step begins with "greedy decoding for the first
    token", accepted unconditionally, which in this loop is the token that ends the round before. So nothing is random but
    the draft: what is emitted has distribution q where p passes, and all the rest of q on one token. On one-hot rows it is greedy
    decoding.

    epsilon, delta: between 0 and 1; by default those of the paper's code, where delta is sqrt(epsilon). Below delta = 1 the
    most likely token always passes, since max p >= exp(-entropy). Order of draws: none, not even the last pick.

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.verify import inexact_typical
    >>> draft = refspec.Draft((0,), np.array([[0.75, 0.25]]), start=0)
    >>> target_probs = np.array([[0.25, 0.75], [0.5, 0.5]])
    >>> inexact_typical(epsilon=0.25, delta=1)(draft, target_probs, refspec.Tape([]))
    Verdict(accepted=0, token=1)
    """
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        number(name, value, lambda given: 0 <= given <= 1, "a number between 0 and 1")

    @claims(exact=False)
    def rule(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        kept = 0
        for drafted in draft.tokens:
            # Exact, though the threshold is irrational: it is rounded once, and a Fraction compares with any float.
            if not target_probs[kept][drafted] > threshold(target_probs[kept], epsilon, delta):
                break
            kept += 1
        return Verdict(kept, int(target_probs[kept].argmax()))

    return rule


def threshold(target_row: Array, epsilon: float, delta: float) -> float:
    """min(epsilon, delta * exp(-entropy)) in float64, the one place where a rule leaves the rationals.

    exp(-entropy) is the product of p ** p. The paper's code adds 1e-5 inside the logarithm; here 0 log 0 is 0.

    >>> import numpy as np
    >>> from refspec.decoding.verify.inexact_typical_rule import threshold
    >>> round(threshold(np.array([0.5, 0.5]), epsilon=1, delta=0.5), 3)
    0.25
    """
    likely = target_row[target_row > 0].astype(np.float64)
    return min(float(epsilon), float(delta) * float(np.exp(np.sum(likely * np.log(likely)))))
