"""Bugs of batches, from published implementations: what one text does reaches another, or a rectangle is made of ragged rows.

They are apart from the zoo, since a text alone never shows them: tests/test_batch.py has what finds them.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import refspec
from mutants.planting import patched
from mutants.caches import ZeroedCache
from refspec.conformance.bugs.uniforms import OneUniform
from refspec.arrays import Array
from refspec.decoding import batch
from refspec.decoding.draft import Draft
from refspec.decoding.loop import Steps
from refspec.decoding.verify import Rule, Verdict
from refspec.models.cached_lm import CachedLM
from refspec.models.sampling import Sampling
from refspec.transformer.cache import KVCache
from refspec.transformer.packed import NewTokens


@dataclass(frozen=True)
class BatchSubject:
    """The parts under test. chances: what is made of those of the texts. rule: what is made of the rule, for all texts at once.

    lm: a refspec.Model -> the LanguageModel of one text.
    """

    together: Callable[[Iterable[Steps], int], Iterator[tuple[int, Any]]] = batch.together
    chances: Callable[[Sequence[Any]], Sequence[Any]] = tuple
    rule: Callable[[Rule, int], Sequence[Rule]] = lambda rule, texts: [rule] * texts
    lm: Callable[[refspec.Model], refspec.LanguageModel] = field(default=lambda model: model.language_model(Sampling()))


@dataclass(frozen=True)
class BatchMutant:
    what: str
    subject: BatchSubject


def patched_driver(*changes: tuple[str, str], **replaced: Any) -> BatchSubject:
    return BatchSubject(together=patched("refspec.decoding.batch", *changes, **replaced).together)


# --- caches and positions ---


def packed_with(*changes: tuple[str, str]) -> BatchSubject:
    """A model whose passes are packed otherwise."""
    packed = patched("refspec.transformer.packed", *changes).Packed

    def lm(model: refspec.Model) -> CachedLM:
        family = type(model.network).__name__.lower()
        wrong = vars(patched(f"refspec.transformer.{family}", Packed=packed))[type(model.network).__name__]
        return CachedLM(network_of(model, wrong), Sampling())

    return BatchSubject(lm=lm)


NETWORKS: dict[Any, Any] = {}


def network_of(model: refspec.Model, kind: Any) -> Any:
    """The network as one of that kind, the same one for all texts."""
    key = id(model.network), kind.forward_packed.__globals__["Packed"]
    if key not in NETWORKS:
        NETWORKS[key] = kind(**{name: getattr(model.network, name) for name in kind.__dataclass_fields__})
    return NETWORKS[key]


class ZeroingLM(CachedLM):
    """Each token has its own position; only the zeroed keys, which weigh e^0, should not be there."""

    def __init__(self, model: refspec.Model) -> None:
        super().__init__(model.network, Sampling())
        layers, heads, _, width = self.cache.keys.shape
        self.cache: ZeroedCache = ZeroedCache(layers, heads, width, self.cache.keys.dtype)

    def probs(self, tokens: tuple[int, ...], last: int = 1) -> Array:
        (rows,) = self.together([(self, tokens, last)])
        return rows

    def new_tokens(self, tokens: tuple[int, ...], last: int) -> NewTokens:
        text = super().new_tokens(tokens, last)
        past = len(self.cache.places)
        return replace(text, positions=np.arange(past, past + len(text.tokens)))

    def new_rows(self, tokens: tuple[int, ...], last: int) -> int:
        length, self.cache.length = self.cache.length, len(self.cache.places)
        rows = super().new_rows(tokens, last)
        self.cache.length = length
        return rows

    together = staticmethod(CachedLM.together)


SLOTS: dict[int, list[KVCache]] = {}


class SlottedLM(CachedLM):
    """The cache of a text is that of its place in the pass; when a text leaves, those behind it move up and their caches do not."""

    @staticmethod
    def together(asked: Any) -> Any:
        slots = SLOTS.setdefault(id(asked[0][0].network), [])
        for place, (model, _, _) in enumerate(asked):
            if place == len(slots):
                slots.append(model.cache)
            model.cache = slots[place]
        return CachedLM.together(asked)

    def probs(self, tokens: tuple[int, ...], last: int = 1) -> Array:
        return super().probs(tokens, last)


def slotted(model: refspec.Model) -> CachedLM:
    SLOTS.clear()  # a new batch
    return SlottedLM(model.network, Sampling())


# --- verdicts ---


def cut_to_the_least(rule: Rule, texts: int) -> Sequence[Rule]:
    """In each of its rounds a text keeps no more drafted tokens than those before it in that round; what is cut is drawn anew."""
    least: dict[int, int] = {}

    def of_one() -> Rule:
        rounds = itertools.count()

        def cut(draft: Draft, target_probs: Array, chance: refspec.Chance) -> Verdict:
            verdict, number = rule(draft, target_probs, chance), next(rounds)
            kept = least[number] = min(verdict.accepted, least.get(number, verdict.accepted))
            return verdict if kept == verdict.accepted else Verdict(kept, chance.pick(target_probs[kept]))

        return cut

    return [of_one() for _ in range(texts)]


def others_bonus(rows: Sequence[Array]) -> list[Array]:
    """Of each text, with the last row of the next one."""
    return [np.concatenate([own[:-1], other[-1:]]) for own, other in zip(rows, [*rows[1:], *rows[:1]], strict=True)]


# --- chance ---


def still_draws(texts: Iterable[Steps], max_batch: int) -> Iterator[tuple[int, Any]]:
    """A text that has ended goes on drawing, from the chances of those that have not."""
    talks = list(texts)
    for number, came in batch.together(talks, max_batch):
        yield number, came
        if came is None:
            for talk in talks:
                if talk.gi_frame is not None:  # type: ignore[attr-defined]
                    talk.gi_frame.f_locals["chance"].pick([1, 1])  # type: ignore[attr-defined]


def one_uniform(chances: Sequence[Any]) -> Sequence[Any]:
    """The uniform drawn for the first text serves the others too, question by question."""
    drawn: list[Any] = []

    class Row:
        def __init__(self, chance: Any) -> None:
            self._chance, self._asked, self.race = chance, 0, chance.race

        def _u(self) -> Any:
            if self._asked == len(drawn):
                drawn.append(OneUniform(chances[0]))
            self._asked += 1
            return drawn[self._asked - 1]

        def accept(self, p: Any, q: Any) -> bool:
            return self._u().accept(p, q)

        def pick(self, weights: Any) -> int:
            return self._u().pick(weights)

    return [Row(chance) for chance in chances]


ANSWERED = "return [found[i] for i in range(len(questions))]"
POSITIONS = "[positions(text) for text in texts]"
LONGEST = "[positions(text) - text.cache.length + max(each.cache.length for each in texts) for text in texts]"

MUTANTS: dict[str, BatchMutant] = {
    "rejected-rows-zeroed": BatchMutant("rejected rows are zeroed and not removed: they weigh e^0", BatchSubject(lm=ZeroingLM)),
    "cut-to-the-least": BatchMutant("all texts keep as few tokens as the unluckiest", BatchSubject(rule=cut_to_the_least)),
    "positions-of-the-longest": BatchMutant("all texts go on at the position of the longest", packed_with((POSITIONS, LONGEST))),
    "one-uniform-for-all": BatchMutant("one uniform a question serves all texts", BatchSubject(chances=one_uniform)),
    "caches-stay-behind": BatchMutant("a text leaves, the others move up, and their caches do not", BatchSubject(lm=slotted)),
    "finished-still-draws": BatchMutant("a finished text draws from the chance of another", BatchSubject(together=still_draws)),
    "bonus-of-another-row": BatchMutant(
        "the bonus token is drawn from the last row of another text",
        patched_driver((ANSWERED, ANSWERED.replace("[", "others_bonus([", 1) + ")"), others_bonus=others_bonus),
    ),
}
