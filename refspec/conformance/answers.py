"""What an engine answered, looked at before it is judged: ids and counts as Python's own ints, and one run for each seed.

Whole numbers of any array type are taken. What is none is the adapter's fault, and no deviation of the engine. A whole number
that is no id of the vocabulary is the engine's, and is judged: `impossible` says so in words.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from itertools import islice
from numbers import Integral
from typing import Any, cast

from refspec.brief import short
from refspec.conformance.adapter import Case, Run, Verdict
from refspec.decoding.lm import Tokens
from refspec.errors import RefspecError

A_TEXT = "a text is a list of ids, which are whole numbers"


class BadAnswer(RefspecError):
    """An answer that cannot be judged, since it is no run, no verdict, or holds what is no whole number."""


def as_run(given: Any) -> Run:
    """With Python's own ints.

    >>> import numpy as np
    >>> from refspec.conformance.adapter import Run
    >>> from refspec.conformance.answers import as_run
    >>> as_run(Run(np.array([2, 1]), drafted=np.int64(1)))
    Run(tokens=(2, 1), drafted=1, accepted=None, draws=None)
    >>> as_run(Run([2, 0.5]))
    Traceback (most recent call last):
    ...
    refspec.conformance.answers.BadAnswer: the engine's text has 0.5 at place 1; a text is a list of ids, which are whole numbers
    """
    if not hasattr(given, "tokens"):
        raise BadAnswer(f"the adapter gave {short(given)}; give a Run, with the list of new tokens")
    counts = (_count(name, getattr(given, name, None)) for name in ("drafted", "accepted", "draws"))
    return Run(_ids(given.tokens), *counts)


def as_runs(given: Any, seeds: Sequence[int]) -> list[Run]:
    """
    >>> from refspec.conformance.adapter import Run
    >>> from refspec.conformance.answers import as_runs
    >>> as_runs([Run((1,))], seeds=[0, 1])
    Traceback (most recent call last):
    ...
    refspec.conformance.answers.BadAnswer: the adapter gave 1 runs for 2 seeds; give one for each
    """
    if isinstance(given, (str, bytes, Run)) or not isinstance(given, Iterable):
        raise BadAnswer(f"the adapter gave {short(given)} for {len(seeds)} seeds; give a list of runs, one for each")
    runs = list(islice(given, len(seeds) + 1))
    if len(runs) != len(seeds):
        many = "more" if len(runs) > len(seeds) else len(runs)
        raise BadAnswer(f"the adapter gave {many} runs for {len(seeds)} seeds; give one for each")
    return [as_run(each) for each in runs]


def as_verdict(given: Any) -> Verdict:
    """
    >>> from refspec.conformance.adapter import Verdict
    >>> from refspec.conformance.answers import as_verdict
    >>> as_verdict(Verdict(1, 2))
    Verdict(accepted=1, token=2)
    """
    accepted, token = (_whole(getattr(given, name, None)) for name in ("accepted", "token"))
    if accepted is None or token is None:
        raise BadAnswer(f"the adapter gave {short(given)}; give a Verdict, with accepted and token as whole numbers")
    return Verdict(accepted, token)


def impossible(text: Tokens, case: Case) -> str:
    """Why no engine may give this text, whatever the rows; "" where it may.

    >>> from refspec.conformance.answers import impossible
    >>> from refspec.conformance.cases import CHECKS
    >>> impossible((0, 17), CHECKS["one-round-law"].cases[0])
    'token 17 is no id below 3'
    """
    outside = next((token for token in text if not 0 <= token < case.size), None)
    if outside is not None:
        return f"token {outside} is no id{f' below {case.size}' if outside > 0 else ', since they begin at 0'}"
    end = next((i for i, token in enumerate(text, 1) if token in case.stop), None)
    if len(text) > case.max_new_tokens:
        return f"it has {len(text)} tokens, and {case.max_new_tokens} is the most"
    if end is not None and end < len(text):
        return f"it goes on after the stop token {text[end - 1]}"
    if end is None and len(text) < case.max_new_tokens:
        return f"it has {len(text)} tokens{' and no stop token' if case.stop else ''}, and {case.max_new_tokens} are asked for"
    return ""


def _ids(given: Any) -> Tokens:
    entries = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(entries, (str, bytes, Mapping, Set)) or not isinstance(entries, Collection):
        raise BadAnswer(f"the engine's text is {short(given)}; {A_TEXT}")
    found = tuple(map(_whole, entries))
    for place, (entry, token) in enumerate(zip(entries, found, strict=True)):
        if token is None:
            raise BadAnswer(f"the engine's text has {short(entry)} at place {place}; {A_TEXT}")
    return cast(Tokens, found)


def _count(name: str, given: Any) -> int | None:
    if given is not None and ((count := _whole(given)) is None or count < 0):
        raise BadAnswer(f"the adapter gave {short(given)} for {name}; give a whole number, at least 0, or None")
    return given if given is None else count


def _whole(given: Any) -> int | None:
    """As Python's int; None where it is no whole number."""
    try:
        number = given.item() if hasattr(given, "item") else given
    except (TypeError, ValueError, RuntimeError):  # as array types say that it is more than one number
        return None
    return int(number) if isinstance(number, Integral) and not isinstance(number, bool) else None
