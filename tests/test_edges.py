"""Numbers at the edge of float64, under every rule: no NaN, no warning, and never a token that the target forbids (N2 to N4)."""

import itertools
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

import refspec
from refspec.decoding import verify
from refspec.decoding.chance import accept_at, pick_at
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import Verdict
from refspec.errors import BadProbabilities, BrokenDrafter
from refspec.models.sampling import Sampling, with_temperature

JUST_BELOW_ONE = np.nextafter(1.0, 0.0)
TINY = 5e-324  # the least subnormal
EDGES = (0.0, 0.5, JUST_BELOW_ONE)

P = np.array([0.3, 0.0, 0.7])
every_rule = pytest.mark.parametrize("rule", verify.RULES.values(), ids=verify.RULES)
exact_rule = pytest.mark.parametrize("name", [name for name in verify.RULES if not name.startswith("inexact")])

# (p, q) at every drafted position
ROWS = {
    "p subnormal where drafted": ([TINY, 1.0, 0.0], [0.5, 0.25, 0.25]),
    "q subnormal where drafted": ([0.5, 0.5, 0.0], [TINY, 1.0, TINY]),
    "both subnormal": ([TINY, 1.0, 0.0], [3 * TINY, 1.0, 0.0]),
    "q an ulp above p": (P, np.nextafter(P, np.where(P > 0, 1, 0))),
    "q an ulp below p": (P, np.nextafter(P, 0)),
    "q an ulp above p in one place": (P, [np.nextafter(0.3, 1), 0.0, 0.7]),
    "p = q": (P, P),
    "p = 0 where drafted": ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0]),
    "p = 0 where drafted, and elsewhere q": ([0.0, 0.5, 0.5], [0.5, 0.0, 0.5]),
    "one-hot": ([0.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
    "sums below one": ([0.3, 0.7 - 1e-9, 0.0], [0.6, 0.4 - 1e-9, 0.0]),
}
pairs = pytest.mark.parametrize(("p", "q"), ROWS.values(), ids=ROWS)


@pytest.fixture(autouse=True)
def no_floating_point_warning() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(over="raise", divide="raise", invalid="raise"):
        warnings.simplefilter("error")
        yield


def drafts(q: np.ndarray, gamma: int) -> Iterator[Draft]:
    """Every draft of gamma tokens that q allows."""
    for tokens in itertools.product(np.flatnonzero(q).tolist(), repeat=gamma):
        yield Draft(tokens, np.stack([q] * gamma), 0)


def well_formed(verdict: Verdict, draft: Draft, target_probs: np.ndarray) -> bool:
    """Everything emitted is something the target can say."""
    emitted: Tokens = (*draft.tokens[: verdict.accepted], verdict.token)
    return 0 <= verdict.accepted <= len(draft.tokens) and all(
        row[token] > 0 for row, token in zip(target_probs, emitted, strict=False)
    )


@every_rule
@pairs
def test_any_uniform_gives_a_verdict_the_target_allows(rule: verify.Rule, p: list[float], q: list[float]) -> None:
    target_probs = np.stack([np.array(p)] * 3)
    for draft in drafts(np.array(q), 2):
        for uniforms in itertools.product(EDGES, repeat=4):
            assert well_formed(rule(draft, target_probs, refspec.Tape(uniforms * 3)), draft, target_probs)


@every_rule
@pytest.mark.parametrize("u", EDGES)
def test_a_point_mass_on_a_forbidden_token_is_refused(rule: verify.Rule, u: float) -> None:
    target_probs = np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])
    verdict = rule(Draft((0,), None, 0), target_probs, refspec.Tape([u] * 9))
    assert verdict.accepted == 0
    assert verdict.token in (1, 2)


@pytest.mark.parametrize("rule", [verify.token, verify.block])
@pytest.mark.parametrize("u", EDGES)
def test_equal_rows_are_accepted_at_every_uniform(rule: verify.Rule, u: float) -> None:
    for row in (P, np.array([TINY, 1.0, 0.0]), np.full(3, 1 / 3)):
        for draft in drafts(row, 2):
            assert rule(draft, np.stack([row] * 3), refspec.Tape([u] * 9)).accepted == 2


def test_a_rejection_with_nothing_left_falls_back_to_p() -> None:
    """q an ulp above p leaves max(p - q, 0) all zero; only a uniform just below one can get there (N4)."""
    p = np.full(4, 0.25)
    q = np.nextafter(p, 1)
    draft = Draft((0,), q[None], 0)
    assert not accept_at(JUST_BELOW_ONE, p[0], q[0])
    for rule in (verify.token, verify.block):
        assert rule(draft, np.stack([p, p]), refspec.Tape([JUST_BELOW_ONE, 0.6])) == Verdict(0, 2)


# --- rows of 50,000 in float32, whose sum is not one ---


@pytest.fixture(scope="module")
def long_row() -> np.ndarray:
    """float32 [50,000], summing to less than one however it is added up; the last ids have weight 0."""
    random = np.random.default_rng(0)
    row = random.random(50_000).astype(np.float32)
    row[-10:] = 0
    row *= np.float32(0.9999) / row.sum()
    assert np.cumsum(row)[-1] < 1 > np.cumsum(row, dtype=np.float64)[-1]
    return row


def test_a_cumulative_sum_below_one_never_runs_off_the_end(long_row: np.ndarray) -> None:
    assert pick_at(JUST_BELOW_ONE, long_row) == 50_000 - 11  # the last id of positive weight
    assert pick_at(0.0, long_row[::-1]) == 10
    drawn = np.array([pick_at(u, long_row) for u in np.linspace(0, JUST_BELOW_ONE, 200)])
    assert (long_row[drawn] > 0).all()


@every_rule
@pytest.mark.parametrize("u", EDGES)
def test_a_long_row_in_float32(rule: verify.Rule, u: float, long_row: np.ndarray) -> None:
    target_probs = np.stack([long_row, long_row[::-1], long_row])
    draft_probs = np.roll(target_probs[:2], 20_000, axis=1)
    draft = Draft((123, 45_678), draft_probs, 0)
    chance = refspec.Tape([u] * 200_000) if rule is verify.coupled else refspec.Tape([u] * 9)
    assert well_formed(rule(draft, target_probs, chance), draft, target_probs)


# --- rows that are no law ---


def test_a_logit_of_minus_infinity_is_a_token_of_probability_0() -> None:
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0], [1e300, -np.inf, -1e300, -np.inf]])
    assert with_temperature(logits, 1.0).tolist() == [[0, 0.5, 0, 0.5], [1, 0, 0, 0]]
    assert with_temperature(logits, 0).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert Sampling(top_k=3, top_p=0.9, min_p=0.1)(logits)[0].tolist() == [0, 0.5, 0, 0.5]


@pytest.mark.parametrize("temperature", [0, 1e-300, 1.0])
@pytest.mark.parametrize("row", [[-np.inf, -np.inf], [0.0, np.nan], [np.nan, -np.inf], [np.inf, 0.0]])
def test_a_row_of_logits_without_a_law_is_refused(row: list[float], temperature: float) -> None:
    with pytest.raises(BadProbabilities, match="no distribution to draw from"):
        with_temperature(np.array([[0.0, 1.0], row]), temperature)


@exact_rule
def test_a_run_over_rows_with_minus_infinity(name: str) -> None:
    """Under each rule, a target of logits with -inf says nothing it forbids, whatever the draft would like."""

    class Logits:
        vocab_size = 4

        def __init__(self, *logits: float) -> None:
            self.row = with_temperature(np.array([logits]), 1.0)[0]

        def probs(self, tokens: Tokens, last: int = 1) -> np.ndarray:
            return np.stack([self.row] * last)

    target, draft = Logits(-np.inf, 0.0, 1.0, -np.inf), Logits(3.0, 0.0, -np.inf, 1.0)
    for drafter in (refspec.ModelDrafter(draft), *([] if name == "block" else [refspec.CoupledDrafter(draft)])):
        out = refspec.speculative(
            target, drafter, (), gamma=3, max_new_tokens=200, chance=refspec.Seeded(0), verify=verify.RULES[name]
        )
        assert set(out.tokens) == {1, 2}


@exact_rule
@pytest.mark.parametrize("bad", [[np.nan, 0.5, 0.5], [np.nan] * 3, [0.0, 0.0, 0.0]])
def test_a_target_row_that_is_no_law_is_refused(name: str, bad: list[float]) -> None:
    draft = Draft((0,), np.array([[0.5, 0.5, 0.0]]), 0)
    assert verify.RULES[name](draft, np.array([[0.0, 1.0, 0.0]] * 2), refspec.Tape([0.5] * 9)) == Verdict(0, 1)
    with np.errstate(invalid="ignore"), pytest.raises(BadProbabilities, match=r"cannot (pick from|race) 3 weights"):
        verify.RULES[name](draft, np.array([bad, bad]), refspec.Tape([0.5] * 9))


@pytest.mark.parametrize("rule", [verify.token, verify.block])
@pytest.mark.parametrize("q", [[0.0, 1.0], [np.nan, 0.5], [-0.5, 1.5]])
def test_a_draft_that_its_own_law_does_not_allow_is_refused(rule: verify.Rule, q: list[float]) -> None:
    target_probs = np.full((2, 2), 0.5)
    with pytest.raises(BrokenDrafter, match=rf"drafted token 0 at position 0 has draft probability {q[0]};"):
        rule(Draft((0,), np.array([q]), 0), target_probs, refspec.Seeded(0))
    assert rule(Draft((1,), np.array([[0.0, 1.0]]), 0), target_probs, refspec.Tape([0.25] * 3)).accepted == 1
