"""Bugs of the token rule, and of the two rules that compare tokens: how one drafted token is tested and replaced."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from mutants.planting import Known, patched, planted
from refspec.conformance.bugs.uniforms import FixedUniform, OneUniform, ReusesAccept
from refspec.arrays import Array
from refspec.decoding import verify
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify import Verdict

MUTANTS, plant = planted("rules")
TOKEN = "refspec.decoding.verify.token_rule"
TEST = "if not chance.accept(target_row[drafted], draft_row[drafted]):"
REPLACE = "return Verdict(i, chance.pick(residual(target_row, draft_row)))"
BONUS = "return Verdict(len(draft.tokens), chance.pick(target_probs[len(draft.tokens)]))"


def token_rule(name: str, what: str, source: str, old: str, new: str, known: Known | None = None) -> None:
    plant(name, what, source, rule=patched(TOKEN, (old, new)).token, known=known)


def residual(name: str, what: str, source: str, wrong: Any) -> None:
    plant(name, what, source, rule=patched(TOKEN, residual=wrong).token)


# --- the residual ---


def softmaxed(target_row: Array, draft_row: Array) -> list[Fraction]:
    return [Fraction(math.exp(left)) for left in verify.residual(target_row, draft_row)]


def paired_by_rank(target_row: Array, draft_row: Array) -> Array:
    left = np.zeros_like(target_row)
    order = np.argsort(-target_row, kind="stable")
    left[order] = verify.residual(target_row[order], -np.sort(-draft_row))
    return left


residual("residual-is-p", "the token that replaces a refused one is drawn from p", "common", lambda p, q: p)
residual("residual-softmaxed", "the residual is softmaxed and not normalised", "transformers #28508", softmaxed)
residual("residual-by-rank", "the residual pairs p and q by rank and not by id", "llama.cpp example", paired_by_rank)
residual(
    "zero-residual-is-last-id",
    "a residual that is all zero falls to the last id",
    "several",
    lambda p, q: np.maximum(p - q, 0) if (p > q).any() else (np.arange(len(p)) == len(p) - 1).astype(int),
)
residual(
    "residual-clamped",
    "the residual is clamped at 1e-5, which gives forbidden tokens a chance",
    "several",
    lambda p, q: np.maximum(p - q, Fraction(1, 100_000)),
)
token_rule(
    "residual-of-next-row",
    "the residual is taken from the row behind",
    "several",
    REPLACE,
    "return Verdict(i, chance.pick(residual(target_probs[i + 1], draft_row)))",
)
token_rule(
    "residual-at-drafted-only",
    "the residual subtracts q at the drafted token only",
    "several",
    REPLACE,
    "return Verdict(i, chance.pick(np.where(np.arange(len(target_row)) == drafted, "
    "np.maximum(target_row - draft_row, 0), target_row)))",
)
token_rule(
    "ngram-mismatch-samples-p",
    "a refused point mass is followed by a fresh sample from p",
    "romsto/Speculative-Decoding",
    REPLACE,
    "return Verdict(i, chance.pick(target_row if draft.probs is None else residual(target_row, draft_row)))",
    # the drafted token has p = 2/5 twice: P(d) = p(d) (2 - p(d))
    known=Known((Fraction(2, 5), Fraction(3, 5)), (Fraction(1, 2),) * 2, (Fraction(16, 25), Fraction(9, 25)), drafter="ngram"),
)

# --- the test ---

token_rule(
    "ratio-inverted",
    "accepts with q / p",
    "FlashInfer's published reference trace",
    TEST,
    "if not chance.accept(draft_row[drafted], target_row[drafted]):",
)
token_rule(
    "accepts-by-a-fresh-token",
    "accepts with q(d) / p(y) for a freshly drawn y",
    "several",
    TEST,
    "if not chance.accept(draft_row[drafted], target_row[chance.pick(target_row)]):",
)
token_rule("always-accepts", "every drafted token passes", "several", TEST, f"if False and {TEST.removeprefix('if ')}")
token_rule("accepts-iff-p-exceeds-q", "accepts iff p >= q", "several", TEST, "if not target_row[drafted] >= draft_row[drafted]:")
token_rule(
    "first-unverified",
    "the first drafted token is never tested",
    "ohdearquant/lattice #243",
    TEST,
    TEST.replace("if ", "if i and "),
)
token_rule(
    "id-0-is-nothing",
    "a drafted token 0 ends the draft like a missing one",
    "feifeibear/LLMSpeculativeSampling",
    TEST,
    f"if not drafted:\n            return Verdict(i, chance.pick(target_row))\n        {TEST}",
)
plant(
    "u-fixed",
    "every test meets the same constant",
    "vllm-ascend #13730",
    rule=lambda d, p, chance: verify.token(d, p, FixedUniform(chance)),
)
plant(
    "one-u-for-all",
    "one uniform for a whole round",
    "vllm-ascend #13730",
    rule=lambda d, p, chance: verify.token(d, p, OneUniform(chance)),
)
plant(
    "accept-draw-reused",
    "the uniform that refuses also draws the replacement",
    "vllm #47386",
    rule=lambda d, p, chance: verify.token(d, p, ReusesAccept(chance)),
)

# --- where a round ends ---


def goes_on(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
    rows = [(target_probs[i], draft.row(i, like=target_probs[i])) for i in range(len(draft.tokens))]
    passed = [chance.accept(p[drafted], q[drafted]) for (p, q), drafted in zip(rows, draft.tokens, strict=True)]
    after = target_probs[-1] if all(passed) else verify.residual(*rows[passed.index(False)])
    return Verdict(sum(passed), chance.pick(after))


plant(
    "goes-on-after-rejection",
    "counts what passes behind the first rejection too",
    "lucidrains/speculative-decoding #3",
    rule=goes_on,
)
token_rule("keeps-the-rejected", "the refused token stays in the text", "several", REPLACE, REPLACE.replace("(i,", "(i + 1,"))
token_rule(
    "bonus-after-rejection",
    "a rejection is followed by the bonus token",
    "several",
    REPLACE,
    BONUS.replace("len(draft.tokens)", "i", 1),
)
token_rule(
    "bonus-by-argmax",
    "the bonus token is the likeliest",
    "several",
    BONUS,
    BONUS.replace("chance.pick(target_probs[len(draft.tokens)])", "int(target_probs[-1].argmax())"),
)
token_rule(
    "bonus-from-q",
    "the bonus token is drawn from the draft's last row",
    "several",
    BONUS,
    f"if draft.tokens:\n        return Verdict(i + 1, chance.pick(draft_row))\n    {BONUS}",
)
token_rule(
    "bonus-from-wrong-row",
    "the bonus token is drawn a row too early",
    "several",
    BONUS,
    BONUS.replace("target_probs[len(draft.tokens)]", "target_probs[len(draft.tokens) - 1]"),
)

# --- rules that compare ---

MATCH = "refspec.decoding.verify.sample_match_rule"
plant(
    "match-emits-the-bonus-alone",
    "a mismatch is followed by a sample of its own and not by the one that was compared",
    "romsto/Speculative-Decoding",
    promises="sample-match",
    rule=patched(MATCH, ("return Verdict(i, token)", "return Verdict(i, chance.pick(target_probs[i]))")).sample_match,
)
COUPLED = "refspec.decoding.verify.coupled_rule"
plant(
    "noise-of-the-round",
    "noise is keyed by the place in the round: the generator is reseeded every time",
    "several",
    promises="coupled",
    rule=patched(
        COUPLED,
        ("chance.race(draft.start + i, target_probs[i])", "chance.race(i, target_probs[i])"),
        ("chance.race(draft.start + len(draft.tokens), ", "chance.race(len(draft.tokens), "),
    ).coupled,
)
plant(
    "noise-of-the-seed",
    "every position has the same noise: the generator is reseeded at each position",
    "several",
    promises="coupled",
    rule=patched(COUPLED, ("chance.race(draft.start + i, target_probs[i])", "chance.race(draft.start, target_probs[i])")).coupled,
)
plant(
    "coupled-bonus-is-picked",
    "the bonus token is picked, so that the text depends on where rounds end",
    "several",
    promises="coupled",
    rule=patched(
        COUPLED,
        (
            "chance.race(draft.start + len(draft.tokens), target_probs[len(draft.tokens)])",
            "chance.pick(target_probs[len(draft.tokens)])",
        ),
    ).coupled,
)
