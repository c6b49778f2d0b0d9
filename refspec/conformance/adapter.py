"""What an engine implements to be tested: a `Dialect` that says what it can, and one method for each way in.

Uniforms in: `replay` for whole texts, or `verify` for one round's rows (a kernel). The replay level asks for exact tokens.
Draws that can be answered: `answered`, which says when a round has ended where it can. The exact level gets its law.
Only a seed: `sampled`. The sampled level sees its law as far as samples tell.

An engine in Python that draws from a NumPy-like generator needs none of this written out: `ByGenerator` has all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from refspec.arrays import Array
from refspec.brief import short
from refspec.conformance.taped import TapedGenerator
from refspec.decoding.chance import seeded_generator
from refspec.decoding.lm import TableLM, Tokens
from refspec.errors import BadArgument, RefspecError
from refspec.models.sampling import Sampling

LEVELS = ("replay", "exact", "sampled")  # the highest first


PLAIN = Sampling()
CHOICES = {
    "uniforms_in": ("", "texts", "rounds", "tests"),
    "warps": ("temperature", "top_k", "top_p", "min_p", "repetition_penalty"),
    "ties": ("lowest", "highest", "open"),
    "kv_dtype": ("float64", "float32", "float16", "bfloat16"),
}


class Skip(RefspecError):
    """What an adapter raises for a case that its engine cannot be given, with the reason."""


class EngineDied(RefspecError):
    """The engine's process ended, hung or does not speak the protocol: nothing more can be asked of it."""


@dataclass(frozen=True)
class Dialect:
    """What an engine can be asked for, and its conventions where SPEC.md leaves them open.

    uniforms_in: "texts" (`replay`), "rounds" (`verify`), "tests" (`verify`, but what is picked is drawn otherwise), or "".
    draws_intercepted: `answered`; round_by_round: and `answered` calls `round_ended` after each round. seeds_in: `sampled`.
    tables: it takes any table of rows; else only the fixtures, as folders of weights.
    warps: the sampling options that it applies, in its order; repetition_penalty is a logits processor. ties: which of equal
    logits temperature 0 takes, "lowest", "highest" or "open". top_k_ties: top-k keeps all that tie with the k-th value, as
    Hugging Face's does. one_hot_q: a draft model's token counts as a point mass (slower, and right). block: a later drafted
    token can decide on an earlier one. lossy: it does not claim the target's law.
    batched: `Case.batch` may hold other prompts. padded: rows may be longer than there are tokens (`Case.vocab_size`).
    kv_dtype: the coarsest number type on the way to a row. stops, prompts: whether it takes stop tokens, and prompts of more
    than one token. merge_from: texts of so many new tokens are followed round by round, where equal ones merge; fewer for an
    engine that draws what it throws away.

    >>> from refspec.conformance.adapter import Dialect
    >>> Dialect("mine", draws_intercepted=True, seeds_in=True).levels
    ('exact', 'sampled')
    """

    name: str
    version: str = ""
    uniforms_in: str = ""
    draws_intercepted: bool = False
    round_by_round: bool = False
    seeds_in: bool = False
    tables: bool = True
    warps: tuple[str, ...] = ()
    ties: str = "lowest"
    top_k_ties: bool = False
    one_hot_q: bool = False
    block: bool = False
    lossy: bool = False
    batched: bool = False
    kv_dtype: str = "float64"
    padded: bool = False
    stops: bool = True
    prompts: bool = True
    merge_from: int = 5

    def __post_init__(self) -> None:
        for each in fields(self):
            given, kind = getattr(self, each.name), type(each.default) if each.name != "name" else str
            if type(given) is not kind:
                raise BadArgument(f"a dialect's {each.name} is {short(given)}; it is a {kind.__name__}")
        for name, allowed in CHOICES.items():
            given = getattr(self, name)
            if wrong := [each for each in (given if isinstance(given, tuple) else (given,)) if each not in allowed]:
                raise BadArgument(f"a dialect's {name} is {wrong[0]!r}; it is one of {', '.join(map(repr, allowed))}")

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that it can be tested at, the highest first."""
        ways = (self.uniforms_in, self.draws_intercepted, self.seeds_in)
        return tuple(level for level, way in zip(LEVELS, ways, strict=True) if way)

    @property
    def methods(self) -> dict[str, str]:
        """The method that each level asks for."""
        asked = ("replay" if self.uniforms_in == "texts" else "verify", "answered", "sampled")
        return {level: method for level, method in zip(LEVELS, asked, strict=True) if level in self.levels}

    @property
    def seeds_only(self) -> bool:
        return self.levels == ("sampled",)


@dataclass(frozen=True)
class Case:
    """What to decode: two tables of float64 rows, a prompt of at least one token, and the options.

    sampling: warps, of target and draft alike; a row's logits are the logs of its probabilities. repetition_penalty: as in
    transformers, of every token of the whole text: a logit below zero is multiplied by it. vocab_size: ids from here on only
    pad the rows and are no tokens (None: there are none). batch: prompts of other rows beside; the answer is that of `prompt`.
    folders: target and draft as weights in the Hugging Face layout, of which the tables are the exact rows.

    >>> import refspec
    >>> from refspec.conformance.adapter import Case
    >>> coin = refspec.TableLM({(): [0.5, 0.5]})
    >>> Case("coin", coin, coin, gamma=1, max_new_tokens=2, prompt=(0,)).stop
    ()
    """

    name: str
    target: TableLM
    draft: TableLM
    gamma: int
    max_new_tokens: int
    prompt: Tokens
    stop: Tokens = ()
    sampling: Sampling = PLAIN
    repetition_penalty: float = 1.0
    vocab_size: int | None = None
    batch: tuple[Tokens, ...] = ()
    folders: tuple[Path, Path] | None = None

    @property
    def size(self) -> int:
        """How many ids are tokens."""
        return self.target.vocab_size if self.vocab_size is None else self.vocab_size


@dataclass(frozen=True)
class Run:
    """The new tokens, without the prompt; how many were drafted in all rounds together, and how many of those were accepted.

    drafted is None where the engine does not say, and then nothing tells that its draft was used. draws: how many uniforms it
    took, where it says.

    >>> from refspec.conformance.adapter import Run
    >>> Run((0, 1), drafted=1, accepted=1).tokens
    (0, 1)
    """

    tokens: Tokens
    drafted: int | None = None
    accepted: int | None = None
    draws: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What a kernel made of one round: how many drafted tokens stay, and the token after them."""

    accepted: int
    token: int


class Engine(Protocol):
    """An engine. Beside its dialect it has the methods of `Texts`, `Kernel`, `Answered`, `Sampled` that the dialect promises."""

    @property
    def dialect(self) -> Dialect: ...


class Texts(Engine, Protocol):
    def replay(self, case: Case, uniforms: Sequence[float]) -> Run:
        """The text of these uniforms, which are read in the order of N5; more than enough are given."""
        ...


class Kernel(Engine, Protocol):
    def verify(self, tokens: Tokens, draft_probs: Array, target_probs: Array, accept: Sequence[float], pick: float) -> Verdict:
        """One round. tokens: n drafted ones; draft_probs [n, v]; target_probs [n + 1, v]; accept: n uniforms, one a test;
        pick: that of the token after them."""
        ...


class Answered(Engine, Protocol):
    def answered(self, case: Case, generator: Any) -> Run:
        """One run whose every draw comes from `generator` (an `answered.AnsweredGenerator`), which answers along a branch."""
        ...


class Sampled(Engine, Protocol):
    def sampled(self, case: Case, seeds: Sequence[int]) -> Sequence[Run]:
        """One run for each seed, independent of each other."""
        ...


@dataclass(frozen=True)
class ByGenerator:
    """An engine made of a function (case, generator) -> Run, which draws by `random()` and `choice(n, p=...)` alone.

    The same function is replayed, answered along every branch, and run from seeds.

    >>> from refspec.conformance.adapter import ByGenerator, Dialect, Run
    >>> def plain(case, generator):
    ...     tokens = case.prompt
    ...     for _ in range(case.max_new_tokens):
    ...         tokens += (int(generator.choice(case.size, p=case.target.probs(tokens)[0])),)
    ...     return Run(tokens[len(case.prompt) :], drafted=0, accepted=0)
    >>> ByGenerator(plain, Dialect("plain", draws_intercepted=True, seeds_in=True)).dialect.levels
    ('exact', 'sampled')
    """

    run: Callable[[Case, Any], Run]
    dialect: Dialect

    def replay(self, case: Case, uniforms: Sequence[float]) -> Run:
        tape = TapedGenerator(uniforms)
        run = self.run(case, tape)
        return Run(run.tokens, run.drafted, run.accepted, tape.position)

    def answered(self, case: Case, generator: Any) -> Run:
        return self.run(case, generator)

    def sampled(self, case: Case, seeds: Sequence[int]) -> Sequence[Run]:
        return [self.run(case, seeded_generator(seed)) for seed in seeds]


def round_ended(generator: Any, run: Run) -> None:
    """What `answered` calls after each round, with all that there is so far: from there on, equal texts are followed once.

    Without it a long text has more branches than can be followed. Of a generator that draws it asks nothing.

    >>> from refspec.conformance.adapter import Run, round_ended
    >>> from refspec.conformance.taped import TapedGenerator
    >>> round_ended(TapedGenerator([0.5]), Run((0, 1), drafted=1, accepted=1))
    """
    getattr(generator, "round_ended", _nothing)(run)


def _nothing(run: Run) -> None: ...
