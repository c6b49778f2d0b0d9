"""The statistics: what they estimate, by enumeration of the loop, with stop tokens among what is drafted (N9)."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import refspec
from refspec.decoding import stats as statistics
from refspec.decoding import verify
from refspec.decoding.draft import Draft
from refspec.decoding.round import Round, role
from refspec.decoding.stats import Stats, stats
from refspec.proof import theory
from refspec.proof.exact import law

Row = list[Fraction]


def row(*weights: int) -> Row:
    return [Fraction(weight, sum(weights)) for weight in weights]


@st.composite
def runs(draw: st.DrawFn) -> tuple[Row, Row, set[int], int, int]:
    """p, q, stop tokens, gamma and horizon; every row of the target is p, every row of the draft q."""
    v = draw(st.integers(1, 3))
    weights = st.lists(st.integers(0, 4), min_size=v, max_size=v).filter(any)
    p, q, stop = row(*draw(weights)), row(*draw(weights)), draw(st.sets(st.integers(0, v - 1)))
    gamma = draw(st.integers(1, 3))
    return p, q, stop, gamma, draw(st.integers(1, 4 if gamma < 3 else 3))


class Counting:
    """A drafter that counts what another one proposes."""

    def __init__(self, drafter: refspec.Drafter) -> None:
        self.drafter = drafter
        self.drafted = 0

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        draft = self.drafter.propose(tokens, gamma, chance)
        self.drafted += len(draft.tokens)
        return draft


def expected(
    run: tuple[Row, Row, set[int], int, int], rule: verify.Rule, made: Callable[[refspec.TableLM], refspec.Drafter]
) -> tuple[Fraction, Fraction]:
    """E[accepted] and E[tested] of whole texts, by the loop along every branch."""
    p, q, stop, gamma, horizon = run
    target, draft = refspec.TableLM({(): p}), refspec.TableLM({(): q})

    def program(chance: refspec.Chance) -> tuple[int, int]:
        drafter = Counting(made(draft))
        found = refspec.speculative(
            target, drafter, (), gamma=gamma, max_new_tokens=horizon, stop=stop, chance=chance, verify=rule
        ).rounds
        counted = stats(found, [1.0] * len(found))
        assert counted.drafted == drafter.drafted
        assert counted.acceptance_rate == (counted.accepted / counted.tested if counted.tested else None)
        assert counted.accepted_per_drafted == (counted.accepted / counted.drafted if counted.drafted else None)
        return counted.accepted, counted.tested

    counts = law(program)
    accepted, tested = (sum((share * each[i] for each, share in counts.items()), Fraction(0)) for i in (0, 1))
    return accepted, tested


RATES = {
    "token": (verify.token, refspec.ModelDrafter, theory.token_acceptance),
    "sample-match": (verify.sample_match, refspec.ModelDrafter, theory.sample_match_acceptance),
    "coupled": (verify.coupled, refspec.CoupledDrafter, theory.coupled_acceptance),
    "coupled, drawn": (verify.coupled, refspec.ModelDrafter, theory.sample_match_acceptance),
}


@pytest.mark.parametrize("name", RATES)
@settings(max_examples=15)
@given(runs())
@example((row(1, 2, 1), row(2, 1, 1), {2}, 1, 2))  # was 2/3 where sum min(p, q) is 3/4
@example((row(1, 2, 1), row(2, 1, 1), {0, 1}, 2, 3))
def test_the_acceptance_rate_estimates_the_acceptance_whatever_ends_the_text(
    name: str, run: tuple[Row, Row, set[int], int, int]
) -> None:
    rule, made, closed_form = RATES[name]
    accepted, tested = expected(run, rule, made)
    assert accepted == tested * closed_form(np.array(run[0]), np.array(run[1]))


@settings(max_examples=15)
@given(runs())
def test_the_rate_under_block_is_what_it_keeps_over_that_and_the_first_it_does_not(
    run: tuple[Row, Row, set[int], int, int],
) -> None:
    """Of one round: the sum of the reach, over a test of each position that all before it reached."""
    p, q, _, gamma, _ = run
    reach = theory.block_reach(lambda _: np.array(p), lambda _: np.array(q), gamma)
    target, draft = refspec.TableLM({(): p}), refspec.TableLM({(): q})

    def first(chance: refspec.Chance) -> tuple[int, int]:
        options = {"gamma": gamma, "max_new_tokens": gamma + 1, "chance": chance, "verify": verify.block}
        (found, *_) = refspec.speculative(target, refspec.ModelDrafter(draft), (), **options).rounds
        return statistics.accepted_in(found), statistics.tested_in(found)

    counts = law(first)
    assert sum(share * accepted for (accepted, _), share in counts.items()) == sum(reach)
    assert sum(share * tested for (_, tested), share in counts.items()) == 1 + sum(reach[:-1])


class Says:
    """A drafter that proposes the same tokens again and again."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = tokens

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        return Draft(self.tokens[:gamma])


CYCLE = refspec.TableLM({(): [0, 1, 0, 0], (1,): [0, 0, 1, 0], (2,): [0, 0, 0, 1], (3,): [1, 0, 0, 0]})  # 1 2 3 0 1 2 3 0


def counted(drafter: refspec.Drafter, **options: int) -> tuple[tuple[Round, ...], Stats]:
    out = refspec.speculative(CYCLE, drafter, (), max_new_tokens=9, stop={2}, chance=refspec.Seeded(0), **options)
    return out.rounds, stats(out.rounds, [1.0] * len(out.rounds))


def test_a_drafted_stop_token_was_tested_and_accepted() -> None:
    (only,), found = counted(Says(1, 2, 3), gamma=3)
    assert (only.draft_tokens, only.accepted, only.token, only.cut, role(only)) == ((1,), 1, 2, (2, 3), "accepted")
    assert (found.drafted, found.tested, found.accepted, found.tokens) == (3, 2, 2, 2)
    assert (found.acceptance_rate, found.accepted_per_drafted) == (1, 2 / 3)


def test_so_was_one_at_the_start_or_at_the_end_of_a_draft() -> None:
    rounds, found = counted(Says(1, 2), gamma=2)
    assert (rounds[0].draft_tokens, rounds[0].cut, role(rounds[0])) == ((1,), (2,), "accepted")
    assert (found.drafted, found.tested, found.accepted) == (2, 2, 2)
    rounds, found = counted(Says(2, 2), gamma=1)  # 2 is refused, 1 comes; 2 is accepted
    assert [(each.draft_tokens, each.token, each.cut, role(each)) for each in rounds] == [
        ((2,), 1, (), "corrected"),
        ((), 2, (2,), "accepted"),
    ]
    assert (found.drafted, found.tested, found.accepted) == (2, 2, 1)


def test_a_stop_token_of_the_targets_own_was_no_test() -> None:
    (only,), found = counted(Says(1), gamma=1)  # the bonus
    assert (only.draft_tokens, only.token, only.cut, role(only)) == ((1,), 2, (), "bonus")
    assert (found.drafted, found.tested, found.accepted) == (1, 1, 1)
    (only,), found = counted(Says(1, 3, 0), gamma=3)  # the correction
    assert (only.draft_tokens, only.token, only.cut, role(only)) == ((1, 3, 0), 2, (), "corrected")
    assert (found.drafted, found.tested, found.accepted) == (3, 2, 1)
    rounds, found = counted(Says(), gamma=3)  # plain
    assert [(each.token, each.cut, role(each)) for each in rounds] == [(1, (), "plain"), (2, (), "plain")]
    assert (found.drafted, found.tested, found.accepted, found.acceptance_rate) == (0, 0, 0, None)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(1, 9)), max_size=5))
def test_figures_are_sums_over_rounds(drawn: list[tuple[int, int, int, int]]) -> None:
    """Counted token by token, with every form a round can have."""
    rounds = []
    for drafted, accepted, cut, _ in drawn:
        accepted = drafted if cut else min(drafted, accepted)
        rounds.append(Round((7,) * drafted, accepted, 8, cut=(8,) * cut))
    seconds = [float(each[-1]) for each in drawn]
    found = stats(rounds, seconds)
    tokens = [len(each.tokens) for each in rounds]
    assert (found.tokens, found.rounds, found.exact) == (sum(tokens), len(rounds), None)
    assert found.drafted == sum(len(each.draft_tokens) + len(each.cut) for each in rounds)
    assert found.accepted == sum(each.accepted + (each.cut != ()) for each in rounds)
    refused = sum(each.accepted < each.drafted for each in rounds)
    assert found.tested == found.accepted + refused
    assert found.tokens_per_target_call == (sum(tokens) / len(rounds) if rounds else None)
    assert (found.prefill_seconds, found.decode_seconds) == (sum(seconds[:1]), sum(seconds[1:]))
    assert found.tokens_per_second == (sum(tokens[1:]) / sum(seconds[1:]) if rounds[1:] else None)
