"""Bugs of drafters: the law a token is shown with is not the law it was drawn from (N6)."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from properties import DRAFTERS

import refspec
from mutants.planting import Known, planted
from refspec.arrays import Array
from refspec.decoding.draft import Draft
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.models import sampling as warp
from refspec.proof import theory

MUTANTS, plant = planted("drafters")


class Misreported:
    """Draws from a law made from the model's row, and shows the row itself."""

    def __init__(self, language_model: LanguageModel, drawn_from: Callable[[Array], Array]) -> None:
        self.language_model = language_model
        self.drawn_from = drawn_from

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        start, rows = len(tokens), []
        for _ in range(gamma):
            row = self.language_model.probs(tokens)[-1]
            rows.append(row)
            tokens += (chance.pick(self.drawn_from(row)),)
        return Draft(tokens[start:], np.stack(rows) if rows else None)


def misreported(name: str, what: str, source: str, drawn_from: Callable[[Array], Array], known: Known | None = None) -> None:
    drafters = {**DRAFTERS, "model": lambda language_model: Misreported(language_model, drawn_from)}
    plant(name, what, source, drafters=drafters, known=known)


def tenths(*numerators: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(each, 10) for each in numerators)


def coarse(row: Array) -> Array:
    """Eighths, as a narrow number type would round; what is drawn at all is kept."""
    rounded = np.array([Fraction(round(float(share) * 8), 8) for share in row])
    return rounded if rounded.any() else row


misreported(
    "greedy-scored-with-softmax",
    "a greedy draft is shown with the row of its softmax",
    "transformers #32867",
    lambda row: (np.arange(len(row)) == row.argmax()).astype(int),
    known=Known(tenths(6, 4), tenths(8, 2), (Fraction(3, 4), Fraction(1, 4))),
)
misreported("q-before-top-k", "drawn after top-k, shown as before", "transformers #47932", lambda row: warp.top_k(row, 2))
misreported(
    "q-before-top-p", "drawn after top-p, shown as before", "z-lab/dflash #74", lambda row: warp.top_p(row, Fraction(1, 2))
)
misreported(
    "q-before-temperature",
    "drawn at temperature 1/2, shown at 1",
    "transformers #47932",
    lambda row: row * row / (row * row).sum(),
)
misreported(
    "drawn-in-another-precision", "drawn from a rounded row, shown with the exact one", "deepseek-ai/DeepSpec #31", coarse
)


class DropsUnlikely(refspec.ModelDrafter):
    """Leaves out, after the draw, the first token whose own law made it unlikely, and what follows it."""

    kept_after = 0

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        draft = super().propose(tokens, gamma, chance)
        unlikely = [i for i, token in enumerate(draft.tokens) if draft.probs[i][token] < Fraction(1, 3)]
        n = min(unlikely[0] + self.kept_after, gamma) if unlikely else len(draft.tokens)
        return Draft(draft.tokens[:n], draft.probs[:n] if n else None)


class StopsAfterUnlikely(DropsUnlikely):
    """The exact one of the two: the unlikely token stays, and the draft ends behind it."""

    kept_after = 1


class BetsAfterTheDraw(refspec.ModelDrafter):
    """Draws all it may, then shows as many as pay by what it sees of them."""

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        draft = super().propose(tokens, gamma, chance)
        seen = [draft.probs[i][token] for i, token in enumerate(draft.tokens)]
        n = theory.best_draft_length(seen, [1 + Fraction(2, 5) * cost for cost in range(len(seen) + 1)], 1)
        return Draft(draft.tokens[:n], draft.probs[:n] if n else None)


plant(
    "bet-placed-after-the-draw",
    "gamma is chosen by the probabilities of the very tokens that were drawn",
    "several",
    drafters={**DRAFTERS, "model": BetsAfterTheDraw},
)

plant(
    "unlikely-dropped-after-the-draw",
    "a drafted token of low probability is dropped after it was drawn",
    "several",
    drafters={**DRAFTERS, "model": DropsUnlikely},
    known=Known(tenths(5, 5), tenths(9, 1), (Fraction(55, 100), Fraction(45, 100))),
)
