"""How long an engine may take: what loops for ever, or as good as, is cut off, and what comes after it goes on.

An alarm of the operating system raises `TookTooLong` in whatever Python code runs then: an engine's, since what is left half
done by the kit itself is not interrupted. It is no Exception, which an engine may catch; where one catches even that, it comes
again, and a result that is given after it does not count.

Not covered: code in C, a kernel say, that does not return to Python; Windows, which has no such alarm; any thread but the main
one. An engine behind a command is ended together with its process, wherever it is.
"""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

from refspec.numeric import number

Result = TypeVar("Result")

LIMIT = 120.0  # seconds for one case
AGAIN = 1.0  # seconds after which it is raised again
HERE = str(Path(__file__).parent)
WHOLE = frozenset(("drawing_from", "led_here", "_started", "_end"))  # functions of the kit that put something into place, or back


class TookTooLong(BaseException):
    """What is raised in an engine that is out of time."""


def within(seconds: float | None, ask: Callable[[], Result]) -> Result:
    """What `ask` gives. Raises TookTooLong after so many seconds, where that can be done; None: it may take any time.

    A handler of SIGALRM, and a timer, that were there before are there again afterwards. A timer that ends sooner is left alone.

    >>> from refspec.conformance.limits import TookTooLong, within
    >>> def engine():
    ...     while True:
    ...         pass
    >>> try:
    ...     within(0.01, engine)
    ... except TookTooLong:
    ...     print("cut off")
    cut off
    """
    if seconds is None or not _can_ring() or 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= seconds:
        return ask()
    alarm, began = _Alarm(), time.monotonic()
    former, waiting = signal.signal(signal.SIGALRM, alarm.ring), signal.getitimer(signal.ITIMER_REAL)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, min(seconds, AGAIN))
        found = ask()
    except (Exception, SystemExit):
        if alarm.rang:  # which the engine made something else of
            raise TookTooLong from None
        raise
    finally:
        alarm.off = True  # no call before it: handlers run at calls and loops, and it cannot ring in between
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        if waiting[0]:
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, waiting[0] - (time.monotonic() - began)), waiting[1])
    if alarm.rang:
        raise TookTooLong
    return found


def require_limit(limit: float | None) -> None:
    """Raises BadArgument unless it is a number of seconds, or None."""
    if limit is not None:
        number("limit", limit, lambda seconds: 0 < seconds < 1e6, "a number of seconds above 0")


def _can_ring() -> bool:
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None  # None: put there by C


class _Alarm:
    """rang: whether it did. off: it is to do nothing any more."""

    def __init__(self) -> None:
        self.rang = self.off = False

    def ring(self, _: int, frame: FrameType | None) -> None:
        if self.off or _whole(frame):
            return
        self.rang = True
        raise TookTooLong


def _whole(frame: FrameType | None) -> bool:
    """Whether the code that runs is, or was called by, a function of the kit that is not to be left half way."""
    while frame is not None:
        if frame.f_code.co_name in WHOLE and frame.f_code.co_filename.startswith(HERE):
            return True
        frame = frame.f_back
    return False


def in_seconds(limit: float) -> str:
    """
    >>> from refspec.conformance.limits import in_seconds
    >>> in_seconds(120.0), in_seconds(1)
    ('120 seconds', '1 second')
    """
    return f"{limit:g} second{'' if limit == 1 else 's'}"
