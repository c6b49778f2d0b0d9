"""Wrong verification rules that people have written, each the token rule with one piece exchanged.

The pieces: the test of a drafted token, what replaces a rejected one, and what follows a draft kept whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.conformance.bugs.uniforms import FixedUniform, OneUniform, ReusesAccept
from refspec.decoding import verify
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify import Rule, Verdict


@dataclass(frozen=True)
class Seen:
    """What the pieces of a rule may look at: the rows of p, the rows of q, and chance."""

    p: Array
    q: list[Array]
    chance: Chance


def accepts(seen: Seen, i: int, drafted: int) -> bool:
    return seen.chance.accept(seen.p[i][drafted], seen.q[i][drafted])


def replacement(seen: Seen, i: int) -> int:
    return seen.chance.pick(verify.residual(seen.p[i], seen.q[i]))


def bonus(seen: Seen, n: int) -> int:
    return seen.chance.pick(seen.p[n])


def built(
    accepts: Callable[[Seen, int, int], bool] = accepts,
    replacement: Callable[[Seen, int], int] = replacement,
    bonus: Callable[[Seen, int], int] = bonus,
    keeps: int = 0,
) -> Rule:
    """A rule from its three pieces; keeps: how many tokens of the rejected ones stay.

    >>> import refspec
    >>> from refspec.conformance.bugs.rules import built
    >>> built(accepts=lambda seen, i, drafted: True)(refspec.Draft((1,)), [[0.5, 0.5], [0, 1]], refspec.Tape([0.5]))
    Verdict(accepted=1, token=1)
    """

    def rule(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        seen = Seen(target_probs, rows(draft, target_probs), chance)
        for i, drafted in enumerate(draft.tokens):
            if not accepts(seen, i, drafted):
                return Verdict(i + keeps, replacement(seen, i))
        return Verdict(len(draft.tokens), bonus(seen, len(draft.tokens)))

    return rule


def rows(draft: Draft, target_probs: Array) -> list[Array]:
    return [draft.row(i, like=np.asarray(target_probs[i])) for i in range(len(draft.tokens))]


def replaced(left: Callable[[Array, Array], Any]) -> Rule:
    """left: a function of the rows p and q to weights, from which the token after a rejection is drawn."""
    return built(replacement=lambda seen, i: seen.chance.pick(left(seen.p[i], seen.q[i])))


def with_chance(other: Callable[[Chance], Any], rule: Rule = verify.token) -> Rule:
    return lambda draft, target_probs, chance: rule(draft, target_probs, other(chance))


def by_rank(p: Array, q: Array) -> Array:
    left = np.zeros_like(p)
    order = np.argsort(-p, kind="stable")
    left[order] = verify.residual(p[order], -np.sort(-q))
    return left


def without_zero(p: Array, q: Array) -> Array:
    """The residual; where it is zero, a point mass on the last id."""
    left = np.maximum(p - q, 0)
    return left if left.any() else (np.arange(len(p)) == len(p) - 1).astype(float)


def at_drafted_only(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    for i, (drafted, q) in enumerate(zip(draft.tokens, rows(draft, target_probs), strict=True)):
        p = target_probs[i]
        if not chance.accept(p[drafted], q[drafted]):
            left = p.copy()
            left[drafted] = max(p[drafted] - q[drafted], 0)
            return Verdict(i, chance.pick(left if left.any() else p))
    return Verdict(len(draft.tokens), chance.pick(target_probs[len(draft.tokens)]))


def goes_on(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    seen = Seen(target_probs, rows(draft, target_probs), chance)
    passed = [accepts(seen, i, drafted) for i, drafted in enumerate(draft.tokens)]
    return Verdict(sum(passed), bonus(seen, len(passed)) if all(passed) else replacement(seen, passed.index(False)))


def fresh_y(seen: Seen, i: int, drafted: int) -> bool:
    return seen.chance.accept(seen.q[i][drafted], seen.p[i][seen.chance.pick(seen.p[i])])


def id_0_is_nothing(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    n = next((i for i, drafted in enumerate(draft.tokens) if drafted == 0), len(draft.tokens))
    cut = Draft(draft.tokens[:n], None if draft.probs is None else draft.probs[:n])
    return verify.token(cut, target_probs, chance)


def bonus_alone(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    for i, drafted in enumerate(draft.tokens):
        if chance.pick(target_probs[i]) != drafted:
            return Verdict(i, chance.pick(target_probs[i]))
    return Verdict(len(draft.tokens), chance.pick(target_probs[len(draft.tokens)]))


def blocks(test: str = "block", left: str = "block", upwards: bool = False) -> Rule:
    """Block verification (arXiv 2403.10444) with another test of a prefix, another residual, or the tests upwards."""

    def rule(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        n, q = len(draft.tokens), rows(draft, target_probs)
        keep: list[Any] = [1]
        for i, drafted in enumerate(draft.tokens):
            keep.append(min(keep[i] * target_probs[i][drafted], q[i][drafted]) / q[i][drafted])
        rest = [np.maximum(keep[i] * target_probs[i] - q[i], 0) for i in range(n)] + [keep[n] * target_probs[n]]
        mass = [each.sum() for each in rest[:n]] + [keep[n]]

        def passes(i: int) -> bool:
            return chance.accept(keep[i], 1) if test == "p_i" else chance.accept(mass[i], mass[i] + (1 - keep[i]))

        if upwards:
            kept = next((i for i in range(n) if not passes(i + 1)), n)
        else:
            kept = next((i for i in range(n, 0, -1) if passes(i)), 0)
        if left == "token":
            return Verdict(kept, chance.pick(verify.residual(target_probs[kept], q[kept]) if kept < n else target_probs[n]))
        return Verdict(kept, chance.pick(rest[kept] if rest[kept].any() else target_probs[kept]))

    return rule


def to_q(seen: Seen, n: int) -> int:
    return seen.chance.pick(seen.q[-1] if seen.q else seen.p[n])


WRONG: dict[str, tuple[str, Rule]] = {
    "residual-is-p": ("the token that replaces a refused one is drawn from p", replaced(lambda p, q: p)),
    "residual-softmaxed": (
        "the residual is softmaxed and not normalised",
        replaced(lambda p, q: np.exp(verify.residual(p, q).astype(float))),
    ),
    "residual-by-rank": ("the residual pairs p and q by rank and not by id", replaced(by_rank)),
    "residual-clamped": (
        "the residual is clamped at 1e-5, which gives forbidden tokens a chance",
        replaced(lambda p, q: np.maximum(p - q, 1e-5)),
    ),
    "residual-at-drafted-only": ("the residual subtracts q at the drafted token only", at_drafted_only),
    "residual-of-next-row": (
        "the residual is taken from the row behind",
        built(replacement=lambda seen, i: seen.chance.pick(verify.residual(seen.p[i + 1], seen.q[i]))),
    ),
    "zero-residual-is-last-id": ("a residual that is all zero falls to the last id", replaced(without_zero)),
    "ratio-inverted": (
        "accepts with q / p",
        built(accepts=lambda seen, i, drafted: seen.chance.accept(seen.q[i][drafted], seen.p[i][drafted])),
    ),
    "accepts-by-a-fresh-token": ("accepts with q(d) / p(y) for a freshly drawn y", built(accepts=fresh_y)),
    "always-accepts": ("every drafted token passes", built(accepts=lambda seen, i, drafted: True)),
    "accepts-iff-p-exceeds-q": (
        "accepts iff p >= q",
        built(accepts=lambda seen, i, drafted: bool(seen.p[i][drafted] >= seen.q[i][drafted])),
    ),
    "first-unverified": (
        "the first drafted token is never tested",
        built(accepts=lambda seen, i, drafted: i == 0 or accepts(seen, i, drafted)),
    ),
    "id-0-is-nothing": ("a drafted token 0 ends the draft like a missing one", id_0_is_nothing),
    "u-fixed": ("every test meets the same constant", with_chance(FixedUniform)),
    "one-u-for-all": ("one uniform for a whole round", with_chance(OneUniform)),
    "accept-draw-reused": ("the uniform that refuses also draws the replacement", with_chance(ReusesAccept)),
    "goes-on-after-rejection": ("counts what passes behind the first rejection too", goes_on),
    "keeps-the-rejected": ("the refused token stays in the text", built(keeps=1)),
    "bonus-after-rejection": (
        "a rejection is followed by the bonus token",
        built(replacement=lambda seen, i: seen.chance.pick(seen.p[len(seen.q)])),
    ),
    "bonus-by-argmax": ("the bonus token is the likeliest", built(bonus=lambda seen, n: int(seen.p[-1].argmax()))),
    "bonus-from-q": ("the bonus token is drawn from the draft's last row", built(bonus=to_q)),
    "bonus-from-wrong-row": (
        "the bonus token is drawn a row too early",
        built(bonus=lambda seen, n: seen.chance.pick(seen.p[n - 1])),
    ),
    "match-emits-the-bonus-alone": (
        "a mismatch is followed by a sample of its own and not by the one that was compared",
        bonus_alone,
    ),
    "block-stops-at-first-failure": ("tests prefixes upwards and stops at the first that fails", blocks(upwards=True)),
    "block-threshold-is-p_i": ("each prefix passes with p_i itself", blocks(test="p_i")),
    "block-residual-of-token": ("goes on from p - q where it should from p_i * p - q", blocks(left="token")),
    "block-one-u-for-all": ("one uniform tests every prefix of a block", with_chance(OneUniform, verify.block)),
}
