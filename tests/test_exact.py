"""The enumerators: each against the other, against arithmetic done by hand, and against the limits they state."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import refspec
from refspec import verify
from refspec.draft import Draft
from refspec.errors import BadArgument, BadProbabilities, EnumerationLimit, VocabularyMismatch
from refspec.exact import Remembered, law, race_law, sequence_law, total_variation
from refspec.interval import GRID, IntervalChance, accept_counts, float_bound, pick_counts

HALF, THIRD = Fraction(1, 2), Fraction(1, 3)


def table(seed: int, vocab_size: int, horizon: int, exact: bool = True) -> refspec.TableLM:
    """A model whose rows differ at every context of up to `horizon` tokens, drawn by chance itself."""
    chance = refspec.Seeded(seed)
    rows = {}
    for length in range(horizon + 1):
        for context in product(range(vocab_size), repeat=length):
            weights = [1 + chance.pick(np.ones(5)) for _ in range(vocab_size)]
            row = [Fraction(weight, sum(weights)) for weight in weights]
            rows[context] = row if exact else [float(each) for each in row]
    return refspec.TableLM(rows)


# --- law ---


def test_a_law_by_hand() -> None:
    def program(chance: refspec.Chance) -> str:
        if chance.accept(THIRD, HALF):  # 2/3
            return "ab"[chance.pick(np.array([1, 3]))]
        return "c" if chance.accept(1, 1) else "never"

    assert law(program) == {"a": Fraction(1, 6), "b": HALF, "c": THIRD}


def test_branches_of_no_probability_are_not_taken() -> None:
    def program(chance: refspec.Chance) -> int:
        if chance.accept(Fraction(0), HALF):
            raise AssertionError("accepted what p forbids")
        return chance.pick(np.array([Fraction(0), HALF, Fraction(0)]))

    assert law(program) == {1: 1}


def test_equal_weights_are_accepted_even_where_both_are_zero() -> None:
    """Block asks 0 of 0 where a draft has spent the whole residual (0 / 0 is 1)."""
    for weight in (Fraction(0), HALF, 0):
        assert law(lambda chance, weight=weight: chance.accept(weight, weight)) == {True: 1}


def test_numpy_integers_do_not_overflow() -> None:
    weights = np.array([2**62, 2**62, 2**62])  # their sum is beyond int64
    assert law(lambda chance: chance.pick(weights)) == {0: THIRD, 1: THIRD, 2: THIRD}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (np.array([0.5, 0.5]), "is a float64; exact enumeration takes ints and Fractions"),
        (np.array([0, 0]), r"cannot pick from the weights \(0, 0\)"),
        (np.array([]), r"cannot pick from the weights \(\)"),
        (np.array([2, -1]), r"cannot pick from the weights \(2, -1\)"),
    ],
)
def test_floats_and_what_is_no_weight_are_refused(weights: np.ndarray, said: str) -> None:
    with pytest.raises(BadProbabilities, match=said):
        law(lambda chance: chance.pick(weights))


def test_a_float_in_a_test_is_refused() -> None:
    with pytest.raises(BadProbabilities, match="float"):
        law(lambda chance: chance.accept(0.5, HALF))


def test_an_endless_program_names_the_limit() -> None:
    def endless(chance: refspec.Chance) -> None:
        while True:
            chance.pick(np.array([1, 1]))

    def endless_after_a_tail(chance: refspec.Chance) -> None:
        if chance.pick(np.array([1, 1])) == 0:
            endless(chance)

    for program in (endless, lambda chance: chance.pick(np.array([1, 1])) and endless(chance), endless_after_a_tail):
        with pytest.raises(EnumerationLimit, match="more than 50 questions"):
            law(program, max_questions=50)

    def wide(chance: refspec.Chance) -> tuple[int, ...]:
        return tuple(chance.pick(np.array([1, 1, 1])) for _ in range(5))

    assert len(law(wide, max_paths=243)) == 243
    with pytest.raises(EnumerationLimit, match="more than 242 paths"):
        law(wide, max_paths=242)


def test_every_answer_is_asked_of_a_fresh_run() -> None:
    runs = []
    law(lambda chance: runs.append(0) or chance.pick(np.array([1, 1, 1, 1])))
    assert len(runs) == 4


def test_total_variation() -> None:
    assert total_variation({0: Fraction(1)}, {1: Fraction(1)}) == 1
    assert total_variation({0: HALF, 1: HALF}, {0: THIRD, 2: 2 * THIRD}) == total_variation(
        {0: THIRD, 2: 2 * THIRD}, {0: HALF, 1: HALF}
    )
    assert total_variation({0: HALF, 1: HALF}, {0: THIRD, 2: 2 * THIRD}) == 2 * THIRD
    assert total_variation({}, {}) == 0


def test_a_recorded_run_needs_no_uniforms_to_show() -> None:
    """The exact chance has no u; a record then holds None."""
    target, drafter = table(1, 2, 2), refspec.ModelDrafter(table(2, 2, 2))

    def run(chance: refspec.Chance) -> tuple[int, ...]:
        out = refspec.speculative(target, drafter, (), gamma=1, max_new_tokens=2, chance=chance, record=True)
        assert all(test.u is None for each in out.rounds if each.record for test in each.record.tested)
        return out.tokens

    assert sum(law(run).values()) == 1


# --- sequence_law against law ---


@pytest.mark.parametrize("rule", ["token", "block", "sample-match", "coupled"])
@pytest.mark.parametrize(("vocab_size", "gamma", "horizon", "stop"), [(2, 2, 4, ()), (3, 2, 3, (1,)), (3, 1, 3, ())])
def test_the_two_enumerations_agree(rule: str, vocab_size: int, gamma: int, horizon: int, stop: tuple[int, ...]) -> None:
    target, draft = table(1, vocab_size, horizon), table(2, vocab_size, horizon)
    drafter = refspec.CoupledDrafter(draft) if rule == "coupled" else refspec.ModelDrafter(draft)
    options = {"gamma": gamma, "max_new_tokens": horizon, "stop": stop, "verify": verify.RULES[rule]}
    by_path = law(lambda chance: refspec.speculative(target, drafter, (0,), chance=chance, **options).tokens)
    assert sequence_law(target, drafter, (0,), **options) == by_path
    assert sum(by_path.values()) == 1
    plain = law(lambda chance: refspec.autoregressive(target, (0,), max_new_tokens=horizon, stop=stop, chance=chance))
    assert by_path == plain


class Alternating:
    """A drafter that carries something from round to round: which of two tokens it drafts."""

    def __init__(self) -> None:
        self.memory = [0]  # a list, which a shallow copy would share between branches

    @property
    def state(self) -> int:
        return self.memory[0]

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        self.memory[0] = (self.state + 1 + chance.pick(np.array([1, 2]))) % 3
        return Draft((self.state % 2,) * min(gamma, 1))


def believe(draft: Draft, target_probs: np.ndarray, chance: refspec.Chance) -> verify.Verdict:
    """No rule at all: keeps every draft, so that the law shows what the drafter did."""
    n = len(draft.tokens)
    return verify.Verdict(n, chance.pick(target_probs[n]), exact=False)


def test_texts_merge_only_where_the_drafter_is_in_one_state() -> None:
    target = table(3, 2, 4)
    options = {"gamma": 1, "max_new_tokens": 5, "verify": believe}
    merged = sequence_law(target, Alternating(), **options)
    assert merged == law(lambda chance: refspec.speculative(target, Alternating(), (), chance=chance, **options).tokens)
    assert merged != sequence_law(target, refspec.ModelDrafter(target), **options)


def test_sequence_law_bounds_each_round_and_compares_vocabularies() -> None:
    target, drafter = table(3, 3, 3), refspec.ModelDrafter(table(4, 3, 3))
    with pytest.raises(EnumerationLimit, match="more than 5 paths"):
        sequence_law(target, drafter, gamma=2, max_new_tokens=3, max_paths=5)
    target.token_map, drafter.language_model.token_map = {"a": 0}, {"b": 0}
    with pytest.raises(VocabularyMismatch, match="map 2 tokens differently"):
        sequence_law(target, drafter, gamma=2, max_new_tokens=3)


def test_a_mutated_loop_changes_the_sequence_law() -> None:
    """`sequence_law` drives whatever loop it is given, not a copy of the right one."""

    def first_token_unverified(target, drafter, prompt, **options):  # type: ignore[no-untyped-def]
        for each in refspec.loop.rounds(target, drafter, prompt, **options):
            yield each if each.drafted == 0 else refspec.Round(each.draft_tokens, max(1, each.accepted), each.token)

    target, draft = table(4, 3, 3), table(5, 3, 3)
    options = {"gamma": 1, "max_new_tokens": 2}
    right = sequence_law(target, refspec.ModelDrafter(draft), **options)
    wrong = sequence_law(target, refspec.ModelDrafter(draft), rounds=first_token_unverified, **options)
    assert right != wrong


def test_remembering_changes_no_answer() -> None:
    target = table(6, 3, 3)
    remembered = Remembered(target)
    for _ in range(2):
        for last in (1, 3):
            assert (remembered.probs((0, 1), last) == target.probs((0, 1), last)).all()
    assert (remembered.probs((2,)) == target.probs((2,))).all()


# --- races ---


def test_one_race_is_a_pick() -> None:
    assert race_law(((1, 2, 3),)) == {(0,): Fraction(1, 6), (1,): THIRD, (2,): HALF}


def test_the_same_race_again_has_the_same_winner() -> None:
    row = (Fraction(1, 5), Fraction(3, 5), Fraction(0), Fraction(1, 5))
    assert race_law((row, row, row)) == {(z, z, z): weight for z, weight in enumerate(row) if weight}


weights = st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any).map(tuple)


@given(weights, weights)
def test_two_races_agree_as_the_closed_form_says(p: tuple[int, ...], q: tuple[int, ...]) -> None:
    """arXiv 2408.07978: P(both x) = 1 / sum over y of max(p_y / p_x, q_y / q_x), for laws p and q."""
    p_row, q_row = (tuple(Fraction(w, sum(row)) for w in row) for row in (p, q))
    together = race_law((q_row, p_row))
    for x in range(3):
        if p_row[x] and q_row[x]:
            both = 1 / sum(max(p_row[y] / p_row[x], q_row[y] / q_row[x]) for y in range(3))
            assert together.get((x, x), 0) == both
        assert sum(weight for winners, weight in together.items() if winners[1] == x) == p_row[x]


@given(weights, weights, weights)
@settings(max_examples=20)
def test_three_races_have_the_right_laws_one_by_one_and_pair_by_pair(a: tuple, b: tuple, c: tuple) -> None:
    """Marginals of a third race must be those of two: what was learnt of the clocks is neither lost nor invented."""
    together = race_law((a, b, c))
    for kept, pair in (((0, 1), (a, b)), ((1, 2), (b, c)), ((0, 2), (a, c))):
        marginal: dict[tuple[int, ...], Fraction] = {}
        for winners, weight in together.items():
            key = tuple(winners[i] for i in kept)
            marginal[key] = marginal.get(key, Fraction(0)) + weight
        assert marginal == race_law(pair)


def test_exact_races_are_the_seeded_ones_in_the_long_run() -> None:
    """4,000 seeds: four standard deviations are below 0.032."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    exact_row = lambda row: tuple(Fraction(str(each)) for each in row)  # noqa: E731
    together = race_law((exact_row(q), exact_row(p)))
    seen: dict[tuple[int, ...], int] = {}
    for seed in range(4_000):
        chance = refspec.Seeded(seed)
        winners = chance.race(7, q), chance.race(7, p)
        seen[winners] = seen.get(winners, 0) + 1
    for winners in together.keys() | seen.keys():
        assert abs(seen.get(winners, 0) / 4_000 - together.get(winners, 0)) < 0.032


# --- the interval chance ---


def test_counts_are_what_the_production_code_decides() -> None:
    assert accept_counts(0.25, 0.5) == (GRID // 2, GRID // 2)
    assert accept_counts(0.0, 0.5) == (0, GRID)
    assert accept_counts(0.5, 0.5) == (GRID, 0)
    assert pick_counts(np.array([0.0, 1.0, 0.0]).tobytes()) == (0, GRID, 0)
    assert pick_counts(np.array([1.0, 1.0, 2.0]).tobytes()) == (GRID // 4, GRID // 4, GRID // 2)
    third = pick_counts(np.full(3, 1 / 3).tobytes())
    assert sum(third) == GRID
    assert third != (GRID // 3,) * 3  # 2**53 is no multiple of 3: rounding shows, and is counted
    assert max(third) - min(third) <= 4


@given(st.floats(0, 1), st.floats(0, 1, exclude_min=True))
def test_an_acceptance_threshold_is_found_to_the_last_uniform(p: float, q: float) -> None:
    accepted, _ = accept_counts(p, q)
    if accepted:
        assert refspec.chance.accept_at((accepted - 1) / GRID, p, q)
    if accepted < GRID:
        assert not refspec.chance.accept_at(accepted / GRID, p, q)


@pytest.mark.parametrize("rule", ["token", "sample-match"])
def test_the_float_loop_is_within_the_declared_bound_of_the_rational_one(rule: str) -> None:
    vocab_size, gamma, horizon = 2, 2, 3
    options = {"gamma": gamma, "max_new_tokens": horizon, "verify": verify.RULES[rule]}
    laws = [
        law(
            lambda chance, exact=exact: (
                refspec.speculative(
                    table(8, vocab_size, horizon, exact),
                    refspec.ModelDrafter(table(9, vocab_size, horizon, exact)),
                    (),
                    chance=chance,
                    **options,
                ).tokens
            ),
            chance=None if exact else IntervalChance,
        )
        for exact in (True, False)
    ]
    distance = total_variation(*laws)
    assert sum(laws[1].values()) == 1
    # each round draws at most gamma guesses, gamma tests and one pick, and emits at least one token
    assert 0 < distance <= float_bound(vocab_size, draws=horizon * (2 * gamma + 1))


def test_the_interval_chance_refuses_races() -> None:
    with pytest.raises(BadArgument, match="does not enumerate races"):
        law(lambda chance: chance.race(0, np.array([0.5, 0.5])), chance=IntervalChance)
