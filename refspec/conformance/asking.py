"""Questions to an engine, each within its limit of time. Whatever comes of one but an answer is told in a finding."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from refspec.conformance.adapter import EngineDied, Skip
from refspec.conformance.casts import of_a_library
from refspec.conformance.findings import Finding
from refspec.conformance.limits import TookTooLong, in_seconds, within
from refspec.errors import RefspecError, refused

Item = TypeVar("Item")

PATIENCE = 600.0  # seconds of an engine that came to nothing, after which nothing more is asked


class Asking:
    """Asks as `asked` does, and remembers: of a check in which the engine ran out of time, or died, no other case is asked.

    limit: seconds for one case; None: it may take any time. engine: its `begin_anew`, if it has one, is called before each case,
    without a limit.

    >>> from refspec.conformance.asking import Asking
    >>> def endless():
    ...     while True:
    ...         pass
    >>> asking = Asking(limit=0.01)
    >>> [asking(endless, "support", case, "exact").status for case in ("one draft", "two drafts")]
    ['errored', 'skipped']
    """

    def __init__(self, limit: float | None = None, engine: Any = None) -> None:
        self.limit, self._ready = limit, getattr(engine, "begin_anew", lambda: None)
        self._lost, self._ended = 0.0, dict[str, str]()

    def __call__(self, ask: Callable[[], Any], check: str, case: str, level: str) -> Any:
        if self._lost > PATIENCE:
            why = f"not asked: the engine has taken {in_seconds(PATIENCE)} for what came to nothing"
            return Finding(check, case, level, "skipped", detail=why)
        if check in self._ended:
            return Finding(check, case, level, "skipped", detail=f"not asked: the engine broke in {self._ended[check]!r}")
        began = time.monotonic()
        found = asked(self._ready, check, case, level) or asked(ask, check, case, level, self.limit)
        if isinstance(found, Finding) and found.ended:
            self._lost += time.monotonic() - began
            self._ended[check] = case
        return found


def shown(cases: Sequence[Item], name: Callable[[Item], str]) -> Iterator[Item]:
    """The same, with a bar on a terminal that names the one that is asked, from the second second on.

    >>> from refspec.conformance.asking import shown
    >>> list(shown(["one draft"], str))
    ['one draft']
    """
    with tqdm(total=len(cases), unit=" cases", delay=1, leave=False, disable=None) as bar:
        for case in cases:
            bar.set_postfix_str(name(case))
            yield case
            bar.update()


def asked(ask: Callable[[], Any], check: str, case: str, level: str, limit: float | None = None) -> Any:
    """What the engine gives, or a Finding where it skips, raises, dies or is cut off after `limit` seconds.

    >>> from refspec.conformance.asking import asked
    >>> asked(lambda: 1 // 0, "support", "one draft", "exact").detail
    'ZeroDivisionError: integer division or modulo by zero (<doctest refspec.conformance.asking.asked[1]>, line 1)'
    """
    try:
        return within(limit, ask)
    except Skip as reason:
        return Finding(check, case, level, "skipped", detail=str(reason))
    except TookTooLong:
        assert limit is not None  # or nothing raises it
        why = f"it took longer than {in_seconds(limit)}, and was cut off; --limit allows more"
        return Finding(check, case, level, "errored", detail=why, ended=True)
    except (Exception, SystemExit) as error:
        return Finding(check, case, level, "errored", detail=told(error), ended=isinstance(error, EngineDied))


def told(error: BaseException) -> str:
    """An error in one line; ours say what was given and what to do, of others the kind and the place tell as much as the text."""
    first = ((refused(error) if isinstance(error, OSError) else str(error)).splitlines() or [""])[0]
    if isinstance(error, RefspecError):
        return first
    every = [(Path(frame.f_code.co_filename), line, frame) for frame, line in traceback.walk_tb(error.__traceback__)]
    engines = [each for each in every if not of_a_library(each[2])] or every
    place = f" ({engines[-1][0].name}, line {engines[-1][1]})" if engines else ""
    return f"{type(error).__name__}{': ' * bool(first)}{first}{place}"
