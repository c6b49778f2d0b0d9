"""refspec itself as one more engine: its own loop and rules on float64, drawing from the generator it is given.

Every part can be exchanged, which is how the bugs of `bugs.py` and of the test suite are put to the kit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.conformance.adapter import PLAIN, ByGenerator, Case, Dialect, Run, Verdict, round_ended
from refspec.conformance.taped import TapedGenerator
from refspec.decoding import chance, loop, verify
from refspec.decoding.draft import Draft, Drafter
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.lm import LanguageModel, TableLM, Tokens
from refspec.decoding.round import Round
from refspec.errors import BadArgument
from refspec.models import sampling
from refspec.models.model import Model, load
from refspec.proof.exact import Remembered, Rounds

WARPS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@dataclass(frozen=True)
class Drawing:
    """Chance that draws each uniform from a generator, as `Seeded` does. Raises BadArgument for a race.

    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.own import Drawing
    >>> answered_law(lambda generator: Drawing(generator).pick([0, 1]))
    {1: Fraction(1, 1)}
    """

    generator: Any
    accept_at: Callable[[Any, Any, Any], bool] = chance.accept_at
    pick_at: Callable[[Any, Array], int] = chance.pick_at

    def accept(self, p: Any, q: Any) -> bool:
        return self.accept_at(self.generator.random(), p, q)

    def pick(self, weights: Array) -> int:
        return self.pick_at(self.generator.random(), weights)

    def race(self, key: int, weights: Array) -> int:
        raise BadArgument("a race draws exponential clocks, which no branch answers; prove this rule with `refspec prove`")


@dataclass(frozen=True)
class Warped:
    """The rows of a case's table as its options leave them: cut to the tokens, penalised, warped. seen: where the text begins.

    >>> import refspec
    >>> from refspec.conformance.adapter import Case
    >>> from refspec.conformance.own import Warped
    >>> coin = refspec.TableLM({(): [0.25, 0.75]})
    >>> Warped(coin, Case("coin", coin, coin, 1, 1, (0,), repetition_penalty=2.0)).probs((1,)).round(3).tolist()
    [[0.308, 0.692]]
    """

    table: TableLM
    case: Case
    warp: Any = sampling
    seen: int = 0

    @property
    def vocab_size(self) -> int:
        return self.case.size

    def probs(self, tokens: Tokens, last: int = 1) -> Array:
        rows = self.table.probs(tokens, last=last)[:, : self.case.size]
        options = self.case.sampling
        if options == PLAIN and self.case.repetition_penalty == 1 and rows.shape[1] == self.table.vocab_size:
            return rows  # bit for bit
        with np.errstate(divide="ignore"):
            logits = np.log(rows)
        for i, logit in enumerate(logits):
            before = list(set(tokens[self.seen : len(tokens) - last + 1 + i]))
            logit[before] *= self.case.repetition_penalty  # the logs of probabilities are not above 0
        return self.warp.Sampling(options.temperature, options.top_k, options.top_p, options.min_p)(logits)


class Own:
    """An engine made of refspec's parts, or of others in their place.

    rule, rounds, drafter, accept_at, pick_at, warp (a module like models/sampling.py): as in refspec. ignores_prompt: logits
    processors see the new tokens alone. beside: a function of (drafter, chance) that gives the two back, where they share draws.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.own import Own
    >>> conform(Own(), [CHECKS["length"]]).code
    0
    """

    def __init__(
        self,
        rule: verify.Rule = verify.token,
        rounds: Rounds = loop.rounds,
        *,
        drafter: Callable[[LanguageModel], Drafter] = ModelDrafter,
        accept_at: Any = chance.accept_at,
        pick_at: Any = chance.pick_at,
        warp: Any = sampling,
        ignores_prompt: bool = False,
        beside: Callable[[Drafter, Any], tuple[Drafter, Any]] = lambda drafter, chance: (drafter, chance),
        name: str = "refspec",
    ) -> None:
        self.rule, self.rounds, self._drafter, self._beside = rule, rounds, drafter, beside
        self.accept_at, self.pick_at = accept_at, pick_at
        self._warp, self._ignores_prompt = warp, ignores_prompt
        self._models = lru_cache(64)(self._make)  # most runs of a case ask for the same rows
        self.dialect = Dialect(
            name,
            uniforms_in="texts",
            draws_intercepted=True,
            seeds_in=True,
            round_by_round=True,
            padded=True,
            top_k_ties=True,
            warps=WARPS,
            block=rule is verify.block,
        )
        made = ByGenerator(self._run, self.dialect)
        self.replay, self.answered, self.sampled = made.replay, made.answered, made.sampled

    def _run(self, case: Case, generator: Any) -> Run:
        made: tuple[Round, ...] = ()
        for each in self._coming(case, generator):
            made += (each,)
            round_ended(generator, _as_run(made))
        return _as_run(made)

    def _make(self, case: Case) -> tuple[LanguageModel, ...]:
        seen = len(case.prompt) if self._ignores_prompt else 0
        return tuple(Remembered(Warped(table, case, self._warp, seen)) for table in (case.target, case.draft))

    def _coming(self, case: Case, generator: Any) -> Any:
        target, draft = self._models(case)
        drafter, chance = self._beside(self._drafter(draft), Drawing(generator, self.accept_at, self.pick_at))
        return self.rounds(
            target,
            drafter,
            case.prompt,
            gamma=case.gamma,
            max_new_tokens=case.max_new_tokens,
            stop=case.stop,
            chance=chance,
            verify=self.rule,
        )


class OwnWeights:
    """refspec as an engine that only takes weights: the folders of a case, through networks and caches.

    target_lm, draft_lm: (model, sampling) -> a LanguageModel, each with a cache of its own.

    >>> from refspec.conformance.fixtures import cases
    >>> from refspec.conformance.own import OwnWeights
    >>> len(OwnWeights().sampled(next(cases())[1], [0])[0].tokens)
    2
    """

    def __init__(self, target_lm: Any = Model.language_model, draft_lm: Any = Model.language_model) -> None:
        self._made, self._models = (target_lm, draft_lm), lru_cache(load)
        self.dialect = Dialect("refspec on weights", seeds_in=True, tables=False, warps=WARPS[:4], kv_dtype="float32")

    def sampled(self, case: Case, seeds: Sequence[int]) -> list[Run]:
        assert case.folders is not None  # as the kit gives to an engine without tables
        return [self._run(case, seed) for seed in seeds]

    def _run(self, case: Case, seed: int) -> Run:
        folders = case.folders or ()
        target, draft = (made(self._models(each), case.sampling) for made, each in zip(self._made, folders, strict=True))
        options: dict[str, Any] = {"gamma": case.gamma, "max_new_tokens": case.max_new_tokens, "stop": case.stop}
        coming = loop.rounds(target, ModelDrafter(draft), case.prompt, chance=chance.Seeded(seed), **options)
        return _as_run(tuple(coming))


class _Given:
    """Chance for one round of a kernel: the tests' uniforms in order, and another one for what is picked."""

    def __init__(self, engine: Own, accept: Sequence[float], pick: float) -> None:
        self._engine, self._accept, self._pick = engine, TapedGenerator(accept), pick

    def accept(self, p: Any, q: Any) -> bool:
        return bool(self._engine.accept_at(self._accept.random(), p, q))

    def pick(self, weights: Array) -> int:
        return int(self._engine.pick_at(self._pick, weights))

    def race(self, key: int, weights: Array) -> int:
        raise BadArgument("a race draws exponential clocks; no uniform of a vector is one")


class OwnKernel:
    """The verification rule of such an engine alone, as kernels have it: one round's rows and uniforms in, a verdict out.

    >>> from refspec.conformance.own import OwnKernel
    >>> from refspec.conformance.replay import conform
    >>> conform(OwnKernel()).code
    0
    """

    def __init__(self, engine: Own | None = None) -> None:
        self._engine = engine or Own()
        self.dialect = Dialect(self._engine.dialect.name, uniforms_in="rounds")

    def verify(self, tokens: Tokens, draft_probs: Array, target_probs: Array, accept: Sequence[float], pick: float) -> Verdict:
        found = self._engine.rule(Draft(tokens, draft_probs), target_probs, _Given(self._engine, accept, pick))
        return Verdict(found.accepted, found.token)


def _as_run(made: tuple[Round, ...]) -> Run:
    tokens = tuple(token for each in made for token in each.tokens)
    return Run(tokens, sum(each.drafted for each in made), sum(each.accepted for each in made))
