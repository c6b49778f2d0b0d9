"""Several drafters for one text: who drafts is decided before anything is drawn, so no choice changes the law."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from models import Case, cases
from properties import ODDS

import refspec
from refspec.decoding import checks, verify
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, cost_of
from refspec.decoding.draft.recycling import RecyclingDrafter
from refspec.decoding.draft.several import Several
from refspec.decoding.draft.shares import Shares
from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument
from refspec.proof import exact


def both(draft: refspec.LanguageModel) -> Several:
    return Several(refspec.NgramDrafter(), refspec.ModelDrafter(draft))


def law_of(case: Case, drafter: refspec.Drafter, rule: str) -> dict[Tokens, Fraction]:
    return refspec.sequence_law(case.target, drafter, case.prompt, gamma=case.gamma, max_new_tokens=case.horizon, stop=case.stop,
                                verify=verify.RULES[rule])  # fmt: skip


def plain_law(case: Case) -> dict[Tokens, Fraction]:
    def run(chance: Chance) -> Tokens:
        return refspec.autoregressive(case.target, case.prompt, max_new_tokens=case.horizon, stop=case.stop, chance=chance)

    return exact.law(run)


@pytest.mark.parametrize("rule", ["token", "block", "sample-match"])
@pytest.mark.parametrize("bets", [False, True], ids=["fixed gamma", "gamma auto"])
@given(case=cases())
@settings(max_examples=25)
def test_the_text_keeps_the_targets_law(rule: str, bets: bool, case: Case) -> None:
    drafter: refspec.Drafter = both(case.draft)
    assert law_of(case, refspec.AdaptiveDrafter(drafter, ODDS) if bets else drafter, rule) == plain_law(case)


class ChoosesAfterTheDraw(Several):
    """The bug: every one drafts, and the draft that its own law finds likelier is kept. Then its row is not the law of that."""

    state = None

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        drafts = [each.propose(tokens, gamma, chance) for each in self.drafters]
        return max(drafts, key=lambda draft: float(draft.probs[0][draft.tokens[0]]) if draft.tokens else 0)


def test_a_choice_after_the_draw_is_found() -> None:
    target = refspec.TableLM({(): [Fraction(1, 2), Fraction(1, 2)]})
    draft = refspec.TableLM({(): [Fraction(1, 4), Fraction(3, 4)]})
    options = {"gamma": 1, "max_new_tokens": 2}
    one = refspec.ModelDrafter(draft)
    assert set(refspec.sequence_law(target, Several(one, one), (), **options).values()) == {Fraction(1, 4)}
    wrong = refspec.sequence_law(target, ChoosesAfterTheDraw(one, one), (), **options)
    assert wrong[(0, 0)] + wrong[(0, 1)] == Fraction(3, 8)  # 0 is kept where both drew it, 1/16; else 1, refused in 1 of 3
    assert sum(wrong.values()) == 1


class Scripted:
    def __init__(self, token: int, alphas: Sequence[float], cost: float) -> None:
        self.token, self.alphas, self.each = token, alphas, cost

    def forecast(self, tokens: Tokens, gamma: int) -> Sequence[float]:
        return self.alphas[:gamma]

    def cost(self, tokens: Tokens) -> float:
        return self.each

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        return Draft((self.token,) * gamma)


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        ((0.9, 0.9), (0.9, 0.9), 1),  # the first of equals
        ((0.5,), (0.9, 0.9), 2),
        ((0.5, 0.5), (0.6,), 1),  # .5 + .25 against .6
        ((), (0.05,), 1),  # a guess that costs more than it yields is none
        ((), (0.3,), 2),
    ],
)
def test_who_should_yield_most_for_its_cost_drafts(first: tuple[float, ...], second: tuple[float, ...], chosen: int) -> None:
    several = Several(Scripted(1, first, 0), Scripted(2, second, 0.1 if first != second else 0))
    assert several.propose((0,), 2, refspec.Tape([])).tokens == (chosen, chosen)
    alphas = first if chosen == 1 else second
    assert list(several.forecast((0,), 2)) == list(alphas)
    assert cost_of(several, (0,)) == (0 if chosen == 1 or first == second else 0.1)


def test_a_draft_model_is_not_free() -> None:
    """Its first guess is .6 likely for all that is known; lookup's free ones yield .55 here."""
    coin = refspec.ModelDrafter(refspec.TableLM({(): [Fraction(1, 2), Fraction(1, 2)]}))
    asked = {cost: Several(Scripted(1, (0.55,), 0), coin, draft_cost=cost) for cost in (0.0, 0.04, 0.06, 0.7)}
    drafted = {cost: several.propose((0,), 1, refspec.Tape([0.1])).tokens for cost, several in asked.items()}
    assert drafted == {0.0: (0,), 0.04: (0,), 0.06: (0,), 0.7: (1,)}  # four tokens ahead, .6 + .36 + .22 + .13
    assert asked[0.06].cost((0,)) is None  # a bet then takes the profile's
    with pytest.raises(BadArgument, match="draft_cost is -1"):
        Several(coin, draft_cost=-1)


def test_who_knows_what_its_guesses_come_to_starts_from_that() -> None:
    class Modest(Scripted):
        forecast = None  # type: ignore[assignment]
        usual = 0.25, 12.0

    several, shares = Several(Scripted(0, (0.3,), 0), Modest(1, (), 0)), Shares(2, Modest.usual)
    assert several.propose((0,), 1, refspec.Tape([])).tokens == (1,)  # .25 + .06 + ... against .3
    assert Several(Scripted(0, (0.34,), 0), Modest(1, (), 0)).propose((0,), 1, refspec.Tape([])).tokens == (0,)
    shares.drafted((1,), (2, 3))
    shares.learn((1, 2, 9))
    assert shares.forecast(2) == [(1 + 3) / 13, 3 / 13]


def test_it_learns_who_is_right() -> None:
    """The text is all ones: the second drafter is right, the first never, so that the second soon drafts."""

    class Silent(Scripted):
        forecast = None  # type: ignore[assignment]

    several = Several(Silent(0, (), 0), Silent(1, (), 0))
    target = refspec.TableLM({(): [Fraction(0), Fraction(1)]})
    out = refspec.speculative(target, several, (), gamma=2, max_new_tokens=30, chance=refspec.Seeded(0))
    assert [each.accepted for each in out.rounds[-5:-1]] == [2] * 4


def test_another_text_starts_again() -> None:
    several = both(refspec.TableLM({(): [Fraction(1, 2), Fraction(1, 2)]}))
    fresh = several.state
    several.propose((0, 1, 0), 2, refspec.Tape([0.1, 0.1]))
    several.propose((0, 1, 0, 1), 2, refspec.Tape([0.1, 0.1]))
    assert several.state != fresh
    several.propose((1, 1), 0, refspec.Tape([]))
    assert [each.forecast(4) for each in several._shares] == [Shares(4).forecast(4)] * 2


def test_none_is_refused() -> None:
    with pytest.raises(BadArgument, match="no drafters were given; give at least one"):
        Several()


def test_each_text_is_learnt_from_once() -> None:
    """However often it is asked about: a bet asks for the forecast, the cost and the draft."""
    several = both(refspec.TableLM({(): [Fraction(1, 2), Fraction(1, 2)]}))
    drafted = several.propose((0, 1), 2, refspec.Tape([0.1, 0.1])).tokens
    text = (0, 1, *drafted, 1)
    several.forecast(text, 2)
    once = several.state
    several.cost(text)
    several.forecast(text, 2)
    assert several.state == once


class Spies(refspec.CoupledDrafter):
    """The bug: drafts nothing after a pass whose last row stood behind token 0, which a refused race may have said."""

    state = None
    seen = False

    def learn(self, tokens: Tokens, target_probs: object) -> None:
        self.seen = tokens[-1:] == (0,)

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        return super().propose(tokens, 0 if self.seen else gamma, chance)


def test_what_races_may_not_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop refuses the two together, and it is right: without the refusal the text has another law."""
    half, fifth = Fraction(1, 2), Fraction(1, 5)
    target = refspec.TableLM({(): [half, half], (0,): [fifth, 1 - fifth]})
    draft = refspec.TableLM({(): [1 - fifth, fifth], (1,): [half, half]})

    def run(chance: Chance) -> Tokens:
        return refspec.speculative(target, Spies(draft), (0,), gamma=2, max_new_tokens=4, chance=chance).tokens

    for learner in (Spies(draft), Several(RecyclingDrafter(), refspec.CoupledDrafter(draft))):
        with pytest.raises(BadArgument, match="races, and learns from the rows behind refused tokens"):
            refspec.speculative(target, learner, (0,), gamma=2, max_new_tokens=4, chance=refspec.Seeded(0))
    refspec.speculative(target, Several(refspec.NgramDrafter(), refspec.CoupledDrafter(draft)), (0,), gamma=2, max_new_tokens=4,
                        chance=refspec.Seeded(0))  # fmt: skip
    monkeypatch.setattr(checks, "before", lambda *asked: None)
    plain = exact.law(lambda chance: refspec.autoregressive(target, (0,), max_new_tokens=4, chance=chance))
    assert exact.total_variation(exact.law(run), plain) > 0
