"""Bugs of a bet: it goes by drafted tokens behind the refused one, whose noise a coupled draft races again (N6)."""

import refspec
from mutants.planting import patched, planted
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens

MUTANTS, plant = planted("bets")

plant(
    "bet-charged-by-what-came",
    "a round is charged for what was drafted and not for what was asked for",
    "an earlier refspec",
    bets=patched(
        "refspec.decoding.draft.adaptive",
        ("company.cost += v", "wanted = len(draft.tokens)\n        company.cost += v"),
    ).AdaptiveDrafter,
)


class SulksAfterAShortDraft:
    """Drafts nothing in the round after a draft that stopped early."""

    def __init__(self, drafter: refspec.Drafter, profile: refspec.Profile) -> None:
        self.drafter = drafter
        self.short = False

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        draft = self.drafter.propose(tokens, 0 if self.short else gamma, chance)
        self.short = 0 < len(draft.tokens) < gamma
        return draft


plant("no-bet-after-a-short-draft", SulksAfterAShortDraft.__doc__, "several", bets=SulksAfterAShortDraft)
