"""The named exceptions: each says what was given, what is allowed and what to do.

Everything a user can get wrong ends in a `RefspecError` of one line. Code catches the family with
`except refspec.RefspecError`; the command line prints the line and exits with 2.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

LONGEST = 380  # characters of a message: with a program's name before it, five lines of a terminal


def one_line(message: str) -> str:
    """A message as it can be shown: what is not printable is spelt out, and of a long one the middle is left out.

    A name from a damaged file may hold line breaks, terminal codes or lone surrogates, and be megabytes long.

    >>> from refspec.errors import one_line
    >>> one_line("red is \\033[31m"), len(one_line("x" * 1_000_000))
    ('red is \\\\x1b[31m', 380)
    """
    if len(message) > LONGEST:  # before it is spelt out, which takes time and room
        message = f"{message[:LONGEST]} ... {message[-LONGEST:]}"
    message = "".join(each if each.isprintable() else repr(each)[1:-1] for each in message)
    if len(message) <= LONGEST:
        return message
    end = LONGEST // 3  # what to do about it stands at the end
    return f"{message[: LONGEST - end - 5]} ... {message[-end:]}"


class RefspecError(Exception):
    """What every error that refspec raises on purpose is. Its message is one printable line (`one_line`)."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class BadArgument(RefspecError, ValueError):
    """An option or argument outside its range: gamma < 0, top_p > 1, an empty prompt."""


class ModelNotFound(RefspecError, FileNotFoundError):
    """No folder of that name, or a folder that lacks a file a model needs."""


class BadConfig(RefspecError):
    """`config.json` cannot be read, or lacks or contradicts what a model needs."""


class UnsupportedModel(RefspecError):
    """`config.json` asks for mathematics that refspec does not implement."""


class BadWeights(RefspecError):
    """Weights that are damaged, misshaped, missing, superfluous or in a format that refspec does not read."""


class BadProfile(RefspecError):
    """A file of costs that cannot be read, or costs that are none."""


class BadTokenizer(RefspecError):
    """A tokenizer or chat template that cannot be read or used."""


class ContextExceeded(RefspecError):
    """More tokens than the model has positions for."""


class VocabularyMismatch(RefspecError):
    """Target and draft map tokens to different ids (N12)."""


class BrokenDrafter(RefspecError):
    """A drafter broke its contract: more tokens than asked, or one its own distribution calls impossible (N2)."""


class BrokenRule(RefspecError):
    """A verification rule answered with a verdict that is none."""


class BadProbabilities(RefspecError):
    """A row that is no distribution: negative, NaN, or without any mass to pick from."""


class CacheRange(RefspecError, IndexError):
    """A rollback or write outside what the cache holds (N10)."""


class EnumerationLimit(RefspecError):
    """A program has more branches, or longer ones, than the enumeration was allowed to follow."""


class CannotMerge(RefspecError):
    """`sequence_law` cannot tell that equal texts go on equally; `law` follows each path to its end."""


class TapeExhausted(RefspecError):
    """A `Tape` was asked for more numbers than were written on it."""


def reason(error: BaseException) -> str:
    """Why it failed, in its own words: where the system refused, without its number.

    >>> from refspec.errors import reason
    >>> reason(FileNotFoundError(2, "No such file or directory", "a.txt"))
    'No such file or directory'
    """
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def refused(error: OSError) -> str:
    """An error of the system that nobody was there to word: which file it was about, and why.

    >>> from refspec.errors import refused
    >>> refused(FileNotFoundError(2, "No such file or directory", "a.txt")), refused(OSError(28, "No space left on device"))
    ('a.txt: No such file or directory', 'No space left on device')
    """
    names = [str(each) for each in (error.filename, error.filename2) if isinstance(each, (str, bytes, Path))]
    return f"{' and '.join(names)}{': ' * bool(names)}{reason(error)}"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """What to put into a message behind a misspelt or unfinished name: the nearest known one, or nothing where none is near.

    >>> from refspec.errors import did_you_mean
    >>> did_you_mean("tiny-traget", ["tiny-target", "tiny-draft"]), did_you_mean("gpt5", ["tiny-target"])
    (' (did you mean tiny-target?)', '')
    """
    known = list(known)
    near = [each for each in known if given and each.startswith(given)] or get_close_matches(given, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def attempted(call: Callable[..., Result], *given: Any) -> Result | RefspecError:
    """What it returns, or the error of ours that it raises.

    >>> from refspec.errors import attempted
    >>> from refspec.numeric import whole
    >>> attempted(len, "three"), attempted(whole, "seed", -1, 0)
    (5, BadArgument('seed is -1; it is a whole number, at least 0'))
    """
    try:
        return call(*given)
    except RefspecError as error:
        return error
