"""Inexact rules, measured: how far each lossy rule ends from p, as an exact function of its parameters."""

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models import Table, table

import refspec
from refspec.decoding import verify
from refspec.decoding.draft import Draft
from refspec.decoding.verify import Verdict, inexact_lenience, inexact_typical
from refspec.decoding.verify.inexact_typical_rule import threshold
from refspec.errors import BadArgument, BadProbabilities
from refspec.proof import theory
from refspec.proof.distance import distance, text_distance
from refspec.proof.exact import law, total_variation

Row = np.ndarray

factors = st.integers(1, 8).map(lambda eighths: Fraction(eighths, 8))
thresholds = st.integers(0, 10).map(lambda tenths: tenths / 10)


def row(*weights: int) -> Row:
    return np.array([Fraction(weight, sum(weights)) for weight in weights])


@st.composite
def row_pairs(draw: st.DrawFn) -> tuple[Row, Row]:
    v = draw(st.integers(1, 5))
    weights = st.lists(st.integers(0, 6), min_size=v, max_size=v).filter(any)
    return row(*draw(weights)), row(*draw(weights))


def round_law(rule: verify.Rule, target_row: Row, draft_row: Row) -> dict[tuple[bool, int], Fraction]:
    """{(the drafted token was accepted, the token that stands in its place): probability}"""

    def one_round(chance: refspec.Chance) -> tuple[bool, int]:
        drafted = chance.pick(draft_row)
        verdict = rule(Draft((drafted,), draft_row[None]), np.stack([target_row, target_row]), chance)
        return bool(verdict.accepted), drafted if verdict.accepted else verdict.token

    return law(one_round)


def acceptance(rule: verify.Rule, target_row: Row, draft_row: Row) -> Fraction:
    return sum((share for (kept, _), share in round_law(rule, target_row, draft_row).items() if kept), Fraction(0))


def point_mass(token: int, v: int) -> Row:
    return row(*(int(x == token) for x in range(v)))


# --- what every inexact rule owes ---


def test_a_rule_says_whether_it_is_exact() -> None:
    assert all(name.startswith("inexact-") for name in verify.INEXACT)
    for name, rule in verify.RULES.items():
        assert verify.is_exact(rule) is (name in verify.EXACT)
    for factory in (inexact_lenience, inexact_typical):
        assert (factory.__doc__ or "").startswith("Inexact")


@pytest.mark.parametrize("rule", verify.EXACT.values(), ids=verify.EXACT)
@settings(max_examples=15)
@given(row_pairs())
def test_exact_rules_are_at_no_distance(rule: verify.Rule, pair: tuple[Row, Row]) -> None:
    assert distance(rule, *pair) == 0


@settings(max_examples=30)
@given(row_pairs(), factors, thresholds, thresholds)
def test_acceptance_beyond_the_optimum_is_paid_for(pair: tuple[Row, Row], factor: Fraction, epsilon: float, delta: float) -> None:
    for rule in (inexact_lenience(factor), inexact_typical(epsilon, delta)):
        assert distance(rule, *pair) >= theory.least_distance(*pair, acceptance(rule, *pair))


@settings(max_examples=30)
@given(row_pairs(), factors, thresholds, thresholds)
def test_nothing_impossible_is_emitted(pair: tuple[Row, Row], factor: Fraction, epsilon: float, delta: float) -> None:
    for rule in (inexact_lenience(factor), inexact_typical(epsilon, delta)):
        assert all(pair[0][token] > 0 for _, token in round_law(rule, *pair))


@pytest.mark.parametrize("bad", [0, -1, 1.5, float("nan"), float("inf")])
def test_a_factor_outside_its_range_is_refused(bad: float) -> None:
    with pytest.raises(BadArgument, match="factor is"):
        inexact_lenience(bad)


@pytest.mark.parametrize("bad", [(-0.1, 0.3), (0.09, 1.1), (float("nan"), 0.3), (0.09, float("nan"))])
def test_thresholds_outside_their_range_are_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(BadArgument, match="between 0 and 1"):
        inexact_typical(*bad)


def test_a_distance_is_exact_or_refused() -> None:
    assert distance(inexact_lenience(0.5), [Fraction(1, 3), Fraction(2, 3)], [Fraction(2, 3), Fraction(1, 3)]) == Fraction(1, 3)
    with pytest.raises(BadProbabilities, match="float"):
        distance(inexact_lenience(0.5), [0.5, 0.5], [0.25, 0.75])


# --- lenience ---


@settings(max_examples=40)
@given(row_pairs(), factors)
@example((row(1, 2, 0), row(0, 0, 1)), Fraction(1, 2))
@example((row(1, 5), row(1, 1)), Fraction(1, 8))
def test_lenience_is_as_far_off_as_it_accepts_more(pair: tuple[Row, Row], factor: Fraction) -> None:
    rule = inexact_lenience(factor)
    gained = theory.lenience_acceptance(*pair, factor)
    assert acceptance(rule, *pair) == gained
    assert distance(rule, *pair) == gained - theory.token_acceptance(*pair) == theory.least_distance(*pair, gained)


@settings(max_examples=40)
@given(row_pairs(), factors)
@example((row(0, 1), row(1, 1)), Fraction(1, 2))  # where q is above p, p is 0: lenience has nothing to let through
def test_lenience_is_exact_only_at_1_or_where_it_changes_no_test(pair: tuple[Row, Row], factor: Fraction) -> None:
    lets_through = any(0 < p < q for p, q in zip(*pair, strict=True))
    assert (distance(inexact_lenience(factor), *pair) == 0) == (factor == 1 or not lets_through)


@settings(max_examples=30)
@given(row_pairs())
def test_less_factor_more_distance(pair: tuple[Row, Row]) -> None:
    found = [distance(inexact_lenience(Fraction(eighths, 8)), *pair) for eighths in (1, 3, 5, 8)]
    assert found == sorted(found, reverse=True)


@settings(max_examples=30)
@given(row_pairs(), factors)
def test_the_papers_bound_no_token_is_likelier_than_p_over_l(pair: tuple[Row, Row], factor: Fraction) -> None:
    for (_, token), share in round_law(inexact_lenience(factor), *pair).items():
        assert share <= pair[0][token] / factor


@settings(max_examples=30)
@given(row_pairs(), factors, st.data())
def test_no_other_residual_ends_nearer(pair: tuple[Row, Row], factor: Fraction, data: st.DataObject) -> None:
    """Among them (p - l q)+, which fits the test as the token rule's residual fits its own, and p itself."""
    target_row, draft_row = pair
    drawn = data.draw(st.lists(st.integers(0, 6), min_size=len(target_row), max_size=len(target_row)).filter(any))
    for other in (np.maximum(target_row - factor * draft_row, 0), target_row, np.array(drawn)):

        def rule(draft: Draft, target_probs: Row, chance: refspec.Chance, other: Row = other) -> Verdict:
            (drafted,) = draft.tokens
            accepted = chance.accept(target_row[drafted] / factor, draft_row[drafted])
            return Verdict(int(accepted), chance.pick(target_row if accepted or not other.any() else other))

        assert acceptance(rule, *pair) == acceptance(inexact_lenience(factor), *pair)
        assert distance(rule, *pair) >= distance(inexact_lenience(factor), *pair)


def test_the_residual_that_fits_the_test_ends_farther() -> None:
    """(p - l q)+, an easy guess: where l q < p < q it gives more to what has too much already."""
    target_row, draft_row, factor = row(2, 3, 5), row(5, 4, 1), Fraction(1, 2)

    def guessed(draft: Draft, target_probs: Row, chance: refspec.Chance) -> Verdict:
        (drafted,) = draft.tokens
        accepted = chance.accept(target_row[drafted] / factor, draft_row[drafted])
        return Verdict(int(accepted), chance.pick(np.maximum(target_row - factor * draft_row, 0)))

    assert distance(inexact_lenience(factor), target_row, draft_row) == Fraction(3, 10)
    assert distance(guessed, target_row, draft_row) == Fraction(7, 22)


def test_at_temperature_0_lenience_changes_nothing() -> None:
    for best, drafted in itertools.product(range(3), repeat=2):
        assert distance(inexact_lenience(Fraction(1, 100)), point_mass(best, 3), point_mass(drafted, 3)) == 0


def test_lenience_of_1_is_the_token_rule_to_the_bit() -> None:
    target, draft = (table_of_floats(seed) for seed in (1, 2))
    options = {"gamma": 3, "max_new_tokens": 40}
    for seed in range(5):
        runs = [
            refspec.speculative(target, refspec.ModelDrafter(draft), (), chance=refspec.Seeded(seed), verify=rule, **options)
            for rule in (verify.token, inexact_lenience(1.0))
        ]
        ours, theirs = ([(each.draft_tokens, each.accepted, each.token) for each in run.rounds] for run in runs)
        assert ours == theirs


def test_a_tiny_factor_does_not_accept_what_p_forbids() -> None:
    """l * q underflows to 0 there, and p = 0 would pass."""
    draft = Draft((0,), np.array([[5e-324, 1.0]]))
    verdict = inexact_lenience(0.5)(draft, np.array([[0.0, 1.0], [0.0, 1.0]]), refspec.Tape([0.0, 0.0]))
    assert verdict == Verdict(0, 1)


# --- typical acceptance ---


def typical_row(target_row: Row, draft_row: Row, epsilon: float, delta: float) -> Row:
    """What the rule emits, by hand: q where p passes, and what is left of q on the most likely token."""
    passes = target_row > threshold(target_row, epsilon, delta)
    emitted = np.where(passes, draft_row, Fraction(0))
    emitted[target_row.argmax()] += 1 - emitted.sum()
    return emitted


@settings(max_examples=50)
@given(row_pairs(), thresholds, thresholds)
@example((row(1, 1), row(1, 1)), 0.09, 0.3)
@example((row(3, 1), row(0, 1)), 1.0, 0.9)  # the likeliest token is never drafted
def test_typical_emits_q_where_p_passes(pair: tuple[Row, Row], epsilon: float, delta: float) -> None:
    by_hand = typical_row(*pair, epsilon, delta)
    found = distance(inexact_typical(epsilon, delta), *pair)
    assert found == total_variation(dict(enumerate(by_hand)), dict(enumerate(pair[0])))
    others = [x for x in range(len(by_hand)) if x != pair[0].argmax()]
    passes = pair[0] > threshold(pair[0], epsilon, delta)
    assert (found == 0) == all(pair[0][x] == (pair[1][x] if passes[x] else 0) for x in others)


@settings(max_examples=30)
@given(row_pairs(), thresholds, thresholds)
def test_typical_is_exact_on_one_hot_rows(pair: tuple[Row, Row], epsilon: float, delta: float) -> None:
    best = point_mass(int(pair[0].argmax()), len(pair[0]))
    assert distance(inexact_typical(epsilon, delta), best, pair[1]) == 0


def swept(pair: tuple[Row, Row], drafted: int | None = None) -> list[list[Fraction]]:
    """The distance as epsilon rises, delta out of the way, and as delta does; drafted: of a token that was not drawn."""
    steps = [tenths / 10 for tenths in range(0, 11, 2)]
    draft_row = pair[1] if drafted is None else point_mass(drafted, len(pair[0]))
    return [
        [distance(inexact_typical(epsilon, 1), pair[0], draft_row) for epsilon in steps],
        [distance(inexact_typical(1, delta), pair[0], draft_row) for delta in steps],
    ]


@settings(max_examples=30)
@given(row_pairs(), thresholds, thresholds)
def test_a_perfect_draft_loses_what_is_cut_off(pair: tuple[Row, Row], epsilon: float, delta: float) -> None:
    """p = q: the distance is the mass at or below the threshold, the most likely token aside; it rises with both."""
    target_row = pair[0]
    limit = threshold(target_row, epsilon, delta)
    cut = sum((p for x, p in enumerate(target_row) if p <= limit and x != target_row.argmax()), Fraction(0))
    assert distance(inexact_typical(epsilon, delta), target_row, target_row) == cut
    for found in swept((target_row, target_row)):
        assert found == sorted(found)


@settings(max_examples=20)
@given(row_pairs(), st.integers(0, 4))
def test_for_a_token_that_was_not_drawn_stricter_is_nearer(pair: tuple[Row, Row], drafted: int) -> None:
    """Accepting d is 1 - p(d) away and refusing it 1 - max p."""
    drafted %= len(pair[0])
    for found in swept(pair, drafted):
        assert set(found) <= {1 - pair[0][drafted], 1 - max(pair[0])}
        assert found == sorted(found, reverse=True)


def test_in_general_stricter_is_neither_nearer_nor_farther() -> None:
    pair = row(5, 3, 2), row(1, 3, 6)
    found = [distance(inexact_typical(epsilon, 1), *pair) for epsilon in (0.1, 0.25, 0.35)]
    assert found == [Fraction(4, 10), Fraction(2, 10), Fraction(5, 10)]


def test_the_threshold() -> None:
    assert threshold(row(1, 1, 1, 1), 1, 1) == pytest.approx(0.25)  # exp(-entropy) of V equal tokens is 1 / V
    assert threshold(row(1, 1, 1, 1), 0.09, 0.3) == pytest.approx(0.075)
    assert threshold(row(0, 1, 0), 0.09, 0.3) == 0.09  # no entropy: delta = 0.3 is above epsilon
    assert threshold(row(1, 2), 1, 1) == pytest.approx((1 / 3) ** (1 / 3) * (2 / 3) ** (2 / 3))
    assert threshold(np.array([0.5, 0.5, 0.0]), 1, 0.5) == pytest.approx(0.25)


@settings(max_examples=40)
@given(row_pairs(), thresholds)
def test_the_most_likely_token_always_passes_below_delta_1(pair: tuple[Row, Row], delta: float) -> None:
    assert max(pair[0]) > threshold(pair[0], 1, min(delta, 0.9))


def test_typical_draws_nothing_and_ends_every_round_greedily() -> None:
    rule, no_chance = inexact_typical(), refspec.Tape([])
    rows = np.array([[0.6, 0.4, 0.0], [0.05, 0.05, 0.9], [0.2, 0.4, 0.4]])
    assert rule(Draft((1, 2)), rows, no_chance) == Verdict(2, 1)  # both kept, then the lowest id of the maximum
    assert rule(Draft((1, 0)), rows, no_chance) == Verdict(1, 2)
    assert rule(Draft((2, 1)), rows, no_chance) == Verdict(0, 0)  # what would pass comes too late
    assert rule(Draft(()), rows[:1], no_chance) == Verdict(0, 0)


def test_every_position_has_its_own_threshold() -> None:
    rows = np.array([[0.99, 0.01], [0.5, 0.5], [0.6, 0.4]])  # delta * exp(-entropy): 0.85, 0.45, 0.46
    assert inexact_typical(1, 0.9)(Draft((0, 1)), rows, refspec.Tape([])).accepted == 2
    assert inexact_typical(1, 0.9)(Draft((0, 1)), rows[[0, 2, 1]], refspec.Tape([])).accepted == 1


# --- whole texts ---


def table_of_floats(seed: int) -> refspec.TableLM:
    exact = drawn_table(seed)
    return refspec.TableLM({context: [float(each) for each in found] for context, found in exact.table.items()})


def drawn_table(seed: int) -> Table:
    generator = np.random.default_rng(seed)
    return table(lambda low, high: int(generator.integers(low, high + 1)), 3)


def text_distances(rules: Sequence[verify.Rule]) -> list[Fraction]:
    drafter = refspec.ModelDrafter(drawn_table(4))
    return [text_distance(rule, drawn_table(3), drafter, gamma=2, max_new_tokens=3) for rule in rules]


def test_texts() -> None:
    assert text_distances([*verify.EXACT.values(), inexact_lenience(1)]) == [0] * 5
    halves = text_distances([inexact_lenience(Fraction(1, 2)), inexact_lenience(Fraction(1, 8)), inexact_typical()])
    assert 0 < halves[0] <= halves[1] < 1  # a smaller factor never ends nearer
    assert 0 < halves[2] < 1


def test_a_text_of_one_token_has_no_room_for_a_draft() -> None:
    target = refspec.TableLM({(): row(1, 2, 4)})
    drafter = refspec.ModelDrafter(refspec.TableLM({(): row(4, 2, 1)}))
    options = {"gamma": 2, "max_new_tokens": 1}
    assert text_distance(inexact_lenience(Fraction(1, 8)), target, drafter, **options) == 0
    assert text_distance(inexact_typical(), target, drafter, **options) == 1 - Fraction(4, 7)  # greedy where nothing is drafted


def test_an_inexact_rule_keeps_to_the_end_and_refuses_a_point_mass() -> None:
    for rule in (inexact_lenience(Fraction(1, 2)), inexact_typical()):
        for drafted, rows in ((0, [[1.0, 0.0]] * 2), (1, [[1.0, 0.0]] * 2)):
            assert rule(Draft((drafted,)), np.array(rows), refspec.Seeded(0)).accepted == 1 - drafted


@pytest.mark.parametrize(("epsilon", "delta"), [(1.5, 0.3), (-0.1, 0.3), (0.1, 1.5), (0.1, -0.1), (float("nan"), 0.3)])
def test_typical_refuses_parameters_out_of_range(epsilon: float, delta: float) -> None:
    with pytest.raises(BadArgument, match="between 0 and 1"):
        inexact_typical(epsilon, delta)


@settings(max_examples=12)
@given(row_pairs(), factors, st.integers(1, 2), st.integers(0, 3), st.sets(st.integers(0, 2), max_size=2), st.booleans())
@example((row(1, 2, 4), row(2, 1, 1)), Fraction(1, 2), 2, 3, {0}, True)
def test_the_distance_of_texts_is_that_of_two_laws(
    pair: tuple[Row, Row], factor: Fraction, gamma: int, horizon: int, stop: set[int], prompted: bool
) -> None:
    """Along every branch of both programs, with a prompt that changes the first row and with stop tokens."""
    p, q = (each[:3] / sum(each[:3]) if sum(each[:3]) else point_mass(0, len(each[:3])) for each in pair)
    turned = p[::-1]
    target, draft = refspec.TableLM({(): p, (0, 0): turned}), refspec.TableLM({(): q})
    prompt = (0, 0) if prompted else ()
    options = {"max_new_tokens": horizon, "stop": stop}
    rule, drafter = inexact_lenience(factor), refspec.ModelDrafter(draft)
    laws = [
        law(
            lambda chance: refspec.speculative(target, drafter, prompt, gamma=gamma, chance=chance, verify=rule, **options).tokens
        ),
        law(lambda chance: refspec.autoregressive(target, prompt, chance=chance, **options)),
    ]
    assert text_distance(rule, target, drafter, prompt, gamma=gamma, **options) == total_variation(*laws)
