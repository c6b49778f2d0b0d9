"""How much is accepted: what each rule promises, stated from the rows alone."""

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import prod
from typing import Any

from models import Case

import refspec
from properties import Subject, Violation, only_for
from refspec.decoding import verify
from refspec.decoding.lm import Tokens
from refspec.proof import exact
from refspec.proof.exact import total_variation

Counts = dict[int, Fraction]


def accepted_law(subject: Subject, case: Case, gamma: int, rule: verify.Rule | None = None) -> Counts:
    """{accepted tokens: probability} of one round that nothing cuts short."""

    def one_round(chance: refspec.Chance) -> int:
        found = subject.rounds(
            case.target,
            subject.drafter(case),
            case.prompt,
            gamma=gamma,
            max_new_tokens=gamma + 1,
            stop=(),
            chance=chance,
            verify=rule or subject.rule,
        )
        return next(found).accepted

    return exact.law(one_round)


def drafts(subject: Subject, case: Case) -> dict[tuple[Tokens, Any], Fraction]:
    """{(drafted tokens, (p, q) of each): probability}"""

    def propose(chance: refspec.Chance) -> tuple[Tokens, Any]:
        draft = subject.drafter(case).propose(case.prompt, case.gamma, chance)
        target_probs = case.target.probs(case.prompt + draft.tokens, last=len(draft.tokens) + 1)
        seen = [
            (row[token], draft.row(i, like=row)[token])
            for i, (row, token) in enumerate(zip(target_probs, draft.tokens, strict=False))
        ]
        return draft.tokens, tuple(seen)

    return exact.law(propose)


def expected(counts: Counts) -> Fraction:
    return sum((count * weight for count, weight in counts.items()), Fraction(0))


def accepted_counts_have_their_closed_form(subject: Subject, case: Case) -> Violation | None:
    """The law of the accepted count is the product of each token's chance; for block, its mean is the sum of E_q[p_i]."""
    if subject.promises == "coupled" and case.drafter == "coupled":
        return None  # one noise for draft and target: the acceptances have no product form
    found = accepted_law(subject, case, case.gamma)
    if subject.promises == "block":
        mean = sum((weight * sum(running(pairs)) for (_, pairs), weight in drafts(subject, case).items()), Fraction(0))
        if expected(found) == mean:
            return None
        return Violation(
            abs(expected(found) - mean),
            f"accepted {float(expected(found)):.4f} on average, should be {float(mean):.4f} (distance of means)",
        )
    closed: defaultdict[int, Fraction] = defaultdict(Fraction)
    for (_, pairs), weight in drafts(subject, case).items():
        chances = [min(Fraction(1), p / q) if subject.promises == "token" else p for p, q in pairs]
        reached = [prod(chances[:i], start=Fraction(1)) for i in range(len(chances) + 1)] + [Fraction(0)]
        for count, (here, beyond) in enumerate(pairwise(reached)):
            closed[count] += weight * (here - beyond)
    law = {count: weight for count, weight in closed.items() if weight}
    return (
        None
        if found == law
        else Violation(total_variation(found, law), f"accepted counts {shown(found)}, should be {shown(law)}")
    )


def running(pairs: Sequence[tuple[Fraction, Fraction]]) -> list[Fraction]:
    """p_i = min(p_{i-1} * p / q, 1), i from 1 (arXiv 2403.10444)."""
    kept = [Fraction(1)]
    for p, q in pairs:
        kept.append(min(kept[-1] * p / q, Fraction(1)))
    return kept[1:]


def shown(counts: Counts) -> str:
    return ", ".join(f"{count}: {float(weight):.4f}" for count, weight in sorted(counts.items()))


def one_draft_is_accepted_at_its_rate(subject: Subject, case: Case) -> Violation | None:
    """One token of a draft model passes with sum min(p, q); sum pq for sample-match; the coupled sum where both race."""
    if case.drafter not in ("model", "coupled") or case.profile:
        return None
    p, q = case.target.probs(case.prompt)[-1], case.draft.probs(case.prompt)[-1]
    if subject.promises in ("token", "block"):
        rate = sum(map(min, p, q))
    elif subject.promises == "sample-match" or case.drafter == "model":
        rate = sum(p * q)
    else:
        rate = sum(
            1 / sum(max(py / px, qy / qx) for py, qy in zip(p, q, strict=True)) for px, qx in zip(p, q, strict=True) if px and qx
        )
    found = expected(accepted_law(subject, case, gamma=1))
    return (
        None
        if found == rate
        else Violation(abs(found - rate), f"acceptance {float(found):.4f}, should be {float(rate):.4f} (distance of rates)")
    )


@only_for("block")
def block_accepts_no_less_than_token(subject: Subject, case: Case) -> Violation | None:
    """Block's expected accepted length is never below the token rule's."""
    ours, theirs = (expected(accepted_law(subject, case, case.gamma, rule)) for rule in (None, verify.token))
    return (
        None
        if ours >= theirs
        else Violation(theirs - ours, f"accepted {float(ours):.4f}, token {float(theirs):.4f} (distance of means)")
    )


@only_for("token", "block", "coupled")
def a_draft_by_the_target_itself_is_accepted(subject: Subject, case: Case) -> Violation | None:
    """Where p = q nothing is rejected, in any round of any branch (sample-match promises no such thing)."""
    drafter = "coupled" if subject.promises == "coupled" else "model"

    def refused(chance: refspec.Chance) -> bool:
        found = subject.rounds(
            case.target,
            subject.drafters[drafter](case.target),
            case.prompt,
            gamma=min(case.gamma, 2),
            max_new_tokens=3,
            stop=(),
            chance=chance,
            verify=subject.rule,
        )
        return any(each.accepted < each.drafted for each in found)

    share = exact.law(refused).get(True, Fraction(0))
    return Violation(share, "P(a rejection) where p = q") if share else None
