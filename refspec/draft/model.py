"""Drafting with a smaller model: draw gamma tokens one by one and remember the laws they came from."""

import numpy as np

from refspec.chance import Chance
from refspec.draft import Draft, room_of
from refspec.lm import LanguageModel, Tokens


class ModelDrafter:
    """ "Sample gamma guesses from M_q autoregressively" (arXiv 2211.17192, Algorithm 1).

    One pick a token, in order (N5). Drafts nothing beyond the draft model's own context.
    """

    def __init__(self, language_model: LanguageModel) -> None:
        self.language_model = language_model

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        start = len(tokens)
        rows = []
        for _ in range(room_of(self.language_model, tokens, gamma)):
            row = self.language_model.probs(tokens)[-1]
            rows.append(row)
            tokens += (chance.pick(row),)
        return Draft(tokens[start:], np.stack(rows) if rows else None, start)
