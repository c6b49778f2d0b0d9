"""The enumerators: each against the other, against arithmetic done by hand, and against the limits they state."""

from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from models import STOPPED, Case, cases

import refspec
from refspec.decoding import verify
from refspec.decoding.draft import Draft
from refspec.errors import BadArgument, BadProbabilities, CannotMerge, EnumerationLimit, VocabularyMismatch
from refspec.proof.exact import Remembered, law, race_law, sequence_law, total_variation
from refspec.proof.interval import GRID, IntervalChance, accept_counts, float_bound, pick_counts
from refspec.proof.left_over import Races, left_over, require_untold

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
    return verify.Verdict(n, chance.pick(target_probs[n]))


def test_texts_merge_only_where_the_drafter_is_in_one_state() -> None:
    target = table(3, 2, 4)
    options = {"gamma": 1, "max_new_tokens": 5, "verify": believe}
    merged = sequence_law(target, Alternating(), **options)
    assert merged == law(lambda chance: refspec.speculative(target, Alternating(), (), chance=chance, **options).tokens)
    assert merged != sequence_law(target, refspec.ModelDrafter(target), **options)


class Counting:
    """Alternates by how often it was asked, and says so in one way or another, or not at all."""

    def __init__(self, remember: Any = None) -> None:
        self.asked: Any = remember

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        self.asked = (self.asked or 0) + chance.pick(np.array([1, 2]))
        return Draft((self.asked % 2,) * min(gamma, 1))


class NoneAtFirst(Counting):
    @property
    def state(self) -> int | None:
        return self.asked  # type: ignore[no-any-return]


class SetsItsState(Counting):
    state: int | None

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        draft = super().propose(tokens, gamma, chance)
        self.state = self.asked
        return draft


class Heir(refspec.ModelDrafter):
    """Inherits a state that says nothing of what it adds."""

    drafts = 0

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        self.drafts += chance.pick(np.array([1, 2]))
        return Draft((self.drafts % 2,) * min(gamma, 1))


class Slotted:
    __slots__ = ("asked",)

    def __init__(self) -> None:
        self.asked = 0

    propose = Counting.propose


def over_a_model_that_cannot_be_pickled() -> refspec.Drafter:
    model = table(3, 2, 4)
    model.extra = (each for each in ())
    return Heir(model)


def local() -> refspec.Drafter:
    class Local(Counting):
        pass

    return Local()


def with_state_attribute() -> refspec.Drafter:
    drafter = SetsItsState()
    drafter.state = None
    return drafter


@pytest.mark.parametrize(
    "make",
    [
        Counting,
        NoneAtFirst,
        with_state_attribute,
        lambda: Heir(table(3, 2, 4)),
        Slotted,
        over_a_model_that_cannot_be_pickled,
        local,
    ],
    ids=["none", "None at first", "its own attribute", "inherited", "slots", "its model apart", "of a class not to be imported"],
)
def test_whatever_a_drafter_says_of_its_state_the_law_is_right(make: Callable[[], refspec.Drafter]) -> None:
    target, drafter = table(3, 2, 4), make()
    options = {"gamma": 1, "max_new_tokens": 5, "verify": believe}
    merged = sequence_law(target, drafter, **options)
    assert merged == law(lambda chance: refspec.speculative(target, make(), (), chance=chance, **options).tokens)
    assert merged == sequence_law(target, drafter, **options)  # the drafter itself is as it was
    assert merged != sequence_law(target, Alternating(), **options)


class Unhashable(Counting):
    @property
    def state(self) -> list[int]:
        return [self.asked]


class Shared(Counting):
    """Its memory is its class's, so that a copy has the same."""

    asked_by_all = 0

    @property
    def state(self) -> int:
        return type(self).asked_by_all

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        type(self).asked_by_all += chance.pick(np.array([1, 2]))
        return Draft((self.state % 2,) * min(gamma, 1))


def closing(over: list[int], base: type) -> refspec.Drafter:
    drafter = base()
    drafter.memory = lambda: over
    return drafter  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Unhashable, "state of Unhashable is of type list, which has no hash; make it a tuple"),
        (Shared, "a copy of Shared is not in the state of the original"),
        (lambda: closing([0], Counting), "Counting has no `state` and cannot be pickled"),
        (lambda: closing([0], NoneAtFirst), "NoneAtFirst changes its state and cannot be pickled"),
    ],
    ids=["unhashable", "shared by copies", "in a closure", "in a closure, with a state"],
)
def test_a_state_that_cannot_be_kept_apart_is_refused(make: Callable[[], refspec.Drafter], says: str) -> None:
    with pytest.raises(CannotMerge, match=says):
        sequence_law(table(3, 2, 4), make(), gamma=1, max_new_tokens=5, verify=believe)


def test_what_carries_nothing_need_not_be_copied() -> None:
    class Constant(Counting):
        def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
            return Draft((0,) * gamma)

    target = table(3, 2, 4)
    plain = law(lambda chance: refspec.autoregressive(target, (), max_new_tokens=3, chance=chance))
    drafter = closing([0], Constant)
    with pytest.raises(CannotMerge, match="no `state`"):
        sequence_law(target, drafter, gamma=2, max_new_tokens=3)
    drafter.state = None  # type: ignore[attr-defined]
    assert sequence_law(target, drafter, gamma=2, max_new_tokens=3) == plain


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
        for each in refspec.decoding.loop.rounds(target, drafter, prompt, **options):
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


# --- races that are run again ---


class Remembering(refspec.CoupledDrafter):
    """Drafts one token less after a draft in which it saw something."""

    def __init__(self, language_model: refspec.LanguageModel, confidence: Fraction, sees: Callable[[Draft], object]) -> None:
        super().__init__(language_model, confidence)
        self.sees, self.saw = sees, False

    @property
    def state(self) -> bool:
        return self.saw

    def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
        draft = super().propose(tokens, max(0, gamma - self.saw), chance)
        self.saw = bool(self.sees(draft))
        return draft


SEEN: dict[str, Callable[[Draft], object]] = {
    "nothing": lambda draft: False,
    "that it drafted": lambda draft: draft.tokens,
    "its first token": lambda draft: draft.tokens and draft.tokens[0],
    "its last token": lambda draft: draft.tokens and draft.tokens[-1],
    "how long it was": lambda draft: len(draft.tokens) > 2,
}


@given(case=cases(), rule=st.sampled_from(["token", "block", "sample-match", "coupled"]), seen=st.sampled_from([*SEEN]))
@example(case=STOPPED, rule="block", seen="nothing")
@example(case=STOPPED, rule="token", seen="its last token")
@settings(max_examples=60)
def test_the_sequence_law_is_the_law_or_is_refused(case: Case, rule: str, seen: str) -> None:
    """Of racing drafters that remember, some of it noise that is raced again; block as the loop does not know it."""
    small = case.vocab_size < 3
    options = {
        "gamma": min(case.gamma, 2 + small),
        "max_new_tokens": min(case.horizon, 3 + small),
        "stop": case.stop,
        "verify": lambda *asked: verify.RULES[rule](*asked),
    }

    def make() -> refspec.Drafter:
        return Remembering(case.draft, case.confidence, SEEN[seen])

    def run(chance: refspec.Chance) -> tuple[int, ...]:
        return refspec.speculative(case.target, make(), case.prompt, chance=chance, **options).tokens

    try:
        found = sequence_law(case.target, make(), case.prompt, **options)
    except CannotMerge:
        assert rule == "block" or seen in ("its last token", "how long it was")
        event("refused")
    else:
        assert found == law(run)


@pytest.mark.parametrize("rule", ["token", "sample-match", "coupled"])
def test_a_coupled_draft_that_remembers_nothing_is_merged(rule: str) -> None:
    target, drafter = table(1, 3, 4), refspec.CoupledDrafter(table(2, 3, 4), confidence=Fraction(2, 5))
    found = sequence_law(target, drafter, gamma=3, max_new_tokens=4, verify=verify.RULES[rule])
    assert found == law(lambda chance: refspec.autoregressive(target, (), max_new_tokens=4, chance=chance))


@pytest.mark.parametrize("seen", ["its last token", "how long it was"])
def test_a_coupled_draft_that_remembers_its_end_is_refused(seen: str) -> None:
    make = Remembering(STOPPED.draft, STOPPED.confidence, SEEN[seen])
    with pytest.raises(CannotMerge, match=r"a race at position \d went that is run again; take `law`"):
        sequence_law(STOPPED.target, make, gamma=3, max_new_tokens=4)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (lambda n: [n - 1], "a race of 1 in a round that starts at position 2"),
        (lambda n: ["noise"], "a race of 'noise' in a round that starts at position 2"),
        (lambda n: [n + 1, n + 1], "raced twice"),
    ],
    ids=["before the round", "of no position", "twice"],
)
def test_races_that_sequence_law_cannot_follow_are_refused(keys: Callable[[int], list], says: str) -> None:
    class Races:
        state = None

        def propose(self, tokens: tuple[int, ...], gamma: int, chance: refspec.Chance) -> Draft:
            for key in keys(len(tokens)):
                chance.race(key, np.array([1, 1]))
            return Draft(())

    with pytest.raises(CannotMerge, match=says):
        sequence_law(table(3, 2, 4), Races(), (0, 1), gamma=1, max_new_tokens=3)
    assert sum(sequence_law(table(3, 2, 4), Races(), (0, 1), gamma=1, max_new_tokens=0).values()) == 1


EVEN, SKEW = (HALF, HALF), (THIRD, 2 * THIRD)
SECOND = {((5, EVEN, 0), (6, SKEW, z)): SKEW[z] / 4 for z in (0, 1)}


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ({(): HALF}, False),
        ({((5, EVEN, 0),): Fraction(1, 4), ((5, EVEN, 1),): Fraction(1, 4)}, False),
        ({((5, SKEW, 0),): Fraction(1, 6), ((5, SKEW, 1),): THIRD}, False),
        ({((5, SKEW, 0),): THIRD, ((5, SKEW, 1),): THIRD}, True),
        ({((5, EVEN, 0),): HALF}, True),  # a winner that never led here
        ({((5, (HALF, 0, HALF), 0),): HALF, ((5, (HALF, 0, HALF), 2),): HALF}, False),  # unless it cannot win
        # two rows raced at one position, each by itself untold: their sums add
        ({(): HALF, **{((5, row, z),): row[z] / 4 for row in (EVEN, SKEW) for z in (0, 1)}}, False),
        # the second race goes by the first
        ({((5, EVEN, 0), (6, SKEW, z)): SKEW[z] / 2 for z in (0, 1)} | {((5, EVEN, 1),): HALF}, False),
        ({((5, EVEN, 0), (6, SKEW, z)): SKEW[z] / 2 for z in (0, 1)} | {((5, EVEN, 1), (6, EVEN, 0)): HALF}, True),
        ({((5, EVEN, 0), (6, SKEW, z)): SKEW[z] / 2 for z in (0, 1)} | {((5, EVEN, 1),): THIRD}, True),
        ({((5, (1, 3), 0),): Fraction(1, 8), ((5, (1, 3), 1),): Fraction(3, 8)}, False),  # weights that are no law
        # one winner by two ways, of which one goes on: their sums add there too
        ({((5, EVEN, 0),): Fraction(1, 8), **SECOND, ((5, EVEN, 1),): Fraction(3, 8)}, False),
        ({((5, EVEN, 0),): Fraction(1, 8), **SECOND, ((5, EVEN, 1),): Fraction(1, 4)}, True),
        ({((5, EVEN, 0),): Fraction(1, 8), **SECOND, ((5, EVEN, 1),): Fraction(1, 8)}, True),
        ({**{((5, EVEN, 0), (6, (1, 3), z)): Fraction(1 + 2 * z, 8) for z in (0, 1)}, ((5, EVEN, 1),): HALF}, False),
    ],
)
def test_an_outcome_tells_of_noise_iff_it_is_likelier_under_some(shares: dict[Races, Fraction], told: bool) -> None:
    with pytest.raises(CannotMerge, match="that is run again") if told else nullcontext():
        require_untold(shares)


def test_only_what_lies_ahead_is_left_over() -> None:
    races = [(3, EVEN, 0), (3, SKEW, 1), (4, EVEN, 1), (5, SKEW, 0), (6, EVEN, 1)]
    assert left_over(races, start=3, end=5) == ((5, SKEW, 0), (6, EVEN, 1))


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
        assert refspec.decoding.chance.accept_at((accepted - 1) / GRID, p, q)
    if accepted < GRID:
        assert not refspec.decoding.chance.accept_at(accepted / GRID, p, q)


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
