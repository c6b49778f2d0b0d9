"""The loop, the token rule and chance on tables: N2 to N9, draw by draw."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import refspec
from refspec.decoding.chance import accept_at, pick_at
from refspec.decoding.draft import Draft
from refspec.decoding.verify import Verdict, residual, token
from refspec.errors import BadArgument, BadProbabilities, BrokenDrafter, BrokenRule, TapeExhausted, VocabularyMismatch

JUST_BELOW_ONE = np.nextafter(1.0, 0.0)

TARGET = refspec.TableLM({(): [0.5, 0.3, 0.2], (0,): [0.1, 0.6, 0.3], (1,): [0.2, 0.2, 0.6], (2, 1): [0.0, 1.0, 0.0]})
DRAFT = refspec.TableLM({(): [0.2, 0.5, 0.3], (0,): [0.3, 0.3, 0.4], (2,): [0.6, 0.2, 0.2]})


class Fixed:
    """A drafter that always proposes these tokens, as point masses."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tuple(tokens)

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        return Draft(self.tokens[:gamma])


# --- chance: N2, N3 ---


@pytest.mark.parametrize(
    ("u", "p", "q", "accepted"),
    [
        (0.0, 0.0, 0.5, False),  # u = 0 never accepts what p forbids
        (JUST_BELOW_ONE, 0.3, 0.3, True),  # p = q is certain
        (JUST_BELOW_ONE, 5e-324, 5e-324, True),  # where u * q rounds up to p
        (0.5, 0.25, 0.5, False),  # u * q < p is strict
        (np.nextafter(0.5, 0), 0.25, 0.5, True),
        (JUST_BELOW_ONE, 0.6, 0.2, True),
    ],
)
def test_accept_at_the_edges(u: float, p: float, q: float, accepted: bool) -> None:
    assert accept_at(u, p, q) is accepted


def test_pick_never_picks_a_zero_weight_and_never_runs_off_the_end() -> None:
    assert pick_at(0.0, np.array([0.0, 0.0, 1.0])) == 2
    assert pick_at(JUST_BELOW_ONE, np.array([1.0, 2.0, 0.0, 0.0])) == 1
    assert pick_at(0.5, np.array([1.0, 0.0, 1.0])) == 2  # the first whose cumulative weight *exceeds* u * total
    assert pick_at(JUST_BELOW_ONE, np.array([5e-324, 5e-324, 0.0])) == 1  # u * total rounds up to total


@pytest.mark.parametrize("u", [0.1, 0.25, 0.5, 0.75, 0.9, JUST_BELOW_ONE])
def test_float32_weights_are_added_in_float64(u: float) -> None:
    """50,000 of them: a float32 sum would be off by thousands of ids."""
    weights = np.full(50_000, 1 / 50_000, np.float32)
    assert pick_at(u, weights) == int(u * 50_000)


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=40), st.floats(0, 1, exclude_max=True))
@example([5e-324, 0.0], JUST_BELOW_ONE)
def test_pick_is_the_inverse_cdf(weights: list[float], u: float) -> None:
    total = 0.0
    for weight in weights:  # the same additions in the same order as a cumulative sum
        total += weight
    if total == 0 or total == np.inf:
        with pytest.raises(BadProbabilities, match=f"that sum to {total};"):
            pick_at(u, np.array(weights))
        return
    index = pick_at(u, np.array(weights))
    assert weights[index] > 0
    running = 0.0
    for weight in weights[:index]:
        running += weight
    assert running <= u * total or not any(weights[index + 1 :])


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [0.5, -0.1], [0.5, float("nan")], [np.inf, 1.0]])
def test_pick_refuses_what_is_no_weight(weights: list[float]) -> None:
    with pytest.raises(BadProbabilities, match=f"cannot pick from {len(weights)} weights"):
        refspec.Seeded(0).pick(np.array(weights))


def test_a_tape_replays_seeded_and_may_have_values_left() -> None:
    generator = np.random.Generator(np.random.PCG64(7))
    tape = refspec.Tape(generator.random(200))
    seeded = refspec.Seeded(7)
    outputs = [
        refspec.speculative(TARGET, refspec.ModelDrafter(DRAFT), (0,), gamma=3, max_new_tokens=20, chance=chance)
        for chance in (seeded, tape)
    ]
    assert outputs[0] == outputs[1]
    assert 20 < tape.position < 200
    with pytest.raises(TapeExhausted, match="held 0 uniforms"):
        refspec.Tape([]).pick(np.array([1.0]))
    with pytest.raises(BadArgument, match=r"on the tape is 1\.0"):
        refspec.Tape([1.0])


def test_a_race_belongs_to_its_key_and_a_zero_weight_never_wins() -> None:
    row = np.array([0.0, 0.5, 0.5])
    winners = [refspec.Seeded(3).race(key, row) for key in range(64)]
    assert set(winners) == {1, 2}
    seeded = refspec.Seeded(3)
    assert [seeded.race(key, row) for key in reversed(range(64))] == winners[::-1]
    assert seeded.u is None  # no uniform of the sequence was drawn
    assert seeded.pick(np.array([0.2] * 5)) == refspec.Seeded(3).pick(np.array([0.2] * 5))
    assert winners != [refspec.Seeded(4).race(key, row) for key in range(64)]
    assert seeded.race(0, np.array([0.0, 5e-324])) == 1  # a subnormal weight is one all the same


def test_a_tape_reads_a_key_once() -> None:
    tape = refspec.Tape([0.5, 0.0, 0.9, 0.1, 0.2, 0.3])
    assert tape.u is None
    assert tape.race(0, np.array([0.4, 0.0, 0.6])) == 0  # clocks log 2, 0, log 10 over the weights
    assert tape.race(0, np.array([0.1, 0.0, 0.9])) == 2
    assert tape.race(0, np.array([0.4, 0.2, 0.4])) == 1
    assert (tape.position, tape.u) == (3, 0.9)
    assert tape.race(1, np.array([1.0, 1.0, 1.0])) == 0
    assert tape.position == 6


@pytest.mark.parametrize("weights", [[0.0, 0.0], [0.5, -0.1], [0.5, float("nan")], [np.inf, 1.0]])
def test_a_race_refuses_what_is_no_weight(weights: list[float]) -> None:
    with pytest.raises(BadProbabilities, match="cannot race 2 weights"):
        refspec.Seeded(0).race(0, np.array(weights))


# --- the rule: N4, N5 ---


def test_a_residual_of_rounding_alone_falls_back_to_p() -> None:
    p = np.array([0.3, 0.7])
    q = np.nextafter(p, 1)
    assert residual(p, q) is p
    assert residual(np.array([0.5, 0.5]), np.array([0.75, 0.25])).tolist() == [0.0, 0.25]


def test_the_rule_draws_one_accept_a_token_then_one_pick() -> None:
    target_probs = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.2, 0.2, 0.6]])
    draft = Draft((1, 0), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    tape = refspec.Tape([0.4, 0.0, 0.9, 0.123])
    assert token(draft, target_probs, tape) == Verdict(1, 2)  # 0.4 * 1 < 0.5; 0 * 1 < 0 fails; residual (0, .5, .5)
    assert tape.position == 3
    assert token(Draft((1,)), target_probs[:2], refspec.Tape([0.5, 0.9])) == Verdict(0, 0)  # p without the drafted token
    assert token(Draft(()), target_probs[:1], refspec.Tape([0.6])) == Verdict(0, 1)  # an empty draft is one plain pick


def test_a_token_its_own_law_forbids_is_a_broken_drafter() -> None:
    with pytest.raises(BrokenDrafter, match="draft probability 0"):
        token(Draft((0,), np.array([[0.0, 1.0]])), np.full((2, 2), 0.5), refspec.Seeded(0))


def test_the_same_lines_run_on_fractions() -> None:
    half, third = Fraction(1, 2), Fraction(1, 3)
    target = refspec.TableLM({(): [half, half], (0,): [third, 2 * third]})
    draft = refspec.TableLM({(): [third, 2 * third]})
    out = refspec.speculative(
        target, refspec.ModelDrafter(draft), (), gamma=2, max_new_tokens=6, chance=refspec.Seeded(1), record=True
    )
    assert len(out.tokens) == 6
    for each in out.rounds:
        assert each.record is not None
        for test in each.record.tested:
            assert type(test.p) is type(test.q) is Fraction


# --- the loop: N5, N9, N12 ---


@pytest.mark.parametrize("seed", range(5))
def test_an_empty_draft_is_plain_decoding_draw_by_draw(seed: int) -> None:
    plain = refspec.autoregressive(TARGET, (2,), max_new_tokens=30, chance=refspec.Seeded(seed))
    for drafter, gamma in [(Fixed(()), 4), (refspec.ModelDrafter(DRAFT), 0)]:
        out = refspec.speculative(TARGET, drafter, (2,), gamma=gamma, max_new_tokens=30, chance=refspec.Seeded(seed))
        assert out.tokens == plain
        assert len(out.rounds) == 30


@given(
    gamma=st.integers(0, 6),
    max_new_tokens=st.integers(0, 12),
    stop=st.sets(st.integers(0, 2)),
    prompt=st.lists(st.integers(0, 2), max_size=4).map(tuple),
    seed=st.integers(0, 2**32),
    ngram=st.booleans(),
)
def test_length_and_stop(gamma: int, max_new_tokens: int, stop: set[int], prompt: tuple, seed: int, ngram: bool) -> None:
    drafter = refspec.NgramDrafter() if ngram else refspec.ModelDrafter(DRAFT)
    out = refspec.speculative(
        TARGET, drafter, prompt, gamma=gamma, max_new_tokens=max_new_tokens, stop=stop, chance=refspec.Seeded(seed)
    )
    assert len(out.tokens) <= max_new_tokens
    assert len(out.tokens) == max_new_tokens or out.tokens[-1] in stop
    assert not any(each in stop for each in out.tokens[:-1])
    assert out.tokens == tuple(each for one in out.rounds for each in (*one.draft_tokens[: one.accepted], one.token))
    left = max_new_tokens
    for one in out.rounds:
        assert 0 <= one.accepted <= one.drafted <= min(gamma, left - 1)
        left -= one.accepted + 1


def test_a_stop_token_inside_a_round_cuts_it_and_keeps_its_form() -> None:
    certain = refspec.TableLM({(): [0, 1, 0], (1,): [0, 0, 1], (2,): [1, 0, 0]})  # 1 2 0 1 2 0 ...
    out = refspec.speculative(certain, Fixed((1, 2, 0)), (), gamma=3, max_new_tokens=9, stop={2}, chance=refspec.Seeded(0))
    assert out.tokens == (1, 2)
    (one,) = out.rounds
    assert (one.draft_tokens, one.drafted, one.accepted, one.token) == ((1,), 1, 1, 2)
    assert refspec.speculative(
        certain, Fixed(()), (0, 2), gamma=1, max_new_tokens=2, stop={2}, chance=refspec.Seeded(0)
    ).tokens == (0, 1)


def test_a_record_shows_p_q_u_and_the_answer() -> None:
    tape = refspec.Tape([0.1, 0.99, 0.5])
    out = refspec.speculative(TARGET, refspec.ModelDrafter(DRAFT), (), gamma=1, max_new_tokens=2, chance=tape, record=True)
    record = out.rounds[0].record
    assert record is not None
    assert record.draft.tokens == (0,)
    assert record.draft.start == 0
    (tested,) = record.tested
    assert (tested.p, tested.q, tested.u, tested.accepted) == (0.5, 0.2, 0.99, True)
    assert record.target_probs.tolist() == [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]


def test_a_record_of_races_is_the_run_without_one() -> None:
    runs = [
        refspec.speculative(
            TARGET,
            refspec.CoupledDrafter(DRAFT),
            (),
            gamma=2,
            max_new_tokens=12,
            chance=refspec.Seeded(5),
            verify=refspec.verify.coupled,
            record=record,
        )
        for record in (False, True)
    ]
    assert runs[0].tokens == runs[1].tokens
    assert all(each.record and each.record.tested == () for each in runs[1].rounds)
    unasked = refspec.decoding.loop.rounds(TARGET, Fixed(()), (), gamma=0, max_new_tokens=1, chance=refspec.Seeded(0))
    assert next(unasked).record is None


NO_PROPOSALS = {
    "too many": (Draft((0, 1, 2)), "returned 3 tokens where at most 2 were asked for"),
    "beyond the vocabulary": (Draft((3,)), "returned token 3; the target's ids run from 0 to 2"),
    "below the vocabulary": (Draft((-1,)), "returned token -1;"),
    "narrow row": (Draft((0,), np.array([[0.5, 0.5]])), r"distributions of shape \(1, 2\); \(1, 3\) is needed"),
    "a row too many": (Draft((0,), np.array([[1.0, 0.0, 0.0]] * 2)), r"distributions of shape \(2, 3\); \(1, 3\) is needed"),
    "another position": (Draft((0,), start=5), "starts at position 5 where the text has 1 tokens"),
    "no law": (Draft((0,), np.array([[0.5, 0.25, 0.0]])), r"row for position 1 sums to 0\.75, which is off by -2\.5e-01"),
    "negative": (
        Draft((0,), np.array([[1.5, -0.5, 0.0]])),
        r"row for position 1 gives token 1 the probability -0\.5; a distribution has entries >= 0",
    ),
    "no exact law": (Draft((0,), np.array([[Fraction(1, 2), Fraction(1, 4), Fraction(0)]])), "row for position 1 sums to 3/4"),
}
PROPOSALS = {
    "as many as asked for": Draft((0, 1)),
    "none": Draft(()),
    "the last id": Draft((2,)),
    "a law": Draft((0,), np.array([[0.5, 0.25, 0.25]])),
    "an exact law": Draft((0,), np.array([[Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]])),
    "at its position": Draft((0,), start=1),
    "a law in float32": Draft((0,), np.array([[0.9, 0.05, 0.05]], np.float32)),
}


def first_round_of(draft: Draft) -> refspec.Round:
    """Only the first, where two tokens are asked for: a drafter that is deaf to how many are asked goes wrong later."""

    class Deaf:
        def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
            return draft

    return next(refspec.decoding.loop.rounds(TARGET, Deaf(), (0,), gamma=2, max_new_tokens=8, chance=refspec.Seeded(0)))


@pytest.mark.parametrize(("draft", "said"), NO_PROPOSALS.values(), ids=NO_PROPOSALS)
def test_a_draft_that_is_no_proposal_is_refused(draft: Draft, said: str) -> None:
    with pytest.raises(BrokenDrafter, match=said):
        first_round_of(draft)


@pytest.mark.parametrize("draft", PROPOSALS.values(), ids=PROPOSALS)
def test_a_draft_that_is_a_proposal_is_not(draft: Draft) -> None:
    assert first_round_of(draft).draft_tokens == draft.tokens


@pytest.mark.parametrize("verdict", [Verdict(-1, 0), Verdict(2, 0), Verdict(0, 3), Verdict(0, -1)])
def test_a_verdict_that_is_none_is_refused(verdict: Verdict) -> None:
    options = {"gamma": 1, "max_new_tokens": 4, "chance": refspec.Seeded(0)}
    with pytest.raises(BrokenRule, match="to a draft of 1 tokens"):
        refspec.speculative(TARGET, Fixed((1,)), (), verify=lambda *_: verdict, **options)
    for neighbour in (Verdict(0, 0), Verdict(0, 2), Verdict(1, 0), Verdict(1, 2)):
        found = next(refspec.decoding.loop.rounds(TARGET, Fixed((1,)), (), verify=lambda *_, given=neighbour: given, **options))
        assert (found.accepted, found.token) == (neighbour.accepted, neighbour.token)


SLIPS: dict[str, tuple[Any, str]] = {
    "nothing": (None, r"the drafter returned None; give refspec\.Draft\(tokens, probs\)"),
    "tokens alone": ((1,), "the drafter returned a tuple; give"),
    "a list of tokens": (Draft([1]), "the drafter returned a list of tokens; give a tuple of ids"),  # type: ignore[arg-type]
    "a list of rows": (Draft((1,), [[0.5, 0.5, 0]]), "returned a list of distributions; give an array"),  # type: ignore[arg-type]
    "rows of no tokens": (Draft((), np.array([])), r"no tokens and distributions of shape \(0,\); give Draft\(\(\)\)"),
}


@pytest.mark.parametrize(("draft", "said"), SLIPS.values(), ids=SLIPS)
def test_what_is_no_draft_is_refused(draft: Any, said: str) -> None:
    with pytest.raises(BrokenDrafter, match=said):
        first_round_of(draft)


@pytest.mark.parametrize(("answer", "said"), [(None, "None"), ((1, 0), "a tuple")])
def test_what_is_no_verdict_is_refused(answer: Any, said: str) -> None:
    options: dict[str, Any] = {"gamma": 1, "max_new_tokens": 4, "chance": refspec.Seeded(0)}
    with pytest.raises(BrokenRule, match=rf"the rule returned {said}; give refspec\.verify\.Verdict\(accepted, token\)"):
        refspec.speculative(TARGET, Fixed((1,)), (), verify=lambda *_: answer, **options)


def test_the_name_of_a_rule_is_none() -> None:
    options: dict[str, Any] = {"gamma": 1, "max_new_tokens": 4, "verify": "block"}
    with pytest.raises(BadArgument, match=r"verify is 'block'; give a rule, such as refspec\.verify\.token"):
        refspec.speculative(TARGET, None, (), chance=refspec.Seeded(0), **options)
    with pytest.raises(BadArgument, match="verify is 'block'"):
        refspec.sequence_law(TARGET, None, **options)


def test_bad_arguments() -> None:
    for options, said in (
        ({"gamma": -1, "max_new_tokens": 3}, "gamma is -1"),
        ({"gamma": 1, "max_new_tokens": -1}, "max_new_tokens is -1"),
    ):
        with pytest.raises(BadArgument, match=said):
            refspec.speculative(TARGET, Fixed(()), (), chance=refspec.Seeded(0), **options)
    assert refspec.speculative(TARGET, Fixed(()), (), gamma=0, max_new_tokens=0, chance=refspec.Seeded(0)).tokens == ()
    with pytest.raises(BadArgument, match="max_new_tokens is -1"):
        refspec.autoregressive(TARGET, (), max_new_tokens=-1, chance=refspec.Seeded(0))
    assert refspec.autoregressive(TARGET, (), max_new_tokens=0, chance=refspec.Seeded(0)) == ()
    with pytest.raises(BadArgument, match="seed is -1"):
        refspec.Seeded(-1)


def test_vocabularies_are_compared_by_map_and_not_by_size() -> None:
    class Named(refspec.TableLM):
        def __init__(self, token_map: dict[str, int]) -> None:
            super().__init__({(): [1, 0, 0]})
            self.token_map = token_map

    ours, theirs = Named({"a": 0, "b": 1, "c": 2}), Named({"a": 0, "b": 2, "c": 1})
    with pytest.raises(VocabularyMismatch, match="2 tokens differently, for instance 'b' to 1 and 2"):
        refspec.speculative(ours, refspec.ModelDrafter(theirs), (), gamma=1, max_new_tokens=1, chance=refspec.Seeded(0))
    two = refspec.TableLM({(): [1, 0]})
    with pytest.raises(VocabularyMismatch, match="3 tokens and the draft 2"):
        refspec.speculative(TARGET, refspec.ModelDrafter(two), (), gamma=1, max_new_tokens=1, chance=refspec.Seeded(0))


# --- who bears whom: N6 ---


def nested(depth: int) -> refspec.Drafter:
    drafter: refspec.Drafter = refspec.CoupledDrafter(DRAFT)
    for _ in range(depth):
        drafter = refspec.AdaptiveDrafter(drafter, refspec.Profile((1, 1.1, 1.2), draft=0))
    return drafter


@pytest.mark.parametrize("depth", range(4))
def test_block_behind_a_drafter_that_races_is_refused_wherever_it_is_asked(depth: int) -> None:
    options = {"gamma": 2, "max_new_tokens": 3, "verify": refspec.verify.block}
    for ask in (
        lambda: refspec.speculative(TARGET, nested(depth), (), chance=refspec.Seeded(0), **options),
        lambda: next(refspec.decoding.loop.rounds(TARGET, nested(depth), (), chance=refspec.Seeded(0), **options)),
        lambda: refspec.exact.sequence_law(TARGET, nested(depth), (), **options),
    ):
        with pytest.raises(
            BadArgument, match=r"block verification does not keep the target's distribution behind \w+Drafter, which races"
        ):
            ask()


def test_what_races_is_refused_behind_no_other_rule_and_block_behind_no_other_drafter() -> None:
    """A rule of one's own that says nothing of looking ahead is let through, one that says so is not."""
    options = {"gamma": 2, "max_new_tokens": 8, "chance": refspec.Seeded(0)}
    for rule in (refspec.verify.token, refspec.verify.sample_match, refspec.verify.coupled, lambda *asked: token(*asked)):
        assert len(refspec.speculative(TARGET, nested(1), (), verify=rule, **options).tokens) == 8
    for drafter in (Fixed((0, 1)), refspec.AdaptiveDrafter(refspec.ModelDrafter(DRAFT), refspec.Profile((1, 1.1), draft=0))):
        assert len(refspec.speculative(TARGET, drafter, (), verify=refspec.verify.block, **options).tokens) == 8

    @refspec.verify.claims(exact=True, looks_ahead=True)
    def mine(draft: Draft, target_probs: np.ndarray, chance: refspec.Chance) -> Verdict:
        return token(draft, target_probs, chance)

    with pytest.raises(BadArgument, match="mine verification"):
        refspec.speculative(TARGET, nested(0), (), verify=mine, **options)
    nameless = partial(token)
    nameless.looks_ahead = True  # type: ignore[attr-defined]
    with pytest.raises(BadArgument, match="this verification"):
        refspec.speculative(TARGET, nested(0), (), verify=nameless, **options)


def test_an_adaptive_drafter_is_compared_by_its_models_vocabulary() -> None:
    two = refspec.AdaptiveDrafter(refspec.ModelDrafter(refspec.TableLM({(): [1, 0]})), refspec.Profile((1, 1.1), draft=0))
    with pytest.raises(VocabularyMismatch, match="3 tokens and the draft 2"):
        refspec.speculative(TARGET, two, (), gamma=1, max_new_tokens=1, chance=refspec.Seeded(0))


# --- what a proposal must be ---


def test_a_token_beyond_the_vocabulary_is_told_what_there_is() -> None:
    with pytest.raises(BrokenDrafter, match="returned token 3; the target's ids run from 0 to 2"):
        refspec.speculative(TARGET, Fixed((3,)), (), gamma=1, max_new_tokens=2, chance=refspec.Seeded(0))


def test_a_draft_stands_where_the_text_ends() -> None:
    """Also where the drafter does not say so: the coupled rule keys its noise by it."""
    text = (0, 1, 0, 1, 0)
    for drafter in (refspec.NgramDrafter(), refspec.ModelDrafter(DRAFT), refspec.CoupledDrafter(DRAFT)):
        assert drafter.propose(text, 2, refspec.Seeded(0)).start == 5
    out = refspec.speculative(
        TARGET, Fixed((0, 1)), text, gamma=2, max_new_tokens=3, chance=refspec.Seeded(0), verify=refspec.verify.coupled,
        record=True,
    )  # fmt: skip
    assert out.rounds[0].record is not None
    assert out.rounds[0].record.draft.start == 5


@pytest.mark.parametrize("decode", [refspec.autoregressive, refspec.speculative])
def test_no_tokens_are_no_text(decode: Callable[..., Any]) -> None:
    options = {} if decode is refspec.autoregressive else {"drafter": Fixed((0,)), "gamma": 1}
    out = decode(TARGET, prompt=(1,), max_new_tokens=0, chance=refspec.Tape([]), **options)
    assert getattr(out, "tokens", out) == ()


# --- tables and drafters ---


def test_a_table_answers_with_the_longest_suffix() -> None:
    rows = TARGET.probs((0, 2, 1), last=4).tolist()
    assert rows == [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.0, 1.0, 0.0]]
    for last in (0, 5):
        with pytest.raises(BadArgument, match=f"last is {last} for 3 tokens; it is between 1 and 4"):
            TARGET.probs((0, 2, 1), last=last)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([0.5, 0.6], "sums to 1.1, which is off by 1.0e-01"),
        ([Fraction(1, 2), Fraction(1, 3)], "sums to 5/6, which is off by -1.7e-01"),
        ([], "sums to 0, which is off by -1.0e[+]00"),
        ([1.5, -0.5], "gives token 1 the probability -0.5; a distribution has entries >= 0 that sum to 1"),
    ],
)
def test_a_row_that_is_no_law_is_refused(row: list, said: str) -> None:
    with pytest.raises(BadProbabilities, match=rf"the row of context \(\) {said}"):
        refspec.TableLM({(): row})


@pytest.mark.parametrize(
    ("tokens", "gamma", "drafted"),
    [
        ((1, 2, 3, 9, 1, 2, 3), 2, (9, 1)),
        ((1, 2, 3, 8, 1, 2, 3, 9, 1, 2, 3), 1, (9,)),  # the most recent match
        ((7, 2, 3, 8, 3, 9, 2, 3), 1, (8,)),  # a longer suffix before a more recent one
        ((4, 4), 3, (4, 4, 4)),  # it goes on in the draft itself
        ((5, 1, 2, 1, 2), 5, (1, 2, 1, 2, 1)),
        ((1, 2, 3), 3, ()),
        ((), 3, ()),
        ((1, 1), 0, ()),
    ],
)
def test_prompt_lookup(tokens: tuple[int, ...], gamma: int, drafted: tuple[int, ...]) -> None:
    draft = refspec.NgramDrafter().propose(tokens, gamma, refspec.Tape([]))  # consumes no chance
    assert (draft.tokens, draft.probs) == (drafted, None)


def test_a_draft_model_stays_within_its_own_context() -> None:
    class Short(refspec.TableLM):
        context = 3

    drafter = refspec.ModelDrafter(Short({(): [1, 0, 0]}))
    assert [len(drafter.propose((0,) * n, 4, refspec.Seeded(0)).tokens) for n in (1, 3, 5)] == [2, 0, 0]
