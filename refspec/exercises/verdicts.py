"""Exercises of lessons 4, 9 and 10: rules and drafters, graded by enumerating the production loop around them."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding import verify
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, Drafter
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.verify import Rule, Verdict
from refspec.exercises.course import DRAFT, NAMES, TARGET
from refspec.exercises.task import Report, Trouble, blame, not_a_function, said
from refspec.exercises.zoo import ZOO
from refspec.proof import theory
from refspec.proof.exact import law, sequence_law, total_variation
from refspec.proof.survey import plain_distribution

Law = Mapping[Any, Fraction]
GAMMA, LENGTH = 2, 3


@lru_cache
def _known() -> dict[str, Law]:
    """The law of whole texts under each known bug."""
    return {name: _texts(bug.rule, ModelDrafter(DRAFT)) for name, bug in ZOO.items()}


def _texts(rule: Rule, drafter: Drafter) -> Law:
    return sequence_law(TARGET, drafter, gamma=GAMMA, max_new_tokens=LENGTH, verify=rule)


def _guarded(rule: Rule) -> Rule:
    """The same rule, which cannot write into the rows that it is shown."""

    def guarded(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        rows = target_probs.copy()
        rows.setflags(write=False)
        return rule(draft, rows, chance)

    return guarded


def rule(answer: Rule) -> Report:
    """Lesson 4: a verification rule (draft, target_probs, chance) -> Verdict, around which the loop is enumerated over fractions.

    It passes where every text has exactly the target's chance, and no exact rule would keep more of the first guesses. Else the
    text that is furthest off is named, and the known bug, where it is one.

    >>> import refspec
    >>> from refspec import exercises
    >>> exercises.rule(refspec.verify.token)
    ✓ difference 0: all 22 texts of 3 tokens have exactly the target's chance, and 2/3 of the first guesses are kept.
    >>> exercises.rule(exercises.ZOO["always-accepts"].rule).passed
    False
    """
    if not callable(answer):
        return not_a_function("rule", answer)
    guarded, wanted = _guarded(answer), plain_distribution(TARGET, LENGTH)
    try:
        found = _texts(guarded, ModelDrafter(DRAFT))
        share = _kept(guarded)
    except Exception as error:
        return Report(False, blame(answer, error))
    if found != wanted:
        return Report(False, f"NOT the target's distribution: {_worst(found, wanted)}.{_diagnosis(found)}")
    best = theory.optimal_acceptance(TARGET.probs(())[0], DRAFT.probs(())[0])
    exact = f"difference 0: all {len(wanted)} texts of {LENGTH} tokens have exactly the target's chance"
    if share < best:
        return Report(
            False, f"{exact}, but only {share} of the first guesses are kept, where {best} could be: exact, and too strict."
        )
    return Report(True, f"{exact}, and {share} of the first guesses are kept.")


def _kept(rule: Rule) -> Fraction:
    """How often the first drafted token is kept."""

    def first(chance: Chance) -> int:
        draft = ModelDrafter(DRAFT).propose((), 1, chance)
        return rule(draft, TARGET.probs(draft.tokens, last=2), chance).accepted

    return law(first).get(1, Fraction(0))


def _apart(a: Law, b: Law, outcome: Any) -> Fraction:
    return abs(a.get(outcome, Fraction(0)) - b.get(outcome, Fraction(0)))


def _worst(found: Law, wanted: Law) -> str:
    every = sorted(found.keys() | wanted.keys())
    worst = max(every, key=lambda text: _apart(found, wanted, text))
    due, got = wanted.get(worst, Fraction(0)), found.get(worst, Fraction(0))
    text = " ".join(NAMES[token] for token in worst)
    return f"{text!r} has the chance {got} in place of {due}, the furthest off; total variation {total_variation(found, wanted)}"


def _diagnosis(found: Law) -> str:
    return next((_named(name) for name, theirs in _known().items() if theirs == found), "")


def one_token(answer: Callable[..., int]) -> Report:
    """Lesson 4: (drafted, p, q, chance) -> the token that comes out, where one was drafted from q. Its distribution must be p.

    >>> import refspec
    >>> from refspec import exercises
    >>> exercises.one_token(lambda drafted, p, q, chance: drafted)
    ✗ NOT p = 1/2 1/3 1/6: the tokens come with 1/4 1/4 1/2. That is the bug always-accepts: every drafted token passes.
    """
    if not callable(answer):
        return not_a_function("one_token", answer)
    p, q = TARGET.probs(())[0], DRAFT.probs(())[0]

    def emitted(chance: Chance) -> Any:
        token = answer(chance.pick(q), p.copy(), q.copy(), chance)
        if token is None:
            raise Trouble("your function returned None: it is not written yet, or a `return` is missing.")
        return token

    try:
        found = law(emitted)
    except Exception as error:
        return Report(False, str(error) if isinstance(error, Trouble) else blame(answer, error))
    if odd := [token for token in found if token not in range(len(p))]:
        return Report(False, f"your function answered {said(odd[0])}; it is one of the tokens 0 to {len(p) - 1}.")
    row = [found.get(token, Fraction(0)) for token in range(len(p))]
    if row == list(p):
        return Report(True, f"difference 0: the token has exactly the chances p = {said(p)}.")
    like = (name for name, bug in ZOO.items() if _emits(bug.rule, p, q) == found)
    return Report(False, f"NOT p = {said(p)}: the tokens come with {said(row)}.{''.join(map(_named, islice(like, 1)))}")


def _named(bug: str) -> str:
    return f" That is the bug {bug}: {ZOO[bug].what}."


def _emits(rule: Rule, p: Array, q: Array) -> Law:
    def emitted(chance: Chance) -> int:
        draft = Draft((chance.pick(q),), q[None], start=0)
        verdict = rule(draft, np.stack([p, p]), chance)
        return draft.tokens[0] if verdict.accepted else verdict.token

    return law(emitted)


def drafter(answer: Any) -> Report:
    """Lesson 9: a drafter, which may guess as it likes and must say truly from what it drew (N6).

    >>> import refspec
    >>> from refspec import exercises
    >>> exercises.drafter(refspec.ModelDrafter(exercises.TARGET))
    ✓ difference 0: behind your drafter all 22 texts of 3 tokens have exactly the target's chance.
    """
    if isinstance(answer, type):
        answer = answer()
    if not hasattr(answer, "propose"):
        return Report(False, f"a drafter has a method propose(tokens, gamma, chance); {said(answer)} has none.")
    wanted = plain_distribution(TARGET, LENGTH)
    try:
        found = _texts(verify.token, answer)
        lies = _lies(answer)
    except Exception as error:
        return Report(False, blame(answer.propose, error))
    if found == wanted:
        return Report(
            True,
            f"difference 0: behind your drafter all {len(wanted)} texts of {LENGTH} tokens have exactly the target's chance.",
        )
    return Report(False, f"NOT the target's distribution: {_worst(found, wanted)}.{lies}")


def _lies(drafter: Drafter) -> str:
    """Where the first drafted token does not come as often as the row says that is shown with it."""

    def shown(chance: Chance) -> Any:
        draft = drafter.propose((), GAMMA, chance)
        return (tuple(draft.row(0, like=TARGET.probs(())[0])), draft.tokens[0]) if draft.tokens else None

    found = {each: share for each, share in law(shown).items() if each is not None}
    for row, token in found:
        often = found[row, token] / sum(share for (theirs, _), share in found.items() if theirs == row)
        if often != row[token]:
            return f" It shows {NAMES[token]!r} with the chance {row[token]}, and among those it shows it comes with {often}."
    return ""


def suspects() -> dict[str, Rule]:
    """Lesson 10: the ten wrong rules of `ZOO`, in another order and without their names.

    >>> from refspec import exercises
    >>> "".join(exercises.suspects())
    'ABCDEFGHIJ'
    """
    return {letter: _anonymous(ZOO[name].rule) for letter, name in _guilty().items()}


def _guilty() -> dict[str, str]:
    names = list(ZOO)
    return {letter: names[(7 * i + 3) % len(names)] for i, letter in enumerate("ABCDEFGHIJ")}


def _anonymous(rule: Rule) -> Rule:
    def suspect(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        return rule(draft, target_probs, chance)

    return suspect


def accuse(names: Mapping[str, str]) -> Report:
    """Lesson 10: {letter: name of the bug in `ZOO`} for all ten suspects.

    >>> from refspec import exercises
    >>> exercises.accuse({"A": "keeps-the-rejected"})
    ✗ 0 of 10 are right. A is not keeps-the-rejected: that one gives 'ha ho ha' the chance 1/24, and A gives it 5/24.
    """
    if not isinstance(names, Mapping):
        return Report(False, f"give a dict of letters and names, such as {{'A': 'always-accepts'}}; this is {said(names)}.")
    for letter, name in names.items():
        if letter not in _guilty() or name not in ZOO:
            return Report(False, f"{letter!r}: {name!r} is no accusation; letters are A to J, names {', '.join(ZOO)}.")
    right = sum(_guilty()[letter] == name for letter, name in names.items())
    wrong = [letter for letter, name in names.items() if _guilty()[letter] != name]
    score = f"{right} of {len(ZOO)} are right."
    if wrong:
        letter = wrong[0]
        theirs, its = _known()[names[letter]], _known()[_guilty()[letter]]
        text = max(sorted(theirs.keys() | its.keys()), key=lambda text: _apart(theirs, its, text))
        words = " ".join(NAMES[token] for token in text)
        chances = f"that one gives {words!r} the chance {theirs.get(text, 0)}, and {letter} gives it {its.get(text, 0)}"
        return Report(False, f"{score} {letter} is not {names[letter]}: {chances}.")
    missing = "".join(letter for letter in _guilty() if letter not in names)
    return Report(right == len(ZOO), score + (f" {missing} are still free." if missing else ""))
