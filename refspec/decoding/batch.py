"""Many texts at once: the driver that collects their questions, and answers those of one network in one pass.

Continuous batching (Orca: Yu et al., OSDI 2022): a text joins as soon as there is a place, and leaves when it ends; nobody waits
for the longest. Each text is the same coroutine as alone (`loop.steps`), with a chance and a drafter of its own, and gets back
the rows that it asked for. So it has the law that it has alone, whoever is beside it, and all together have the product.

Drafts are answered before targets: the target's pass, the dear one, starts when every text waits for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from refspec.arrays import Array
from refspec.decoding.lm import LanguageModel
from refspec.decoding.loop import Steps
from refspec.decoding.optional import optional, says
from refspec.decoding.question import Question
from refspec.decoding.round import Round
from refspec.errors import RefspecError, attempted

ROWS = 256  # in a pass, from which on the next question waits: many long prompts at once would only keep each other waiting


class Waiting(NamedTuple):
    """The text of this number waits for an answer."""

    number: int
    steps: Steps
    question: Question


Came = Iterator[tuple[int, Round | RefspecError | None]]


def together(texts: Iterable[Steps], max_batch: int) -> Came:
    """(number, what came) of many texts, as it comes: a round; or, at the end of a text, None or the error that ended it.

    texts: the next one is taken when it can join. max_batch: how many are under way at once. A text may be closed between its
    rounds; it then leaves.

    >>> import refspec
    >>> from refspec.decoding.batch import together
    >>> from refspec.decoding.loop import steps
    >>> coin = refspec.TableLM({(): [0.5, 0.5]})
    >>> asked = [steps(coin, refspec.ModelDrafter(coin), (), gamma=1, max_new_tokens=n, chance=refspec.Seeded(n)) for n in (1, 2)]
    >>> [(number, came and came.pass_rows) for number, came in together(asked, max_batch=2)]
    [(0, 3), (0, None), (1, 3), (1, None)]
    """
    line = enumerate(texts)
    waiting: list[Waiting] = []

    def go_on(number: int, steps: Steps, answer: Array | RefspecError | None, rows: int = 0) -> Came:
        """Up to its next question."""
        try:
            found = steps.throw(answer) if isinstance(answer, RefspecError) else steps.send(answer)
            while isinstance(found, Round):
                yield number, replace(found, pass_rows=rows)
                found = steps.send(None)
            waiting.append(Waiting(number, steps, found))
        except StopIteration:
            yield number, None
        except RefspecError as error:
            yield number, error

    while True:
        while len(waiting) < max_batch and (joining := next(line, None)):
            yield from go_on(*joining, None)
        if not waiting:
            return
        asked, waiting[:] = next_pass(waiting)
        rows = sum(new_rows(each.question) for each in asked)
        for each, answer in zip(asked, answers([each.question for each in asked]), strict=True):
            yield from go_on(each.number, each.steps, answer, rows)


def next_pass(waiting: Sequence[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
    """(who is answered now, who waits on): drafts first; in the order in which they asked, as long as there is room."""
    drafts = any(not each.question.judges for each in waiting)
    now: list[Waiting] = []
    later: list[Waiting] = []
    rows, models = 0, set()
    for each in waiting:
        model, more = each.question.language_model, new_rows(each.question)
        taken = id(model) in models and has_passes(model)  # its cache is at one text at a time
        if (drafts and each.question.judges) or taken or (now and rows + more > ROWS):
            later.append(each)
        else:
            now.append(each)
            models.add(id(model))
            rows += more
    return now, later


def answers(questions: Sequence[Question]) -> list[Array | RefspecError]:
    """The rows of each, or what is wrong with it; those of one network from one pass."""
    found: dict[int, Array | RefspecError] = {}
    of_network: dict[int, list[int]] = {}
    for i, question in enumerate(questions):
        if has_passes(question.language_model):
            of_network.setdefault(id(optional(question.language_model, "network")), []).append(i)
        else:
            found[i] = attempted(question.answer)
    for numbers in of_network.values():
        asked = [(questions[i].language_model, questions[i].tokens, questions[i].last) for i in numbers]
        found |= zip(numbers, optional(asked[0][0], "together")(asked), strict=True)
    return [found[i] for i in range(len(questions))]


def has_passes(model: LanguageModel) -> bool:
    """Whether it can share one with others of its network."""
    return says(model, "together", beside="probs")


def new_rows(question: Question) -> int:
    """How many rows a pass has for it; of a model that does not tell, those that are looked at."""
    count = optional(question.language_model, "new_rows") if has_passes(question.language_model) else None
    return count(question.tokens, question.last) if count else question.last
