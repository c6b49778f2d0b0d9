"""Many users at once: texts in, texts out, with the passes of all of them shared."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from refspec.brief import short
from refspec.decoding.batch import together
from refspec.decoding.draft.adaptive import AdaptiveDrafter
from refspec.decoding.draft.company import Company
from refspec.decoding.loop import Steps
from refspec.decoding.stats import stats
from refspec.errors import BadArgument, RefspecError, VocabularyMismatch
from refspec.generate import Output, Run, stream
from refspec.given import AnyDrafter, AnyModel, as_model, own, own_model
from refspec.models.chat import Messages
from refspec.models.drafts import load_draft
from refspec.numeric import whole


def generate_batch(
    model: AnyModel,
    prompts: Iterable[str | Sequence[int] | Messages],
    *,
    drafter: AnyDrafter = None,
    seeds: Iterable[int] | None = None,
    max_batch: int = 8,
    **options: Any,
) -> list[Output]:
    """Continue many prompts, and return the finished generation of each, in order.

    A pass of the model serves all texts that are under way, max_batch at most; as one ends, the next joins. seeds: of each text,
    by default its number. options: those of `stream`, the same for all. Each text has its own chance, cache and drafter (an
    object is copied), so its tokens are those of `generate` with its seed, up to the rounding of sums, and to the bit where the
    model was loaded with row_invariant=True. With gamma="auto", how many tokens are drafted goes by who else is there: above
    temperature 0, the same seed may then give another text of the same distribution.

    What is wrong with one prompt or seed is the `error` of that output, and the others go on. Raises BadArgument for what is
    wrong with all of them, VocabularyMismatch for a drafter of another vocabulary.

    >>> import refspec
    >>> outs = refspec.generate_batch("tiny-target", ["ROMEO:", "", "JULIET:"], drafter="tiny-draft", max_new_tokens=12)
    >>> [len(out.tokens) for out in outs], outs[1].error
    ([12, 0, 12], BadArgument('the prompt is empty; give at least one token of text'))
    """
    whole("max_batch", max_batch, 1, ": how many texts are under way at once")
    if isinstance(prompts, str | bytes) or not isinstance(prompts, Iterable):
        raise BadArgument(f"prompts is {short(prompts)}; give a list of prompts, or one to `generate`")
    prompts = list(prompts)
    numbers = list(range(len(prompts)) if seeds is None else seeds)
    if len(numbers) != len(prompts):
        raise BadArgument(f"there are {len(numbers)} seeds for {len(prompts)} prompts; give one for each, or none")
    if isinstance(options.get("stop"), Iterator):
        options["stop"] = list(options["stop"])  # which every text reads
    model = as_model(model)
    drafter = load_draft(drafter) if isinstance(drafter, str | Path) else drafter
    of_chats = {"date", "template_vars"}  # which a prompt of ids may not have
    start(model, (0,), drafter, 0, {name: value for name, value in options.items() if name not in of_chats})
    begin = [partial(start, model, prompt, drafter, seed, options) for prompt, seed in zip(prompts, numbers, strict=True)]
    found = dict(Batch(begin, max_batch))
    if mismatch := next((out.error for out in found.values() if isinstance(out.error, VocabularyMismatch)), None):
        raise mismatch
    return [found[i] for i in range(len(prompts))]


def start(model: Any, prompt: Any, drafter: AnyDrafter, seed: Any, options: dict[str, Any]) -> Run:
    """A text of its own: no other has its drafter or its cache."""
    return stream(own_model(model), prompt, drafter=own(drafter), seed=seed, **options)


class Batch:
    """Runs under way together: iterate over it for (number, output), as each ends. runs: those that have begun and not ended.

    begin: makes each run, when it can join.

    >>> import refspec
    >>> from refspec.batch import Batch
    >>> begin = [lambda n=n: refspec.stream("tiny-target", "ROMEO:", max_new_tokens=n) for n in (3, 1, 2)]
    >>> [(number, len(output.tokens)) for number, output in Batch(begin, max_batch=2)]
    [(1, 1), (0, 3), (2, 2)]
    """

    def __init__(self, begin: Iterable[Callable[[], Run]], max_batch: int) -> None:
        self.runs: dict[int, Run] = {}
        self._begin = begin
        self._max_batch = max_batch
        self._company = Company() if max_batch > 1 else None
        self._since: dict[int, float] = {}  # the last round, or the beginning

    def __iter__(self) -> Iterator[tuple[int, Output]]:
        for number, came in together((self._steps(i, begin) for i, begin in enumerate(self._begin)), self._max_batch):
            if came is None:
                self.runs[number].end()
                yield number, self._left(number)
            elif isinstance(came, RefspecError):
                yield number, replace(self._left(number), finish_reason="error", error=came)
            else:
                now, run = time.perf_counter(), self.runs[number]
                run.add(came, now - self._since[number])
                self._since[number] = now
                if run.ended and run.steps:
                    run.steps.close()  # at a stop text, of which the loop does not know

    def _steps(self, number: int, begin: Callable[[], Run]) -> Steps:
        """Those of a run that begins with the first of them, so that an error in its beginning is its own."""
        self._since[number] = time.perf_counter()
        run = begin()
        assert run.steps is not None  # as `stream` has it
        self.runs[number] = run
        if self._company and isinstance(run.drafter, AdaptiveDrafter):
            run.drafter.join(self._company)
        yield from run.steps

    def _left(self, number: int) -> Output:
        run = self.runs.pop(number, None)
        if run is None:  # it never began
            return Output(None, (), (), stats((), ()), (), "error")
        if isinstance(run.drafter, AdaptiveDrafter):
            run.drafter.leave()
        return run.output
