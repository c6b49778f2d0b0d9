"""Ten wrong verification rules that people have written, under the names that the test suite knows them by.

Each is the token rule with one piece exchanged: the test, what replaces a rejected token, or what follows a draft kept whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from refspec.arrays import Array
from refspec.decoding import verify
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify import Rule, Verdict


@dataclass(frozen=True)
class Bug:
    """A wrong rule, and in words what it does."""

    what: str
    rule: Rule


@dataclass(frozen=True)
class _Round:
    """What the pieces of a rule may look at: the rows of p, the rows of q, and chance."""

    p: Array
    q: list[Array]
    chance: Chance


Test = Callable[[_Round, int, int], bool]
Draw = Callable[[_Round, int], int]


def _accepts(seen: _Round, i: int, drafted: int) -> bool:
    return seen.chance.accept(seen.p[i][drafted], seen.q[i][drafted])


def _replacement(seen: _Round, i: int) -> int:
    return seen.chance.pick(verify.residual(seen.p[i], seen.q[i]))


def _bonus(seen: _Round, n: int) -> int:
    return seen.chance.pick(seen.p[n])


def _built(accepts: Test = _accepts, replacement: Draw = _replacement, bonus: Draw = _bonus, keeps: int = 0) -> Rule:
    """A rule from its three pieces; keeps: how many tokens of the rejected ones stay."""

    def rule(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        seen = _Round(target_probs, [draft.row(i, like=target_probs[i]) for i in range(len(draft.tokens))], chance)
        for i, drafted in enumerate(draft.tokens):
            if not accepts(seen, i, drafted):
                return Verdict(i + keeps, replacement(seen, i))
        return Verdict(len(draft.tokens), bonus(seen, len(draft.tokens)))

    return rule


def _goes_on(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    seen = _Round(target_probs, [draft.row(i, like=target_probs[i]) for i in range(len(draft.tokens))], chance)
    passed = [_accepts(seen, i, drafted) for i, drafted in enumerate(draft.tokens)]
    return Verdict(sum(passed), _bonus(seen, len(passed)) if all(passed) else _replacement(seen, passed.index(False)))


def _of_q(seen: _Round, n: int) -> int:
    return seen.chance.pick(seen.q[-1] if seen.q else seen.p[n])


ZOO: Mapping[str, Bug] = {
    "residual-is-p": Bug(
        "the token that replaces a refused one is drawn from p, not from what is left of it",
        _built(replacement=lambda seen, i: seen.chance.pick(seen.p[i])),
    ),
    "ratio-inverted": Bug(
        "accepts with q / p in place of p / q",
        _built(accepts=lambda seen, i, drafted: seen.chance.accept(seen.q[i][drafted], seen.p[i][drafted])),
    ),
    "always-accepts": Bug("every drafted token passes", _built(accepts=lambda seen, i, drafted: True)),
    "accepts-iff-p-exceeds-q": Bug(
        "no coin: accepts whenever p >= q, and only then",
        _built(accepts=lambda seen, i, drafted: bool(seen.p[i][drafted] >= seen.q[i][drafted])),
    ),
    "first-unverified": Bug(
        "the first drafted token is never tested", _built(accepts=lambda seen, i, drafted: i == 0 or _accepts(seen, i, drafted))
    ),
    "goes-on-after-rejection": Bug("counts what passes behind the first rejection too", _goes_on),
    "keeps-the-rejected": Bug("the refused token stays in the text", _built(keeps=1)),
    "residual-of-next-row": Bug(
        "the residual is taken from the row behind the refused token",
        _built(replacement=lambda seen, i: seen.chance.pick(verify.residual(seen.p[i + 1], seen.q[i]))),
    ),
    "bonus-by-argmax": Bug(
        "the bonus token is the likeliest one, not a drawn one", _built(bonus=lambda seen, n: int(seen.p[n].argmax()))
    ),
    "bonus-from-q": Bug("the bonus token is drawn from the draft's last row", _built(bonus=_of_q)),
}
