"""Decoding as a conversation: whoever needs rows asks for them, and whoever drives it answers.

The loop, and a drafter that has a model, are generators (PEP 342): each yields a `Question` and is sent the rows. So the same
lines serve one text, whose questions are answered as they come (`answered`, `at_once`), and many, whose questions are collected
and answered in one pass (`batch.py`). Nobody waits in a thread.
"""

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from refspec.arrays import Array
from refspec.decoding.lm import LanguageModel, Tokens

Result = TypeVar("Result")
Asking = Generator["Question", Array, Result]  # what asks for rows on its way to a result


class Question(NamedTuple):
    """What `language_model.probs(tokens, last)` would answer. judges: a round is judged by it, and not only drafted.

    >>> import refspec
    >>> from refspec.decoding.question import Question
    >>> Question(refspec.TableLM({(): [0.5, 0.5]}), (0, 1)).answer().tolist()
    [[0.5, 0.5]]
    """

    language_model: LanguageModel
    tokens: Tokens
    last: int = 1
    judges: bool = False

    def answer(self) -> Array:
        return self.language_model.probs(self.tokens, last=self.last)


def answered(steps: Generator[Any, Any, Result]) -> Generator[Any, None, Result]:
    """All that `steps` yields but its questions, each of which is answered at once.

    >>> from refspec.decoding.question import answered
    >>> list(answered(word for word in ("no", "question")))
    ['no', 'question']
    """
    rows: Array | None = None
    while True:
        try:
            found = steps.send(rows)
        except StopIteration as end:
            return end.value
        if isinstance(found, Question):
            rows = found.answer()
        else:
            rows = None
            yield found


def at_once(asking: Asking[Result]) -> Result:
    """The result, where nothing is yielded but questions.

    >>> import refspec
    >>> from refspec.decoding.question import Question, at_once
    >>> def asking():
    ...     rows = yield Question(refspec.TableLM({(): [0.5, 0.5]}), (0, 1))
    ...     return len(rows)
    >>> at_once(asking())
    1
    """
    try:
        question = next(asking)
        while True:
            question = asking.send(question.answer())
    except StopIteration as end:
        return end.value
