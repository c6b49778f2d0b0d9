"""Wrong loops, drafters, filters and uses of a uniform that people have written."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding import loop
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.round import Round
from refspec.models import sampling

# --- loops ---


def looped(
    searched: Callable[[Round, int], bool] = lambda made, left: True,
    longest: Callable[[int, int], int] = lambda gamma, left: min(gamma, left - 1),
    keeps: Callable[[Round, int], Tokens] = lambda made, left: made.tokens,
    forgets: bool = False,
) -> Any:
    """A loop around single rounds of the real one, where `left` tokens are still to come.

    searched: whether a round is cut at a stop token; longest: how many tokens are drafted of gamma; keeps: what of a round is
    emitted; forgets: the round's own token is shown and not kept.
    """

    def rounds(target: Any, drafter: Any, prompt: Tokens, *, gamma: int, max_new_tokens: int, stop: Any = (), **rest: Any) -> Any:
        text, end = tuple(prompt), len(prompt) + max_new_tokens
        while len(text) < end:
            left = end - len(text)
            n = longest(gamma, left)
            made = next(iter(loop.rounds(target, drafter, text, gamma=n, max_new_tokens=n + 1, stop=(), **rest)))
            emitted = keeps(made, left)
            if searched(made, left):
                emitted = emitted[: next((i + 1 for i, token in enumerate(emitted) if token in stop), None)]
            yield Round(made.draft_tokens, len(emitted) - 1, emitted[-1]) if emitted != made.tokens else made
            if emitted[-1] in stop:
                return
            text += emitted[:-1] if forgets and made.accepted else emitted

    return rounds


def without_a_superfluous_bonus(made: Round, left: int) -> Tokens:
    return made.tokens[:-1] if made.accepted >= left else made.tokens


LOOPS: dict[str, tuple[str, Any]] = {
    "stop-at-round-end-only": ("a stop token inside a round is overlooked", looped(searched=lambda made, left: False)),
    "length-hides-stop": (
        "the round that fills max_new_tokens is not searched for a stop token",
        looped(searched=lambda made, left: len(made.tokens) < left),
    ),
    "overshoots-the-length": ("the last round is as long as any other", looped(longest=lambda gamma, left: gamma)),
    "overshoots-by-accepted": (
        "the last round is as long as any other, and only its own token is left out: up to gamma - 1 too many",
        looped(longest=lambda gamma, left: gamma, keeps=without_a_superfluous_bonus),
    ),
    "bonus-forgotten": (
        "the round's own token is shown and not kept: the next round starts without it",
        looped(forgets=True),
    ),
}

# --- drafters: the law a token is shown with is not the law it was drawn from ---


def misreported(drawn_from: Callable[[Array], Array]) -> Callable[[LanguageModel], Any]:
    """Draws from a law made from the model's row, and shows the row itself."""

    class Misreported(ModelDrafter):
        def guess(self, row: Array, position: int, chance: Chance) -> int:
            return chance.pick(drawn_from(row))

    return Misreported


def coarse(row: Array) -> Array:
    """Eighths, as a narrow number type would round; what is drawn at all is kept."""
    rounded = np.array([round(float(share) * 8) for share in row])
    return rounded if rounded.any() else row


def cut(kept: Callable[[Draft], int]) -> Callable[[LanguageModel], Any]:
    """Shows only so many of the tokens that it drew."""

    class Cut(ModelDrafter):
        def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
            draft = super().propose(tokens, gamma, chance)
            n = kept(draft)
            return Draft(draft.tokens[:n], draft.probs[:n] if n and draft.probs is not None else None)

    return Cut


def before_unlikely(draft: Draft) -> int:
    rows = () if draft.probs is None else draft.probs
    return next((i for i, row in enumerate(rows) if 3 * row[draft.tokens[i]] < 1), len(draft.tokens))


class Unwarped(ModelDrafter):
    """Draws from the rows as the case's options leave them, and shows those of the table."""

    def propose(self, tokens: Tokens, gamma: int, chance: Chance) -> Draft:
        draft = super().propose(tokens, gamma, chance)
        warped: Any = self.language_model  # an own.Warped, remembered
        rows = [warped.table.probs(tokens + draft.tokens[:i])[0, : warped.vocab_size] for i in range(len(draft.tokens))]
        return Draft(draft.tokens, np.stack(rows) if rows else None)


DRAFTERS: dict[str, tuple[str, Any]] = {
    "greedy-scored-with-softmax": (
        "a greedy draft is shown with the row of its softmax",
        misreported(lambda row: (np.arange(len(row)) == row.argmax()).astype(int)),
    ),
    "q-before-warps": ("drawn after temperature and filters, shown as before them all", Unwarped),
    "q-before-top-k": ("drawn after top-k, shown as before", misreported(lambda row: sampling.top_k(row, 2))),
    "q-before-top-p": ("drawn after top-p, shown as before", misreported(lambda row: sampling.top_p(row, 0.5))),
    "q-before-temperature": (
        "drawn at temperature 1/2, shown at 1",
        misreported(lambda row: row * row / (row * row).sum()),
    ),
    "drawn-in-another-precision": ("drawn from a rounded row, shown with the exact one", misreported(coarse)),
    "unlikely-dropped-after-the-draw": (
        "a drafted token of low probability is dropped after it was drawn",
        cut(before_unlikely),
    ),
}

# --- what one uniform decides ---


def pick_normalised(u: Any, weights: Array) -> int:
    """The inverse CDF of weights taken as if they summed to one; past their end, the last index of positive weight."""
    index = int(np.searchsorted(np.cumsum(weights), u, side="right"))
    return index if index < len(weights) else int(np.flatnonzero(weights)[-1])


def pick_before(u: Any, weights: Array) -> int:
    cumulative = np.cumsum(np.asarray(weights, float))
    return int(np.searchsorted(cumulative, u * cumulative[-1], side="left"))


CHANCE: dict[str, tuple[str, dict[str, Any]]] = {
    "u-at-most-p-over-q": ("u <= p / q: u = 0 accepts p = 0", {"accept_at": lambda u, p, q: bool(u <= p / q)}),
    "u-up-to-one": (
        "strictly below, with u on (0, 1]: u = 1 rejects p = q",
        {"accept_at": lambda u, p, q: bool((u + 2.0**-53) * q < p)},
    ),
    "pick-at-the-boundary": ("u at a boundary picks the index before: u = 0 a weight of 0", {"pick_at": pick_before}),
    "pick-assumes-normalised": ("the inverse CDF takes weights as if they summed to one", {"pick_at": pick_normalised}),
}

# --- filters ---


def filters(order: tuple[str, ...] = ("top_k", "top_p", "min_p"), last_maximum: bool = False, **wrong: Any) -> Any:
    """In the place of models/sampling.py: its filters, some of them wrong, in this order."""
    steps = {name: wrong.get(name, getattr(sampling, name)) for name in order}

    def made(temperature: float, *values: Any) -> Callable[[Array], Array]:
        options = dict(zip(("top_k", "top_p", "min_p"), values, strict=True))

        def warp(logits: Array) -> Array:
            if temperature == 0 and last_maximum:
                return sampling.with_temperature(logits[..., ::-1], 0)[..., ::-1]
            probs = sampling.with_temperature(logits, temperature)
            for row in probs if temperature else ():
                for name in order:
                    row[:] = row if options[name] is None else steps[name](row, options[name])
            return probs

        return warp

    return SimpleNamespace(Sampling=made)


def ranked_top_k(row: Array, k: int) -> Array:
    return sampling.normalised(row, np.argsort(np.argsort(-row, kind="stable"), kind="stable") < k)


def short_top_p(row: Array, p: float) -> Array:
    order = np.argsort(-row, kind="stable")
    above = np.cumsum(row[order]) - row[order]
    kept = np.zeros(len(row), bool)
    kept[order] = (above + row[order] <= p) | (above == 0)
    return sampling.normalised(row, kept)


WARPS: dict[str, tuple[str, Any]] = {
    "top-k-breaks-ties": ("a tie with the k-th value is dropped", filters(top_k=ranked_top_k)),
    "top-p-drops-the-crossing-token": ("the token that reaches p is dropped", filters(top_p=short_top_p)),
    "min-p-is-absolute": (
        "min-p is compared with and not scaled by the maximum",
        filters(min_p=lambda row, p: sampling.normalised(row, row >= min(p, row.max()))),
    ),
    "top-p-before-top-k": ("the filters run in another order", filters(order=("top_p", "top_k", "min_p"))),
    "greedy-takes-the-last-maximum": ("temperature 0 breaks ties by the highest id", filters(last_maximum=True)),
}
