"""The drafter's half of the coupled rule (arXiv 2408.07978): guess by racing on the target's own noise."""

import numpy as np

from refspec.chance import Chance
from refspec.draft import Draft, room_of
from refspec.lm import LanguageModel, Tokens


class CoupledDrafter:
    """Drafts with a smaller model; each guess is the winner of the race of its absolute position. Draws no uniform.

    Not with the block rule: there a later guess decides on an earlier one, so what is kept tells something of noise that
    is raced again in the next round, and the text no longer has the target's law.
    """

    def __init__(self, language_model: LanguageModel) -> None:
        self.language_model = language_model

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        start = len(tokens)
        rows = []
        for _ in range(room_of(self.language_model, tokens, gamma)):
            row = self.language_model.probs(tokens)[-1]
            rows.append(row)
            tokens += (chance.race(len(tokens), row),)
        return Draft(tokens[start:], np.stack(rows) if rows else None, start)
