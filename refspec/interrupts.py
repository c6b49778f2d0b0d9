"""Ctrl-C while a program is not in its `main` yet, or no longer: it ends at once, as a shell expects, and shows no traceback.

Importing takes the first quarter of a second, in which nothing could be told anyway. Where refspec is imported as a library,
nothing changes. Imported before all else, and importing nothing that takes time.
"""

import signal
import sys


def is_program(words: list[str]) -> bool:
    """Whether an interpreter that was started with these words is one of ours, and not another program that imports refspec.

    >>> from refspec.interrupts import is_program
    >>> is_program(["python", "-m", "refspec", "demo"]), is_program(["python", "/usr/bin/refspec"]), is_program(["python"])
    (True, True, False)
    """
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1] in ("refspec", "weights_tools")
    return any(each.replace("\\", "/").rpartition("/")[2].removesuffix(".exe") == "refspec" for each in words[1:2])


class Heard:
    """Inside, Ctrl-C raises KeyboardInterrupt as usual.

    >>> from refspec.interrupts import Heard
    >>> with Heard():
    ...     "shown as far as it came"
    'shown as far as it came'
    """

    def __enter__(self) -> None:
        if QUIET:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        if QUIET:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


# `nohup` and `&` of a shell may have it ignored; then it stays so
QUIET = is_program(sys.orig_argv) and signal.getsignal(signal.SIGINT) is signal.default_int_handler
if QUIET:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
