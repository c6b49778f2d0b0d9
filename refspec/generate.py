"""Text in, text out: the loop with a tokenizer around it and a clock beside it."""

import operator
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from refspec.decoding import verify as rules
from refspec.decoding.chance import Seeded
from refspec.decoding.draft import Draft, Drafter
from refspec.decoding.draft.adaptive import AdaptiveDrafter
from refspec.decoding.draft.coupled import CoupledDrafter
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.loop import Round, rounds
from refspec.decoding.stats import Stats, stats
from refspec.errors import BadArgument, ContextExceeded
from refspec.models.cached_lm import CachedLM
from refspec.models.model import Model
from refspec.models.tokenizer import Stream, Tokenizer
from refspec.transformer.blas import blas_kernel, has_no_copy

AnyDrafter = Drafter | Model | Callable[[LanguageModel], Drafter] | None


@dataclass(frozen=True)
class Piece:
    """What one round adds: its tokens, and the text that can be shown since the last one."""

    round: Round
    text: str


@dataclass(frozen=True)
class Output:
    """A finished generation. tokens are without the prompt; text is without special tokens, None without a tokenizer.

    ended: "stop" at a stop token, "length" at max_new_tokens, "context" where the model has no more positions,
    "interrupted" where the caller broke off.
    """

    text: str | None
    tokens: Tokens
    rounds: tuple[Round, ...]
    stats: Stats
    prompt_tokens: Tokens
    ended: str


class Run:
    """One generation under way: iterate over it for its pieces, ask it for its `output` at any time."""

    def __init__(
        self, found: Iterator[Round], prompt: Tokens, tokenizer: Tokenizer | None, stop: Collection[int], at_end: str
    ) -> None:
        self._found = found
        self._prompt = prompt
        self._tokenizer = tokenizer
        self._stream = None if tokenizer is None else Stream(tokenizer)
        self._stop = stop
        self._at_end = at_end  # why it ends, if no stop token ends it before
        self._timed: list[tuple[Round, float]] = []
        self._ended = "interrupted"

    def __iter__(self) -> Iterator[Piece]:
        started = time.perf_counter()
        for each in self._found:
            self._timed.append((each, time.perf_counter() - started))
            yield Piece(each, self._stream.push(each.tokens) if self._stream else "")
            started = time.perf_counter()
        self._ended = "stop" if self._timed and self._timed[-1][0].token in self._stop else self._at_end

    def rest(self) -> str:
        """The text of an incomplete character at the very end, if there is one."""
        return self._stream.flush() if self._stream else ""

    @property
    def output(self) -> Output:
        found = tuple(each for each, _ in self._timed)
        tokens = tuple(token for each in found for token in each.tokens)
        return Output(
            text=self._tokenizer.decode(tokens) if self._tokenizer else None,
            tokens=tokens,
            rounds=found,
            stats=stats(found, [seconds for _, seconds in self._timed]),
            prompt_tokens=self._prompt,
            ended=self._ended,
        )


def generate(
    model: Model,
    prompt: str | Sequence[int],
    *,
    drafter: AnyDrafter = None,
    gamma: int | Literal["auto"] = 4,
    profile: Profile | None = None,
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int = 0,
    stop: Collection[int] | None = None,
    verify: rules.Rule = rules.token,
    record: bool = False,
) -> Output:
    """Continue `prompt` (text or ids), starting from an empty cache.

    drafter: None for plain decoding, a Drafter, a Model (wrapped with the same warps), or a function from the target's
    LanguageModel to a Drafter. gamma: tokens drafted a round; "auto" for an AdaptiveDrafter, which bets by the costs in
    `profile`, or in the package's own for this kind of machine. stop: ids that end the text; by default the model's own.
    Raises BadArgument for an empty prompt or an option out of range, ContextExceeded for a prompt that does not fit.
    """
    run = start(
        model,
        prompt,
        drafter=drafter,
        gamma=gamma,
        profile=profile,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        seed=seed,
        stop=stop,
        verify=verify,
        record=record,
    )
    for _ in run:
        pass
    return run.output


def start(
    model: Model,
    prompt: str | Sequence[int],
    *,
    drafter: AnyDrafter = None,
    gamma: int | Literal["auto"] = 4,
    profile: Profile | None = None,
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int = 0,
    stop: Collection[int] | None = None,
    verify: rules.Rule = rules.token,
    record: bool = False,
) -> Run:
    """The same, as a Run that yields each round's piece as it comes."""
    target = model.language_model(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    tokens = as_ids(model, prompt)
    if not tokens:
        raise BadArgument("the prompt is empty; give at least one token of text")
    if len(tokens) > target.context:
        raise ContextExceeded(f"the prompt has {len(tokens)} tokens and {model.name} a context of {target.context}; shorten it")
    room = target.context - len(tokens)
    stop = model.end_tokens if stop is None else stop
    if not all(isinstance(each, int) for each in stop):
        raise BadArgument(f"stop is {stop!r}; it holds token ids, not texts")
    if not callable(verify):
        raise BadArgument(f"verify is {verify!r}; give a rule, such as refspec.verify.token")
    drafting = as_drafter(drafter, target, verify)
    if gamma == "auto":
        profile = profile or Profile.embedded(few_rows_are_cheap=has_no_copy(blas_kernel()))
        drafting, gamma = AdaptiveDrafter(drafting, profile), len(profile.verify) - 1
    elif isinstance(gamma, str):
        raise BadArgument(f'gamma is {gamma!r}; it is a number of drafted tokens, or "auto"')
    found = rounds(
        target,
        drafting,
        tokens,
        gamma=gamma,
        max_new_tokens=min(max_new_tokens, room),
        stop=stop,
        chance=Seeded(seed),
        verify=verify,
        record=record,
    )
    return Run(found, tokens, model.tokenizer, stop, "length" if max_new_tokens <= room else "context")


class NoDrafter:
    """Proposes nothing, so that every round is one plain pick: `autoregressive`, by the same loop."""

    state = None

    def propose(self, tokens: Tokens, gamma: int, chance: object) -> Draft:
        return Draft(())


def as_drafter(given: AnyDrafter, target: CachedLM, verify: rules.Rule) -> Drafter:
    """A drafter of any kind as a Drafter; a Model drafts under the target's own warps, and races where the rule does."""
    if given is None:
        return NoDrafter()
    if isinstance(given, Model):
        draft = CachedLM(given.network, target.warp, given.token_map)
        return CoupledDrafter(draft) if verify is rules.coupled else ModelDrafter(draft)
    if not (callable(given) or hasattr(given, "propose")):
        raise BadArgument(f"drafter is {given!r}; give None, a Drafter, a Model, or a function from a LanguageModel to a Drafter")
    return given if hasattr(given, "propose") and not isinstance(given, type) else given(target)


def as_ids(model: Model, prompt: str | Sequence[int]) -> Tokens:
    """A prompt as ids."""
    if not isinstance(prompt, str):
        try:
            return tuple(operator.index(token) for token in prompt)
        except TypeError:
            raise BadArgument("the prompt is neither a text nor a sequence of whole-number ids") from None
    if not prompt:
        return ()  # a tokenizer may add a begin token, but an empty prompt is refused all the same
    if model.tokenizer is None:
        raise BadArgument(f"{model.name} has no tokenizer.json; give the prompt as token ids")
    return model.tokenizer.encode(prompt)
