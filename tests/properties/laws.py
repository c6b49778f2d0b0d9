"""The law of the text is the target's own."""

from fractions import Fraction

from models import Case

import refspec
from properties import Subject, Violation
from refspec.decoding.lm import Tokens
from refspec.proof import exact
from refspec.proof.exact import total_variation

Law = dict[Tokens, Fraction]


def plain_law(case: Case, horizon: int) -> Law:
    return exact.law(
        lambda chance: refspec.autoregressive(case.target, case.prompt, max_new_tokens=horizon, stop=case.stop, chance=chance)
    )


def compared(found: Law, expected: Law, what: str) -> Violation | None:
    if found == expected:
        return None
    worst = max(found.keys() | expected.keys(), key=lambda text: abs(found.get(text, 0) - expected.get(text, 0)))
    seen = f"{what}: P{worst} is {float(found.get(worst, 0)):.4f}, should be {float(expected.get(worst, 0)):.4f}"
    return Violation(total_variation(found, expected), seen)


def plain_decoding_multiplies_the_rows(subject: Subject, case: Case) -> Violation | None:
    """The law of `autoregressive`, which everything is compared with, is the product of the target's rows."""
    expected: Law = {(): Fraction(1)}
    for _ in range(case.horizon):
        longer: Law = {}
        for text, weight in expected.items():
            if text and text[-1] in case.stop:
                longer[text] = weight
                continue
            for token, share in enumerate(case.target.probs(case.prompt + text)[-1]):
                if share:
                    longer[(*text, token)] = weight * share
        expected = longer
    return compared(plain_law(case, case.horizon), expected, "autoregressive")


def whole_runs_have_the_targets_law(subject: Subject, case: Case) -> Violation | None:
    """Over every branch of a whole run, rounds and their noise together, the text has the target's law."""
    small = case.vocab_size < 3 and case.profile is not None  # what a bet remembers wants room to show
    gamma, horizon = min(case.gamma, 2 + small), min(case.horizon, 3 + small)  # paths multiply from round to round

    def run(chance: refspec.Chance) -> Tokens:
        found = subject.rounds(
            case.target,
            subject.drafter(case),
            case.prompt,
            gamma=gamma,
            max_new_tokens=horizon,
            stop=case.stop,
            chance=chance,
            verify=subject.rule,
        )
        return tuple(token for each in found for token in each.tokens)

    return compared(exact.law(run), plain_law(case, horizon), f"gamma {gamma}, {horizon} tokens")


def merges(case: Case) -> bool:
    """Not where an adaptive drafter carries a draft whose end is raced again: those are left to whole runs."""
    return not (case.drafter == "coupled" and case.profile)


def sequence_law(subject: Subject, case: Case, gamma: int) -> Law:
    return exact.sequence_law(
        case.target,
        subject.drafter(case),
        case.prompt,
        gamma=gamma,
        max_new_tokens=case.horizon,
        stop=case.stop,
        verify=subject.rule,
        rounds=subject.rounds,
    )


def sequences_have_the_targets_law(subject: Subject, case: Case) -> Violation | None:
    """The law of the sequence, enumerated round by round, equals `autoregressive`'s."""
    if not merges(case):
        return None
    found = sequence_law(subject, case, case.gamma)
    return compared(found, plain_law(case, case.horizon), f"gamma {case.gamma}, {case.horizon} tokens")


def gamma_leaves_the_law_alone(subject: Subject, case: Case) -> Violation | None:
    """Drafting more tokens a round, or fewer, or none, changes nothing in the law of the sequence."""
    if not merges(case):
        return None
    other = (case.gamma + 1) % 3  # below any horizon that would hide the difference
    laws = (sequence_law(subject, case, gamma) for gamma in (other, case.gamma))
    return compared(*laws, f"gamma {other} against {case.gamma}")
