"""Lenience, an INEXACT rule: the token rule with the draft's distribution made smaller in the test, so that more is accepted.

arXiv 2211.17192, Appendix A.5: "multiply q(x) by l before comparing with p(x) in Algorithm 1", with l in [0, 1].
"""

from fractions import Fraction
from typing import TYPE_CHECKING

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify.token_rule import residual
from refspec.decoding.verify.verdict import Verdict, claims
from refspec.numeric import number

if TYPE_CHECKING:
    from refspec.decoding.verify import Rule


def inexact_lenience(factor: Fraction | float) -> "Rule":
    """Inexact: a rule that accepts each drafted token with probability min(1, p / (l q)), l = factor, 0 < l <= 1.

    After a rejection it draws from the token rule's residual, (p - q)+: the paper changes the comparison and leaves the
    adjustment of Algorithm 1 as it stands. No distribution to draw from there ends nearer to p: the distance of what
    is emitted is what acceptance gains, sum min(p / l, q) - sum min(p, q). No token becomes likelier than p / l; some may never
    be emitted at all. l = 1 is the token rule, and so is any l at temperature 0.

    Order of draws: the token rule's.

    >>> import numpy as np
    >>> import refspec
    >>> from refspec.verify import inexact_lenience
    >>> draft = refspec.Draft((0,), np.array([[0.75, 0.25]]), start=0)
    >>> target_probs = np.array([[0.25, 0.75], [0.5, 0.5]])
    >>> inexact_lenience(0.5)(draft, target_probs, refspec.Tape([0.9, 0.5]))
    Verdict(accepted=0, token=1)
    """
    number("factor", factor, lambda given: 0 < given <= 1, "a number above 0 and at most 1, where 1 is exact")
    factor = Fraction(factor)  # a float would turn rational rows into floats

    @claims(exact=False)
    def rule(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        for i, drafted in enumerate(draft.tokens):
            target_row = target_probs[i]
            draft_row = draft.row(i, like=target_row)
            # p / l against q, since l * q can underflow to 0 and would accept what p forbids
            if not chance.accept(target_row[drafted] / factor, draft_row[drafted]):
                return Verdict(i, chance.pick(residual(target_row, draft_row)))
        return Verdict(len(draft.tokens), chance.pick(target_probs[len(draft.tokens)]))

    return rule
