"""Drafting with a smaller model: draw gamma tokens one by one and remember the distributions they came from."""

from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.brief import brief, short
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, positions_left
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.question import Asking, Question, at_once
from refspec.numeric import number


class ModelDrafter:
    """ "Sample gamma guesses from M_q autoregressively" (arXiv 2211.17192, Algorithm 1).

    One pick a token, in order (N5). Drafts nothing beyond the draft model's own context. confidence: stop behind the first
    token that the draft model itself gave less than this. That token stays: to drop it after it was drawn would show it
    with a distribution it no longer has, and is a bug that has been shipped. Raises BadArgument for one outside [0, 1].

    >>> import refspec
    >>> coin = refspec.TableLM({(): [0.5, 0.5]})
    >>> draft = refspec.ModelDrafter(coin).propose((0, 1), 3, refspec.Tape([0.1, 0.9, 0.4]))
    >>> draft.tokens, draft.probs[0].tolist()
    ((0, 1, 0), [0.5, 0.5])
    """

    state = None  # a function of the text

    def __init__(self, language_model: LanguageModel, confidence: Any = 0) -> None:
        number("confidence", confidence, lambda p: 0 <= p <= 1, "a number between 0 and 1, where 0 never stops early")
        self.language_model = language_model
        self.confidence = confidence

    def __repr__(self) -> str:
        stops = [f"confidence={short(self.confidence)}"] if self.confidence else []
        return brief(self, short(self.language_model, 120), *stops)

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        return at_once(self.asking(tokens, gamma, chance))

    def asking(self, tokens: Tokens, gamma: int, chance: Chance) -> Asking[Draft]:
        start = len(tokens)
        rows = []
        for _ in range(positions_left(self.language_model, tokens, gamma)):
            row = (yield Question(self.language_model, tokens))[-1]
            token = self.guess(row, len(tokens), chance)
            rows.append(row)
            tokens += (token,)
            if row[token] < self.confidence:
                break
        return Draft(tokens[start:], np.array(rows) if rows else None, start)

    def guess(self, row: Array, position: int, chance: Chance) -> int:
        return chance.pick(row)
