"""Text in, text out: the loop with a tokenizer around it and a clock beside it."""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from refspec import transcript
from refspec.brief import brief, by_fields, counted, short
from refspec.compose import fed_by
from refspec.decoding import verify as rules
from refspec.decoding.chance import Seeded
from refspec.decoding.draft.adaptive import AdaptiveDrafter
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.loop import rounds
from refspec.decoding.optional import optional
from refspec.decoding.round import Round
from refspec.decoding.stats import Stats, stats
from refspec.errors import BadArgument, ContextExceeded
from refspec.given import AnyDrafter, AnyModel, as_drafter, as_ids, as_language_model, as_model
from refspec.models.model import Model
from refspec.models.sampling import Sampling
from refspec.models.tokenizer import Stream, Tokenizer
from refspec.transformer.blas import blas_kernel, has_no_copy


@dataclass(frozen=True)
class Piece:
    """What one round adds: its tokens, and the text that can be shown since the last one.

    >>> import refspec
    >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
    >>> next(iter(run)).text == run.output.text
    True
    """

    round: Round
    text: str

    __repr__ = by_fields


@dataclass(frozen=True)
class Output:
    """A finished generation. tokens are without the prompt; text is without special tokens, None without a tokenizer.

    finish_reason: "stop" at a stop token, "length" at max_new_tokens, "context" where the model has no more positions,
    "interrupted" where the caller broke off. In a notebook it shows where each token came from.

    >>> import refspec
    >>> out = refspec.generate("tiny-target", "ROMEO:", max_new_tokens=3)
    >>> len(out.tokens), out.finish_reason, out.text == refspec.load("tiny-target").tokenizer.decode(out.tokens)
    (3, 'length', True)
    """

    text: str | None
    tokens: Tokens
    rounds: tuple[Round, ...]
    stats: Stats
    prompt_tokens: Tokens
    finish_reason: str
    tokenizer: Tokenizer | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return brief(
            self, short(self.text if self.text is not None else self.tokens), short(self.stats, 110), repr(self.finish_reason)
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: see `refspec.transcript`."""
        return transcript.html_of(self.rounds, self.stats, self.tokenizer)


class Run:
    """One generation under way: iterate over it for its pieces, ask it for its `output` at any time.

    >>> import refspec
    >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
    >>> len(list(run)), run.output.finish_reason
    (3, 'length')
    """

    def __init__(
        self,
        coming: Iterator[Round],
        *,
        prompt: Tokens,
        tokenizer: Tokenizer | None,
        stop: Collection[int],
        at_end: str,
        exact: bool | None,
    ) -> None:
        self._coming = coming
        self._prompt = prompt
        self._tokenizer = tokenizer
        self._stream = None if tokenizer is None else Stream(tokenizer)
        self._stop = stop
        self._exact = exact  # what the rule claims
        self._at_end = at_end  # why it ends, if no stop token ends it before
        self._timed: list[tuple[Round, float]] = []
        self._finish_reason = "interrupted"

    def __repr__(self) -> str:
        tokens = sum(len(each.tokens) for each, _ in self._timed)
        return brief(self, f"{counted(tokens, 'token')} in {counted(len(self._timed), 'round')}", repr(self._finish_reason))

    def __iter__(self) -> Iterator[Piece]:
        started = time.perf_counter()
        for emitted in self._coming:
            self._timed.append((emitted, time.perf_counter() - started))
            yield Piece(emitted, self._stream.push(emitted.tokens) if self._stream else "")
            started = time.perf_counter()
        self._finish_reason = "stop" if self._timed and self._timed[-1][0].token in self._stop else self._at_end

    def rest(self) -> str:
        """The text of an incomplete character at the very end, if there is one.

        >>> import refspec
        >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
        >>> "".join(piece.text for piece in run) + run.rest() == run.output.text
        True
        """
        return self._stream.flush() if self._stream else ""

    @property
    def output(self) -> Output:
        """What has come so far; after the last piece, the finished generation.

        >>> import refspec
        >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
        >>> piece = next(iter(run))
        >>> run.output.tokens == piece.round.tokens, run.output.finish_reason
        (True, 'interrupted')
        """
        done = tuple(emitted for emitted, _ in self._timed)
        tokens = tuple(token for emitted in done for token in emitted.tokens)
        return Output(
            text=self._tokenizer.decode(tokens) if self._tokenizer else None,
            tokens=tokens,
            rounds=done,
            stats=stats(done, [seconds for _, seconds in self._timed], exact=self._exact),
            prompt_tokens=self._prompt,
            finish_reason=self._finish_reason,
            tokenizer=self._tokenizer,
        )


def stream(
    model: AnyModel,
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
    """Continue a prompt and yield each round's piece as it comes, starting from an empty cache.

    model, drafter: anything that `refspec.given` knows: a Model, a name, a LanguageModel; for a drafter also None (plain
    decoding), a Drafter, its class, or a function from the target to a Drafter. prompt: text, or ids.
    gamma: how many tokens to draft a round; "auto" drafts as many as pay by the costs in `profile`, or in the package's own for
    this kind of machine. temperature, top_k, top_p, min_p: see `Sampling`. seed: the same seed gives the same tokens. stop: ids
    that end the text; by default the model's own end tokens. verify: the verification rule. record: keep what each round
    looked at.

    Raises BadArgument for an empty prompt or an option out of range, ContextExceeded for a prompt that does not fit.

    >>> import refspec
    >>> run = refspec.stream("tiny-target", "ROMEO:", drafter="tiny-draft", max_new_tokens=12)
    >>> "".join(piece.text for piece in run) + run.rest() == run.output.text
    True
    """
    target = as_language_model(model := as_model(model), Sampling(temperature, top_k, top_p, min_p))
    tokens = prompt_ids(model, prompt)
    most = max_new_tokens
    if (context := optional(target, "context")) is not None:
        if len(tokens) > context:
            raise ContextExceeded(f"the prompt has {len(tokens)} tokens and {named(model)} a context of {context}; shorten it")
        most = min(max_new_tokens, context - len(tokens))
    stop = optional(model, "end_tokens") if stop is None else stop
    if not all(isinstance(token, int) for token in stop):
        raise BadArgument(f"stop is {stop!r}; it holds token ids, not texts")
    drafting = as_drafter(drafter, target, verify)
    if gamma == "auto":
        profile = profile or Profile.embedded(few_rows_are_cheap=has_no_copy(blas_kernel()))
        drafting, gamma = AdaptiveDrafter(drafting, profile), len(profile.verify) - 1
    elif isinstance(gamma, str):
        raise BadArgument(f'gamma is {gamma!r}; it is a number of drafted tokens, or "auto"')
    coming = rounds(
        target, drafting, tokens, gamma=gamma, max_new_tokens=most, stop=stop, chance=Seeded(seed), verify=verify, record=record
    )
    return Run(
        coming,
        prompt=tokens,
        tokenizer=optional(model, "tokenizer"),
        stop=stop,
        at_end="length" if most == max_new_tokens else "context",
        exact=rules.is_exact(verify),
    )


@fed_by(stream)
def generate(run: Run) -> Output:
    """Continue a prompt to its end, and return the finished generation.

    >>> import refspec
    >>> out = refspec.generate("tiny-target", "ROMEO:", drafter="tiny-draft", max_new_tokens=12, seed=1)
    >>> len(out.tokens), out.finish_reason
    (12, 'length')
    """
    for _ in run:
        pass
    return run.output


def prompt_ids(model: Model | LanguageModel, prompt: str | Sequence[int]) -> Tokens:
    """The prompt in the model's tokens. Raises BadArgument for an empty one, and for a text where there is no tokenizer."""
    if not isinstance(prompt, str):
        tokens = as_ids(prompt)
    elif not prompt:
        tokens = ()  # a tokenizer may add a begin token, but an empty prompt is refused all the same
    elif (tokenizer := optional(model, "tokenizer")) is not None:
        tokens = tokenizer.encode(prompt)
    else:
        raise BadArgument(f"{named(model)} has no tokenizer.json; give the prompt as token ids")
    if not tokens:
        raise BadArgument("the prompt is empty; give at least one token of text")
    return tokens


def named(model: Model | LanguageModel) -> str:
    return str(getattr(model, "name", type(model).__name__))
