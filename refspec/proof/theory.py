"""Closed forms: how often a drafted token is accepted, how many tokens a round yields, and when that is faster.

Only + - * /, min, max and comparisons, so rows of Fractions give exact numbers and rows of floats the usual ones. Each
formula names its source and equals, on rationals, the enumeration of the production rule (tests/test_theory.py).
Throughout, p is the target's row [v] and q the draft's; alpha is the acceptance of one drafted token.
"""

from collections.abc import Callable, Iterable
from typing import Any

from refspec.arrays import Array
from refspec.decoding.draft.adaptive import best_draft_length as best_draft_length  # which the drafter itself needs

NextRow = Callable[[tuple[int, ...]], Array]  # the row [v] that follows some drafted tokens
Cost = Callable[[int], Any]  # of verifying gamma drafted tokens; a table of measurements serves as `table.__getitem__`

# --- one drafted token ---


def token_acceptance(target_row: Array, draft_row: Array) -> Any:
    """sum min(p, q): the token rule's, and block's for one token (arXiv 2211.17192, Theorem 3.5).

    >>> from refspec.theory import token_acceptance
    >>> token_acceptance([0.5, 0.5], [0.75, 0.25])
    0.75
    """
    return sum(min(p, q) for p, q in zip(target_row, draft_row, strict=True))


def optimal_acceptance(target_row: Array, draft_row: Array) -> Any:
    """1 - TV(p, q): what no exact rule exceeds with one draft, since token and draft are a coupling of p and q.

    >>> from refspec.theory import optimal_acceptance
    >>> optimal_acceptance([0.5, 0.5], [0.75, 0.25])
    0.75
    """
    return 1 - sum(abs(p - q) for p, q in zip(target_row, draft_row, strict=True)) / 2


def fixed_acceptance(target_row: Array, drafted: int) -> Any:
    """p(d): every exact rule's, for a drafted token d that was not drawn (an n-gram's, an argmax: q is a point mass).

    >>> from refspec.theory import fixed_acceptance
    >>> fixed_acceptance([0.25, 0.75], drafted=1)
    0.75
    """
    return target_row[drafted]


def sample_match_acceptance(target_row: Array, draft_row: Array) -> Any:
    """sum p q: two independent draws agree.

    >>> from refspec.theory import sample_match_acceptance
    >>> sample_match_acceptance([0.5, 0.5], [0.75, 0.25])
    0.5
    """
    return sum(p * q for p, q in zip(target_row, draft_row, strict=True))


def coupled_acceptance(target_row: Array, draft_row: Array) -> Any:
    """Two races on one noise agree: sum over x of 1 / sum over y of max(p_y / p_x, q_y / q_x), p_x and q_x > 0.

    arXiv 2408.07978. x wins both iff each E_y is at least E_x * max(p_y / p_x, q_y / q_x), all E independent Exp(1).

    >>> from fractions import Fraction
    >>> from refspec.theory import coupled_acceptance
    >>> coupled_acceptance([Fraction(1, 2), Fraction(1, 2)], [Fraction(3, 4), Fraction(1, 4)])
    Fraction(3, 4)
    """
    pairs = list(zip(target_row, draft_row, strict=True))
    return sum(1 / sum(max(p / p_x, q / q_x) for p, q in pairs) for p_x, q_x in pairs if p_x > 0 and q_x > 0)


def coupled_bounds(target_row: Array, draft_row: Array) -> tuple[Any, Any]:
    """(1 - TV) / (1 + TV) and 1 - TV, between which the coupled rule's acceptance lies (arXiv 2408.07978).

    >>> from fractions import Fraction
    >>> from refspec.theory import coupled_bounds
    >>> coupled_bounds([Fraction(1, 2), Fraction(1, 2)], [Fraction(3, 4), Fraction(1, 4)])
    (Fraction(3, 5), Fraction(3, 4))
    """
    most = optimal_acceptance(target_row, draft_row)
    return most / (2 - most), most


def greedy_acceptance(target_row: Array, draft_row: Array) -> int:
    """1 if the argmaxes agree, else 0: every exact rule's at temperature 0 (N7).

    >>> import numpy as np
    >>> from refspec.theory import greedy_acceptance
    >>> greedy_acceptance(np.array([0, 1]), np.array([1, 0]))
    0
    """
    return int(target_row.argmax() == draft_row.argmax())


def lenience_acceptance(target_row: Array, draft_row: Array, factor: Any) -> Any:
    """sum min(p / l, q), l = factor: the inexact lenience rule's (arXiv 2211.17192, Appendix A.5).

    >>> from refspec.theory import lenience_acceptance
    >>> lenience_acceptance([0.5, 0.5], [0.75, 0.25], factor=0.5)
    1.0
    """
    return sum(min(p / factor, q) for p, q in zip(target_row, draft_row, strict=True))


def least_distance(target_row: Array, draft_row: Array, acceptance: Any) -> Any:
    """max(0, acceptance - (1 - TV)): how far from p, in total variation, any rule that accepts this often must end.

    Acceptance beyond the optimum costs as much distance: token x is drafted and accepted with some probability a(x) <= q(x), so
    the emitted distribution exceeds p by at least the sum of (a - p)+. Lenience costs no more than that.

    >>> from refspec.theory import least_distance
    >>> least_distance([0.5, 0.5], [0.75, 0.25], acceptance=1.0)
    0.25
    """
    return max(0, acceptance - optimal_acceptance(target_row, draft_row))


# --- a draft of several tokens, rows depending on what was drafted before ---


def token_reach(target: NextRow, draft: NextRow, gamma: int) -> list[Any]:
    """P(at least i tokens are accepted), i = 1..gamma, under the token rule. The sum is the expected accepted length.

    >>> from refspec.theory import token_reach
    >>> token_reach(lambda drafted: [0.5, 0.5], lambda drafted: [0.75, 0.25], gamma=2)
    [0.75, 0.5625]
    """
    return reach(lambda keep, ratio: keep * min(ratio, 1), target, draft, gamma)


def block_reach(target: NextRow, draft: NextRow, gamma: int) -> list[Any]:
    """The same under block verification: E_q[p_i], i = 1..gamma, p_i the capped products of arXiv 2403.10444, Algorithm 2.

    Never below the token rule's: a cap on the whole product takes less than a cap on each factor.

    >>> from refspec.theory import block_reach
    >>> block_reach(lambda drafted: [0.5, 0.5], lambda drafted: [0.75, 0.25], gamma=2)
    [0.75, 0.625]
    """
    return reach(lambda keep, ratio: min(keep * ratio, 1), target, draft, gamma)


def reach(step: Callable[[Any, Any], Any], target: NextRow, draft: NextRow, gamma: int) -> list[Any]:
    """E_q of what `step` makes of the ratios p / q of a draft's first i tokens, i = 1..gamma, by enumerating all drafts.

    >>> from refspec.theory import reach
    >>> reach(lambda keep, ratio: keep * min(ratio, 1), lambda drafted: [0.5, 0.5], lambda drafted: [0.75, 0.25], gamma=2)
    [0.75, 0.5625]
    """
    drafts: list[tuple[tuple[int, ...], Any, Any]] = [((), 1, 1)]  # tokens, their q, the chance that they are kept
    reached = []
    for _ in range(gamma):
        longer = []
        for tokens, weight, keep in drafts:
            for x, (p, q) in enumerate(zip(target(tokens), draft(tokens), strict=True)):
                if q > 0:
                    longer.append(((*tokens, x), weight * q, step(keep, p / q)))
        drafts = longer
        reached.append(sum(weight * keep for _, weight, keep in drafts))
    return reached


# --- speed ---


def expected_tokens(alphas: Iterable[Any]) -> Any:
    """Tokens a round, its own last one included: sum over i = 0..gamma of the product of the first i acceptances.

    For gamma equal and independent ones that is (1 - alpha^(gamma + 1)) / (1 - alpha), and gamma + 1 at alpha = 1
    (arXiv 2211.17192, Equation 1). Where they depend on the text: 1 + sum(token_reach(...)).

    >>> from refspec.theory import expected_tokens
    >>> expected_tokens([0.5, 0.5])
    1.75
    """
    tokens = reached = 1
    for alpha in alphas:
        reached *= alpha
        tokens += reached
    return tokens


def speed_up(alpha: Any, gamma: int, draft_cost: Any, verify_cost: Cost) -> Any:
    """Tokens a round over its cost, gamma * c + v(gamma), in units of one plain decode step: v(0) = 1.

    arXiv 2211.17192, Theorem 3.8, which takes v = 1. On a CPU v grows, and is measured.

    >>> from refspec.theory import speed_up
    >>> speed_up(0.5, gamma=2, draft_cost=0.125, verify_cost=lambda gamma: 1)
    1.4
    """
    return expected_tokens([alpha] * gamma) / (gamma * draft_cost + verify_cost(gamma))


def best_gamma(alpha: Any, draft_cost: Any, verify_cost: Cost, most: int) -> int:
    """The gamma from 0 to `most` of the greatest speed-up, the least of equals (arXiv 2211.17192, section 3.5: numerically).

    >>> from refspec.theory import best_gamma
    >>> best_gamma(0.5, draft_cost=0.125, verify_cost=lambda gamma: 1, most=8)
    2
    """
    return max(range(most + 1), key=lambda gamma: speed_up(alpha, gamma, draft_cost, verify_cost))


def one_token_pays(alpha: Any, draft_cost: Any, verify_cost: Cost) -> bool:
    """Whether drafting a single token is faster than not drafting: 1 + alpha > c + v(1).

    With v = 1 that is alpha > c (arXiv 2211.17192, Corollary 3.9), and where it fails no gamma pays. With a measured v a
    longer draft can pay where one token does not, if v is flat after its first step.

    >>> from refspec.theory import one_token_pays
    >>> one_token_pays(0.5, draft_cost=0.125, verify_cost=[1, 1.5].__getitem__)
    False
    """
    return bool(1 + alpha > draft_cost + verify_cost(1))
