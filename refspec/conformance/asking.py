"""Questions to an engine, each within its limit of time. Whatever comes of one but an answer is told in a finding."""

import time
from collections.abc import Callable
from typing import Any

from refspec.conformance.adapter import EngineDied, Skip
from refspec.conformance.findings import Finding
from refspec.conformance.limits import TookTooLong, in_seconds, within
from refspec.errors import RefspecError, refused

PATIENCE = 600.0  # seconds of an engine that came to nothing, after which nothing more is asked


class Asking:
    """Asks as `asked` does, and remembers: of a check in which the engine ran out of time, or died, no other case is asked.

    limit: seconds for one case; None: it may take any time.

    >>> from refspec.conformance.asking import Asking
    >>> def endless():
    ...     while True:
    ...         pass
    >>> asking = Asking(limit=0.01)
    >>> [asking(endless, "support", case, "exact").status for case in ("one draft", "two drafts")]
    ['errored', 'skipped']
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self._lost, self._ended = 0.0, dict[str, str]()

    def __call__(self, ask: Callable[[], Any], check: str, case: str, level: str) -> Any:
        if self._lost > PATIENCE:
            why = f"not asked: the engine has taken {in_seconds(PATIENCE)} for what came to nothing"
            return Finding(check, case, level, "skipped", detail=why)
        if check in self._ended:
            return Finding(check, case, level, "skipped", detail=f"not asked: the engine broke in {self._ended[check]!r}")
        began = time.monotonic()
        found = asked(ask, check, case, level, self.limit)
        if isinstance(found, Finding) and found.ended:
            self._lost += time.monotonic() - began
            self._ended[check] = case
        return found


def asked(ask: Callable[[], Any], check: str, case: str, level: str, limit: float | None = None) -> Any:
    """What the engine gives, or a Finding where it skips, raises, dies or is cut off after `limit` seconds.

    >>> from refspec.conformance.asking import asked
    >>> asked(lambda: 1 // 0, "support", "one draft", "exact").detail
    'ZeroDivisionError: integer division or modulo by zero'
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
    """An error in one line; ours say what was given and what to do, of others the kind tells as much as the text."""
    first = ((refused(error) if isinstance(error, OSError) else str(error)).splitlines() or [""])[0]
    return first if isinstance(error, RefspecError) else f"{type(error).__name__}{': ' * bool(first)}{first}"
