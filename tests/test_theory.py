"""Closed forms: each equals the enumeration of the production rule, with `==`, on drawn rational rows."""

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models import Table, table

import refspec
from refspec.decoding import verify
from refspec.decoding.draft import Draft
from refspec.proof import theory
from refspec.proof.distance import distance
from refspec.proof.exact import law, total_variation

Row = np.ndarray
SHAPES = ((1, 2), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2))  # V and gamma that enumerate in milliseconds

fractions = st.integers(0, 12).map(lambda numerator: Fraction(numerator, 12))


def row(*weights: int) -> Row:
    return np.array([Fraction(weight, sum(weights)) for weight in weights])


@st.composite
def row_pairs(draw: st.DrawFn, most: int = 5) -> tuple[Row, Row]:
    """p and q, V from 1: zeros, ties, one-hot rows and disjoint supports among them."""
    v = draw(st.integers(1, most))
    weights = st.lists(st.integers(0, 6), min_size=v, max_size=v).filter(any)
    return row(*draw(weights)), row(*draw(weights))


CORNERS: tuple[tuple[Row, Row], ...] = (
    (row(1), row(1)),
    (row(1, 2), row(1, 2)),
    (row(1, 1, 1), row(1, 1, 1)),
    (row(1, 2, 0, 0), row(0, 0, 3, 1)),  # disjoint
    (row(0, 1, 0), row(0, 1, 0)),
    (row(0, 1, 0), row(1, 0, 0)),
    (row(0, 1, 1), row(3, 0, 1)),
)


def with_corners(test: Callable[..., None]) -> Callable[..., None]:
    for pair in CORNERS:
        test = example(pair)(test)
    return test


def accepted(rule: str | verify.Rule, target_row: Row, draft_row: Row, drafted: int | None = None) -> Fraction:
    """P(one drafted token is accepted), by enumeration. drafted: a token that was not drawn, draft_row aside."""

    def one_round(chance: refspec.Chance) -> bool:
        if drafted is not None:
            draft = Draft((drafted,), start=0)
        else:
            token = chance.race(0, draft_row) if rule == "coupled" else chance.pick(draft_row)
            draft = Draft((token,), draft_row[None], start=0)
        tested = verify.EXACT[rule] if isinstance(rule, str) else rule
        return tested(draft, np.stack([target_row, target_row]), chance).accepted == 1

    return law(one_round).get(True, Fraction(0))


def one_hot(of: Row) -> Row:
    return row(*(int(x == of.argmax()) for x in range(len(of))))


# --- one drafted token ---


@settings(max_examples=40)
@given(row_pairs())
@with_corners
def test_token_and_block_accept_the_overlap(pair: tuple[Row, Row]) -> None:
    assert accepted("token", *pair) == accepted("block", *pair) == theory.token_acceptance(*pair)


@settings(max_examples=40)
@given(row_pairs())
@with_corners
def test_sample_match_accepts_when_two_draws_agree(pair: tuple[Row, Row]) -> None:
    assert accepted("sample-match", *pair) == theory.sample_match_acceptance(*pair)


@settings(max_examples=40)
@given(row_pairs(most=4))
@with_corners
def test_coupled_accepts_when_two_races_agree(pair: tuple[Row, Row]) -> None:
    found = accepted("coupled", *pair)
    assert found == theory.coupled_acceptance(*pair)
    low, high = theory.coupled_bounds(*pair)
    assert low <= found <= high


@pytest.mark.parametrize("rule", verify.EXACT)
@settings(max_examples=20)
@given(row_pairs())
@with_corners
def test_a_token_that_was_not_drawn_is_accepted_with_its_own_probability(rule: str, pair: tuple[Row, Row]) -> None:
    target_row, _ = pair
    for drafted in range(len(target_row)):
        assert accepted(rule, *pair, drafted) == theory.fixed_acceptance(target_row, drafted)
        point_mass = row(*(int(x == drafted) for x in range(len(target_row))))
        assert theory.fixed_acceptance(target_row, drafted) == theory.token_acceptance(target_row, point_mass)


@pytest.mark.parametrize("rule", verify.EXACT)
@settings(max_examples=20)
@given(row_pairs())
@with_corners
def test_at_temperature_0_every_rule_accepts_what_the_argmax_says(rule: str, pair: tuple[Row, Row]) -> None:
    assert accepted(rule, *map(one_hot, pair)) == theory.greedy_acceptance(*pair)


@settings(max_examples=40)
@given(row_pairs())
@with_corners
def test_the_token_rule_reaches_the_optimum_and_no_exact_rule_passes_it(pair: tuple[Row, Row]) -> None:
    most = theory.optimal_acceptance(*pair)
    assert most == theory.token_acceptance(*pair)
    assert most == 1 - total_variation(*(dict(enumerate(each)) for each in pair))
    assert theory.sample_match_acceptance(*pair) <= most


@settings(max_examples=40)
@given(row_pairs(), st.data())
def test_no_coupling_agrees_more_often_than_the_optimum(pair: tuple[Row, Row], data: st.DataObject) -> None:
    """Any coupling at all: fill the cells of the joint law in a drawn order, each as far as its row and column allow."""
    p, q = (list(each) for each in pair)
    agree = Fraction(0)
    for i, j in data.draw(st.permutations(list(product(range(len(p)), repeat=2)))):
        moved = min(p[i], q[j])
        p[i], q[j] = p[i] - moved, q[j] - moved
        agree += moved if i == j else 0
    assert not any(p)
    assert agree <= theory.optimal_acceptance(*pair)


# --- inexact rules ---

factors = st.integers(1, 8).map(lambda eighths: Fraction(eighths, 8))


@settings(max_examples=30)
@given(row_pairs(), factors)
@example((row(1, 5), row(1, 1)), Fraction(1, 8))
def test_lenience_accepts_the_overlap_with_a_larger_p(pair: tuple[Row, Row], factor: Fraction) -> None:
    """And pays for it at par: it ends as near to p as any rule that accepts so often."""
    rule = verify.inexact_lenience(factor)
    accepts = accepted(rule, *pair)
    assert accepts == theory.lenience_acceptance(*pair, factor)
    assert distance(rule, *pair) == theory.least_distance(*pair, accepts)
    assert theory.lenience_acceptance(*pair, 1) == theory.token_acceptance(*pair)


@settings(max_examples=40)
@given(row_pairs(), st.lists(fractions, min_size=5, max_size=5), st.data())
def test_no_rule_that_accepts_so_often_ends_nearer(pair: tuple[Row, Row], shares: list[Fraction], data: st.DataObject) -> None:
    """Any rule at all: it accepts x with a drawn chance, and replaces what it refuses from a drawn law."""
    p, q = pair
    kept = [share * each for share, each in zip(shares, q, strict=False)]
    weights = data.draw(st.lists(st.integers(0, 6), min_size=len(p), max_size=len(p)).filter(any))
    refused = 1 - sum(kept)
    emitted = [keep + refused * other for keep, other in zip(kept, row(*weights), strict=True)]
    found = total_variation(dict(enumerate(emitted)), dict(enumerate(p)))
    assert found >= theory.least_distance(p, q, sum(kept))
    residual = [max(each - keep, Fraction(0)) for each, keep in zip(p, kept, strict=True)]
    if sum(residual):  # from where p is left, the distance is what was kept beyond p
        best = [keep + refused * each / sum(residual) for keep, each in zip(kept, residual, strict=True)]
        over = sum((max(keep - each, Fraction(0)) for keep, each in zip(kept, p, strict=True)), Fraction(0))
        assert total_variation(dict(enumerate(best)), dict(enumerate(p))) == over >= theory.least_distance(p, q, sum(kept))


def test_acceptance_up_to_the_optimum_costs_nothing() -> None:
    pair = row(1, 3), row(3, 1)  # TV is 1/2
    assert [theory.least_distance(*pair, Fraction(i, 4)) for i in range(5)] == [0, 0, 0, Fraction(1, 4), Fraction(1, 2)]


# --- a draft of several tokens ---


@st.composite
def tables(draw: st.DrawFn, shapes: tuple[tuple[int, int], ...] = SHAPES) -> tuple[Table, Table, int]:
    """Target, draft and gamma; rows differ at every context."""
    v, gamma = draw(st.sampled_from(shapes))
    target, draft = (table(lambda low, high: draw(st.integers(low, high)), v) for _ in range(2))
    return target, draft, gamma


def rows_of(language_model: refspec.LanguageModel) -> theory.NextRow:
    return lambda drafted: language_model.probs(drafted)[-1]


def reached(target: refspec.LanguageModel, draft: refspec.LanguageModel, gamma: int, rule: verify.Rule) -> list[Fraction]:
    """P(at least i of gamma tokens are accepted), i = 1..gamma, by the production loop."""

    def one_round(chance: refspec.Chance) -> int:
        drafter = refspec.ModelDrafter(draft)
        options: dict[str, Any] = {"gamma": gamma, "max_new_tokens": gamma + 1, "chance": chance, "verify": rule}
        return refspec.speculative(target, drafter, (), **options).rounds[0].accepted

    counts = law(one_round)
    return [sum((share for count, share in counts.items() if count >= i), Fraction(0)) for i in range(1, gamma + 1)]


@settings(max_examples=25)
@given(tables())
def test_tokens_accepted_in_a_row(case: tuple[Table, Table, int]) -> None:
    target, draft, gamma = case
    assert reached(*case, verify.token) == theory.token_reach(rows_of(target), rows_of(draft), gamma)


@settings(max_examples=25)
@given(tables())
def test_tokens_that_block_keeps(case: tuple[Table, Table, int]) -> None:
    target, draft, gamma = case
    assert reached(*case, verify.block) == theory.block_reach(rows_of(target), rows_of(draft), gamma)


@settings(max_examples=25)
@given(tables(shapes=(*SHAPES, (2, 5), (3, 3))))
def test_block_never_keeps_less_than_token(case: tuple[Table, Table, int]) -> None:
    target, draft, gamma = rows_of(case[0]), rows_of(case[1]), case[2]
    pairs = zip(theory.block_reach(target, draft, gamma), theory.token_reach(target, draft, gamma), strict=True)
    assert all(block >= token for block, token in pairs)


def test_the_example_of_the_block_paper() -> None:
    target, draft = (refspec.TableLM({(): each}) for each in (row(1, 2), row(2, 1)))
    assert sum(theory.block_reach(rows_of(target), rows_of(draft), 2)) == Fraction(11, 9)
    assert sum(theory.token_reach(rows_of(target), rows_of(draft), 2)) == Fraction(10, 9)
    assert sum(reached(target, draft, 2, verify.block)) == Fraction(11, 9)
    assert sum(reached(target, draft, 2, verify.token)) == Fraction(10, 9)


# --- speed ---


@settings(max_examples=50)
@given(fractions, st.integers(0, 8))
def test_tokens_a_round_are_equation_1(alpha: Fraction, gamma: int) -> None:
    closed = gamma + 1 if alpha == 1 else (1 - alpha ** (gamma + 1)) / (1 - alpha)
    assert theory.expected_tokens([alpha] * gamma) == closed


@settings(max_examples=40)
@given(st.lists(fractions, max_size=4))
def test_tokens_a_round_of_a_run_of_coins(alphas: list[Fraction]) -> None:
    """Enumerated: toss until the first refusal, then one more token."""

    def one_round(chance: refspec.Chance) -> int:
        return 1 + next((i for i, alpha in enumerate(alphas) if not chance.accept(alpha, 1)), len(alphas))

    assert sum(tokens * share for tokens, share in law(one_round).items()) == theory.expected_tokens(alphas)


@settings(max_examples=25)
@given(tables())
def test_where_rows_do_not_depend_on_the_text_the_reach_is_a_product(case: tuple[Table, Table, int]) -> None:
    target, draft = (each.probs(())[-1] for each in case[:2])
    alpha = theory.token_acceptance(target, draft)
    reach = theory.token_reach(lambda _: target, lambda _: draft, case[2])
    assert 1 + sum(reach) == theory.expected_tokens([alpha] * case[2])


@pytest.mark.parametrize(
    ("alpha", "gamma", "draft_cost", "published"),
    [
        # arXiv 2211.17192, Table 1, c = 0
        (0.6, 2, 0, 1.96),
        (0.7, 3, 0, 2.53),
        (0.8, 2, 0, 2.44),
        (0.8, 5, 0, 3.69),
        (0.9, 2, 0, 2.71),
        (0.9, 10, 0, 6.86),
        # the same, Appendix A.5
        (0.75, 8, 0.015, 3.3),
        (0.8, 8, 0.015, 3.9),
        (0.87, 8, 0.015, 4.9),
    ],
)
def test_the_published_speed_ups(alpha: float, gamma: int, draft_cost: float, published: float) -> None:
    half_a_digit = 0.005 if draft_cost == 0 else 0.05
    assert theory.speed_up(alpha, gamma, draft_cost, lambda _: 1) == pytest.approx(published, abs=half_a_digit)


@settings(max_examples=50)
@given(fractions, fractions, fractions, st.lists(fractions, min_size=7, max_size=7), st.integers(0, 7))
def test_best_gamma_and_whether_one_token_pays(
    alpha: Fraction, draft_cost: Fraction, step: Fraction, jumps: list[Fraction], most: int
) -> None:
    costs = [Fraction(1)]
    for jump in jumps:
        costs.append(costs[-1] + step * jump)
    speeds = []
    for gamma in range(most + 1):
        tokens = sum((alpha**i for i in range(gamma + 1)), Fraction(0))
        speeds.append(tokens / (gamma * draft_cost + costs[gamma]))
    assert speeds[0] == theory.speed_up(alpha, 0, draft_cost, costs.__getitem__) == 1
    assert theory.best_gamma(alpha, draft_cost, costs.__getitem__, most) == speeds.index(max(speeds))
    pays = theory.one_token_pays(alpha, draft_cost, costs.__getitem__)
    assert pays == (theory.speed_up(alpha, 1, draft_cost, costs.__getitem__) > 1)
    assert theory.one_token_pays(alpha, draft_cost, lambda _: 1) == (alpha > draft_cost)
    assert (theory.best_gamma(alpha, draft_cost, lambda _: 1, most) > 0) == (alpha > draft_cost and most > 0)


@settings(max_examples=60)
@given(st.lists(fractions, max_size=5), st.lists(st.integers(1, 8), min_size=1, max_size=5), fractions)
@example([Fraction(1, 2)], [1, 2], Fraction(1, 2))  # equals: the least
@example([Fraction(1)] * 3, [1, 1], Fraction(1))  # fewer costs than chances
@example([Fraction(1)], [1, 1, 1], Fraction(0))  # and more
def test_the_best_draft_length_is_the_least_of_the_best(alphas: list[Fraction], costs: list[int], rate: Fraction) -> None:
    """Of tokens less what the time would yield elsewhere, over as many tokens as there are both chances and costs for."""
    gains = []
    for gamma in range(min(len(alphas), len(costs) - 1) + 1):
        tokens, reached = Fraction(1), Fraction(1)
        for alpha in alphas[:gamma]:
            reached *= alpha
            tokens += reached
        gains.append(tokens - rate * costs[gamma])
    assert theory.best_draft_length(alphas, costs, rate) == gains.index(max(gains))


@settings(max_examples=40)
@given(st.lists(fractions, min_size=2, max_size=4), st.lists(st.integers(1, 8), min_size=5, max_size=5))
def test_a_run_of_best_draft_lengths_at_its_own_rate_is_as_fast_as_any(alphas: list[Fraction], costs: list[int]) -> None:
    """Dinkelbach: at the greatest tokens over cost, the bet gains nothing more, and is one that has this ratio."""
    ratios = [theory.expected_tokens(alphas[:gamma]) / Fraction(costs[gamma]) for gamma in range(len(alphas) + 1)]
    assert theory.best_draft_length(alphas, costs, max(ratios)) == ratios.index(max(ratios))


@pytest.mark.parametrize("formula", ["token_acceptance", "optimal_acceptance", "sample_match_acceptance", "coupled_acceptance"])
def test_rows_of_different_lengths_are_no_pair(formula: str) -> None:
    with pytest.raises(ValueError, match="shorter"):
        getattr(theory, formula)(row(1, 1, 1), row(1, 1))
    with pytest.raises(ValueError, match="shorter"):
        theory.lenience_acceptance(row(1, 1, 1), row(1, 1), 1)
    with pytest.raises(ValueError, match="shorter"):
        theory.token_reach(lambda _: row(1, 1, 1), lambda _: row(1, 1), 1)


@settings(max_examples=40)
@given(row_pairs(most=4))
@with_corners
def test_the_bounds_of_coupled_acceptance_are_tv_s(pair: tuple[Row, Row]) -> None:
    apart = total_variation(*(dict(enumerate(each)) for each in pair))
    assert theory.coupled_bounds(*pair) == ((1 - apart) / (1 + apart), 1 - apart)


def test_two_tokens_can_pay_where_one_does_not() -> None:
    flat = [1, Fraction(9, 5), Fraction(9, 5)].__getitem__  # a CPU: the first extra row is dear, the second is free
    alpha, draft_cost = Fraction(4, 5), Fraction(1, 10)
    assert not theory.one_token_pays(alpha, draft_cost, flat)
    assert theory.best_gamma(alpha, draft_cost, flat, 2) == 2


def test_floats_go_through_the_same_lines() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 0.3])
    assert theory.token_acceptance(p, q) == pytest.approx(0.7)
    assert theory.optimal_acceptance(p, q) == pytest.approx(0.7)
    assert theory.coupled_bounds(p, q)[0] <= theory.coupled_acceptance(p, q) <= theory.coupled_bounds(p, q)[1]
    assert theory.best_gamma(0.8, 0.05, lambda gamma: 1 + gamma / 20, 20) == 6
