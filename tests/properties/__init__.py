"""What has to hold of a speculative decoder: one suite, for the production code and for every mutant of it.

A property takes a `Subject`, the parts under test, and a drawn `models.Case`; it returns None, or a `Violation` that
says how far off the law is. The production parts are the defaults, a mutant replaces one of them. A property never
catches an exception: a part that raises is broken in a way any test would show, and no credit to this suite.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import ModuleType
from typing import Any

import models

import refspec
from refspec.decoding import chance, loop, verify
from refspec.models import sampling as warp
from refspec.proof.exact import Rounds

MakeDrafter = Callable[[Any], refspec.Drafter]

# Odds at which a few good or bad rounds change the bet.
ODDS = refspec.Profile(verify=(1, 1.3, 1.5, 1.6, 1.8), draft=0.1)

DRAFTERS: Mapping[str, MakeDrafter] = {
    "model": refspec.ModelDrafter,
    "adversary": models.Adversary,
    "ngram": lambda language_model: refspec.NgramDrafter(),
    "coupled": refspec.CoupledDrafter,
}


@dataclass(frozen=True)
class Subject:
    """The parts under test. promises: the name in verify.RULES whose acceptance and order of draws `rule` has to show.

    drafters: name in models.DRAFTERS -> a drafter that drafts with the given language model, if with any. bets: what makes it
    adaptive.
    target_lm, draft_lm: a refspec.Model as the LanguageModel of that role.
    """

    promises: str = "token"
    rule: verify.Rule = verify.token
    rounds: Rounds = loop.rounds
    drafters: Mapping[str, MakeDrafter] = field(default_factory=lambda: DRAFTERS)
    bets: Callable[[refspec.Drafter, refspec.Profile], Any] = refspec.AdaptiveDrafter
    accept_at: Callable[[float, Any, Any], bool] = chance.accept_at
    pick_at: Callable[[float, Any], int] = chance.pick_at
    warp: ModuleType = warp
    target_lm: Callable[[refspec.Model], refspec.LanguageModel] = refspec.Model.language_model
    draft_lm: Callable[[refspec.Model], refspec.LanguageModel] = refspec.Model.language_model

    def drafter(self, case: models.Case) -> refspec.Drafter:
        drafter = self.drafters[case.drafter](case.draft)
        if isinstance(drafter, refspec.ModelDrafter):
            drafter.confidence = case.confidence
        if case.profile is None:
            return drafter
        betting = self.bets(drafter, case.profile)
        # of quick judgement, so that a bet can change within a short run
        betting.START, getattr(betting, "shares", betting).WEIGHT = 1.0, 0.5
        return betting

    def bears(self, case: models.Case) -> bool:
        """Whether the loop lets this drafter near this rule (N6)."""
        return not (self.promises == "block" and case.drafter == "coupled")


@dataclass(frozen=True)
class Violation:
    """A property that does not hold. distance: in total variation, unless `seen` says of what; 0 where the law is unharmed."""

    distance: Fraction
    seen: str
    property: str = ""


Property = Callable[[Subject, models.Case], Violation | None]


def only_for(*rules: str) -> Callable[[Property], Property]:
    """Marks a property that only these rules have: the others are not asked, rather than counted as passing."""

    def mark(holds: Property) -> Property:
        vars(holds)["rules"] = rules
        return holds

    return mark


def is_for(holds: Property, rule: str) -> bool:
    return rule in vars(holds).get("rules", verify.EXACT)
