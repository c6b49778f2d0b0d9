"""Text in, text out: the loop with a tokenizer around it and a clock beside it."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from refspec import transcript
from refspec.brief import brief, by_fields, counted, short
from refspec.compose import fed_by
from refspec.decoding import verify as rules
from refspec.decoding.chance import Seeded
from refspec.decoding.draft import Drafter
from refspec.decoding.draft.adaptive import AdaptiveDrafter
from refspec.decoding.draft.held import forget_texts
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.loop import Steps, steps
from refspec.decoding.optional import optional
from refspec.decoding.question import answered
from refspec.decoding.round import Round, up_to
from refspec.decoding.stats import Stats, stats
from refspec.errors import BadArgument, ContextExceeded, RefspecError
from refspec.given import AnyDrafter, AnyModel, as_drafter, as_ids, as_language_model, as_model, as_stop, is_chat, named
from refspec.models.cached_lm import check_ids
from refspec.models.chat import ChatText, Messages, as_date
from refspec.models.model import Model
from refspec.models.profiles import profile_for
from refspec.models.sampling import Sampling
from refspec.models.streaming import Stream
from refspec.models.tokenizer import Tokenizer
from refspec.numeric import whole


@dataclass(frozen=True)
class Piece:
    """What one round adds: its tokens, and the text that can be shown since the last one.

    texts: that text in parts, one for each token that brought it; () without a tokenizer. The last piece of a run also has what
    was still waiting.

    >>> import refspec
    >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
    >>> next(iter(run)).text == run.output.text
    True
    """

    round: Round
    texts: tuple[str, ...]

    __repr__ = by_fields

    @property
    def text(self) -> str:
        """
        >>> import refspec
        >>> from refspec.generate import Piece
        >>> Piece(refspec.Round((5,), 1, 9), ("to ", "be")).text
        'to be'
        """
        return "".join(self.texts)


@dataclass(frozen=True)
class Output:
    """A finished generation. tokens are without the prompt; text is without special tokens, None without a tokenizer.

    The prompt's text and `text` are together what the tokens of both decode to, so a completion keeps its leading space. Where a
    stop text ended it, `tokens` end with the token that completes the stop text, and `text` ends before the stop text.
    texts: `text` in parts, one for each token. finish_reason: "stop" at a stop token or text, "length" at max_new_tokens,
    "context" where the model has no more positions, "interrupted" where the caller broke off, "error" where one of many texts
    ended in `error`. chat: the date and variables that a
    chat template went by, which repeat the run when given again; None without a chat. profile: the costs by which gamma was
    chosen; None where it was given. In a notebook it shows where each token came from.

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
    texts: tuple[str, ...] = field(default=(), repr=False, compare=False)
    chat: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    profile: Profile | None = field(default=None, repr=False, compare=False)
    error: RefspecError | None = None

    def __repr__(self) -> str:
        if self.error is not None:
            return brief(self, repr(self.error))
        return brief(
            self, short(self.text if self.text is not None else self.tokens), short(self.stats, 110), repr(self.finish_reason)
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: see `refspec.transcript`."""
        return transcript.html_of(self.rounds, self.stats, self.tokenizer, self.texts)


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
        stop_texts: Sequence[str] = (),
        most: int,
        at_end: str,
        exact: bool | None,
        chat: Mapping[str, Any] | None = None,
        profile: Profile | None = None,
        steps: Steps | None = None,
        drafter: Drafter | None = None,
    ) -> None:
        self._coming = coming
        self.steps = steps  # what `coming` answers: a batch answers it instead
        self.drafter = drafter
        self._prompt = prompt
        self._chat = chat or None
        self._tokenizer = tokenizer
        self._stream = None if tokenizer is None else Stream(tokenizer, prompt, stop_texts)
        self._stop = stop
        self._exact = exact  # what the rule claims
        self._profile = profile
        self._left = most  # how many tokens may still come
        self._at_end = at_end  # why it ends there, if no stop ends it before
        self._done: list[tuple[Piece, float, str]] = []  # with its seconds, and the text that waits behind it
        self._finish_reason = "interrupted"

    def __repr__(self) -> str:
        tokens = sum(len(piece.round.tokens) for piece in self.pieces)
        return brief(self, f"{counted(tokens, 'token')} in {counted(len(self._done), 'round')}", repr(self._finish_reason))

    def __iter__(self) -> Iterator[Piece]:
        while not self.ended:
            started = time.perf_counter()
            if (emitted := next(self._coming, None)) is None:
                self.end()
            else:
                yield self.add(emitted, time.perf_counter() - started)

    def add(self, emitted: Round, seconds: float) -> Piece:
        """Take up a round, which took so long.

        >>> import refspec
        >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
        >>> run.add(refspec.Round((), 0, 50), 0.1).text
        'R'
        """
        piece, waiting, reason = self._read(emitted)
        self._done.append((piece, seconds, waiting))  # at once, whenever Ctrl-C comes
        self._finish_reason = reason
        return piece

    def end(self) -> None:
        """No round comes any more.

        >>> import refspec
        >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
        >>> run.end(), run.output.finish_reason
        (None, 'length')
        """
        self._finish_reason = self._finish_reason if self.ended else self._at_end

    @property
    def ended(self) -> bool:
        """Whether the last piece has come.

        >>> import refspec
        >>> refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3).ended
        False
        """
        return self._finish_reason != "interrupted"

    def _read(self, emitted: Round) -> tuple[Piece, str, str]:
        """(the round with its text, the text that waits, why it is the last one, if it is): up to a stop text, as N9 has it."""
        texts, stopped, waiting = [], False, ""
        if self._stream is not None:
            for token in emitted.tokens:
                texts.append(self._stream.push(token))
                if stopped := self._stream.stopped:
                    break
            emitted, waiting = up_to(emitted, len(texts) - 1), self._stream.waiting
        self._left -= len(emitted.tokens)
        at_end = "interrupted" if self._left else self._at_end
        reason = "stop" if stopped or emitted.token in self._stop else at_end
        if texts and reason != "interrupted":
            texts[-1], waiting = texts[-1] + waiting, ""
        return Piece(emitted, tuple(texts)), waiting, reason

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Those that have come so far.

        >>> import refspec
        >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
        >>> tuple(run) == run.pieces
        True
        """
        return tuple(piece for piece, _, _ in self._done)

    @property
    def seconds(self) -> tuple[float, ...]:
        """How long each of them took.

        >>> import refspec
        >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
        >>> len(list(run)) == len(run.seconds)
        True
        """
        return tuple(seconds for _, seconds, _ in self._done)

    def rest(self) -> str:
        """The text that waits behind the pieces so far; none once the run has ended, whose last piece has it.

        >>> import refspec
        >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
        >>> next(iter(run)).text + run.rest() == run.output.text
        True
        """
        return self._done[-1][2] if self._done else ""

    @property
    def output(self) -> Output:
        """What has come so far; after the last piece, the finished generation.

        >>> import refspec
        >>> run = refspec.stream("tiny-target", "ROMEO:", max_new_tokens=3)
        >>> piece = next(iter(run))
        >>> run.output.tokens == piece.round.tokens, run.output.finish_reason
        (True, 'interrupted')
        """
        rounds = tuple(piece.round for piece in self.pieces)
        texts = [text for piece in self.pieces for text in piece.texts]
        texts[-1:] = [text + self.rest() for text in texts[-1:]]
        return Output(
            text="".join(texts) if self._tokenizer else None,
            texts=tuple(texts),
            tokens=tuple(token for each in rounds for token in each.tokens),
            rounds=rounds,
            stats=stats(rounds, self.seconds, exact=self._exact),
            prompt_tokens=self._prompt,
            finish_reason=self._finish_reason,
            tokenizer=self._tokenizer,
            chat=self._chat,
            profile=self._profile,
        )


def stream(
    model: AnyModel,
    prompt: str | Sequence[int] | Messages,
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
    stop: Iterable[int | str] | str | None = None,
    verify: rules.Rule = rules.token,
    record: bool = False,
    date: str | None = None,
    template_vars: Mapping[str, Any] | None = None,
) -> Run:
    """Continue a prompt and yield each round's piece as it comes, starting from an empty cache.

    A LanguageModel serves one text at a time: where it has a cache, that is emptied as the first round begins.
    model, drafter: anything that `refspec.given` knows: a Model, a name, a LanguageModel; for a drafter also None (plain
    decoding), a Drafter, its class, or a function from the target to a Drafter. prompt: text, ids, or the messages of a chat
    ({"role": ..., "content": ...}); date and template_vars are what the chat template reads, see `Tokenizer.chat`.
    gamma: how many tokens to draft a round; "auto" drafts as many as pay by the costs in `profile`, or in those that
    `refspec calibrate` measured here, or else in the package's own. temperature, top_k, top_p, min_p: see
    `Sampling`. seed: the same seed gives the same tokens. stop: ids and texts that end the text, or one text; by default the
    model's own end tokens. verify: the verification rule. record: keep what each round looked at.

    A stop text counts wherever its characters end in the new text, whatever the tokens are (N9). Neither it nor what is behind
    it is shown; what may become one waits. Up to there the tokens have the target's distribution, as up to a stop token.

    Raises BadArgument for an empty prompt or an option of the wrong kind or out of range, ContextExceeded for a prompt that does
    not fit.

    >>> import refspec
    >>> run = refspec.stream("tiny-target", "ROMEO:", drafter="tiny-draft", max_new_tokens=12)
    >>> "".join(piece.text for piece in run) + run.rest() == run.output.text
    True
    """
    target = as_language_model(model := as_model(model), Sampling(temperature, top_k, top_p, min_p))
    chat = chat_settings(prompt, date, template_vars)
    tokens = prompt_ids(model, prompt, **chat)
    whole("max_new_tokens", max_new_tokens, 0)
    most = max_new_tokens
    if (context := optional(target, "context")) is not None:
        if len(tokens) > context:
            raise ContextExceeded(f"the prompt has {len(tokens)} tokens and {named(model)} a context of {context}; shorten it")
        most = min(max_new_tokens, context - len(tokens))
    stop_ids, stop_texts = as_stop(stop, model, chat=is_chat(prompt) or isinstance(prompt, ChatText))
    drafting = as_drafter(drafter, target, verify)
    if gamma == "auto":
        profile = profile_for(model) if profile is None else profile
        drafting, gamma = AdaptiveDrafter(drafting, profile), len(profile.verify) - 1
    else:
        profile = None  # nothing is chosen by it
    whole("gamma", gamma, 0, ', or "auto": how many tokens are drafted a round')
    asking = begun(
        target,
        drafting,
        tokens,
        gamma=gamma,
        max_new_tokens=most,
        stop=stop_ids,
        chance=Seeded(seed),
        verify=verify,
        record=record,
    )
    return Run(
        answered(asking),
        prompt=tokens,
        tokenizer=optional(model, "tokenizer"),
        stop=stop_ids,
        stop_texts=stop_texts,
        most=most,
        at_end="length" if most == max_new_tokens else "context",
        exact=rules.is_exact(verify),
        chat=chat,
        profile=None if drafter is None else profile,
        steps=asking,
        drafter=drafting,
    )


def begun(target: LanguageModel, drafter: Drafter, prompt: Tokens, **options: Any) -> Steps:
    """`steps`, from empty caches: not before the first round, since another text may be under way until then."""
    forget_texts(target, drafter)
    yield from steps(target, drafter, prompt, **options)


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


def chat_settings(prompt: object, date: str | None, template_vars: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a chat is spelt out with, the date settled; nothing for other prompts. Raises BadArgument for those with either."""
    if is_chat(prompt):
        return {"date": as_date(date), "template_vars": dict(template_vars or {})}
    for name, value in (("date", date), ("template_vars", template_vars)):
        if value is not None:
            raise BadArgument(f"{name} has no effect without messages; give the prompt as a list of them, or leave it out")
    return {}


def prompt_ids(
    model: Model | LanguageModel,
    prompt: str | Sequence[int] | Messages,
    *,
    date: str | None = None,
    template_vars: Mapping[str, Any] | None = None,
) -> Tokens:
    """The prompt in the model's tokens. Raises BadArgument for an empty one, and for a text where there is no tokenizer."""
    if isinstance(prompt, str) and not prompt:
        tokens: Tokens = ()  # a tokenizer may add a begin token, but an empty prompt is refused all the same
    elif not (isinstance(prompt, str) or is_chat(prompt)):
        tokens = as_ids(prompt)
    elif (tokenizer := optional(model, "tokenizer")) is None:
        raise BadArgument(f"{named(model)} has no tokenizer.json; give the prompt as token ids")
    else:  # a template spells a chat out whole, and `encode` puts nothing around it
        text = prompt if isinstance(prompt, str) else tokenizer.chat(prompt, date=date, template_vars=template_vars)
        tokens = tokenizer.encode(text)
    if not tokens:
        raise BadArgument("the prompt is empty; give at least one token of text")
    check_ids(tokens, model.vocab_size)
    return tokens
