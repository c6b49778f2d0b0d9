"""Files from elsewhere, read with care: the size is looked at before the bytes, and what is odd is refused in one line.

A name that leads nowhere (a dangling link of a pruned cache) is not an absent file, and a pipe is none that can be read twice.
JSON is read strictly: of two equal keys other programs take the first or the last, and NaN is no number of JSON's.
"""

import json
import math
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from refspec.errors import BadArgument, BadConfig, RefspecError, reason

MIB = 1 << 20
SETTINGS = 4 * MIB  # the most of a file of settings; the largest published ones have about 1 MiB
DEEPEST = 64  # lists and objects inside each other

Kind = type[RefspecError]


def is_there(path: Path, kind: Kind = BadConfig) -> bool:
    """Whether there is anything of this name: also what cannot be read, such as a link that leads nowhere.

    >>> from pathlib import Path
    >>> from refspec.files import is_there
    >>> is_there(Path("no-such-folder") / "config.json")
    False
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise kind(f"{path} cannot be read ({reason(error)})") from None
    return True


def require_regular(path: Path, kind: Kind = BadConfig) -> int:
    """The bytes of a regular file. Raises `kind` for anything else, before a library opens it and waits or fails.

    >>> from pathlib import Path
    >>> from refspec.files import require_regular
    >>> require_regular(Path("."))
    Traceback (most recent call last):
    refspec.errors.BadConfig: . is no regular file; give the file itself
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        leads_nowhere = "; it is a link: fetch again what it leads to" if path.is_symlink() else ""
        raise kind(f"{path} cannot be read ({reason(error)}){leads_nowhere}") from None
    if not stat.S_ISREG(found.st_mode):
        raise kind(f"{path} is no regular file; give the file itself")
    return found.st_size


def read_bytes(path: Path, most: int = SETTINGS, kind: Kind = BadConfig) -> bytes:
    """All of a regular file of at most `most` bytes. Raises `kind` for any other; no more than that is ever read.

    >>> from pathlib import Path
    >>> from refspec.files import read_bytes
    >>> read_bytes(Path("no/such/file"))
    Traceback (most recent call last):
    refspec.errors.BadConfig: no/such/file cannot be read (No such file or directory)
    """
    require_regular(path, kind)
    try:
        with path.open("rb") as file:
            return at_most(file, most, str(path), kind)
    except OSError as error:
        raise kind(f"{path} cannot be read ({reason(error)})") from None


def require_writable(path: Path) -> None:
    """Raises BadArgument where it cannot be written: before the work, not after it, and without a change to what is there.

    >>> from pathlib import Path
    >>> from refspec.files import require_writable
    >>> require_writable(Path("."))
    Traceback (most recent call last):
    refspec.errors.BadArgument: . cannot be written (Is a directory); give a file in a folder that is there
    """
    try:
        there = path.exists() or path.is_symlink()
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except (OSError, ValueError) as error:
        raise BadArgument(f"{path} cannot be written ({reason(error)}); give a file in a folder that is there") from None


def at_most(file: BinaryIO, most: int, name: str, kind: Kind) -> bytes:
    """What is left in `file`, at most `most` bytes of it; name: what a message calls it.

    >>> import io
    >>> from refspec.errors import BadArgument
    >>> from refspec.files import at_most
    >>> at_most(io.BytesIO(b"Hello"), 4, "it", BadArgument)
    Traceback (most recent call last):
    refspec.errors.BadArgument: it is larger than 4 bytes, which is the limit for such a file
    """
    data = file.read(most + 1)
    if len(data) > most:
        raise kind(f"{name} is larger than {in_words(most)}, which is the limit for such a file")
    return data


def read_text(path: Path, most: int = SETTINGS, kind: Kind = BadConfig) -> str:
    """A regular file of at most `most` bytes of UTF-8.

    >>> from pathlib import Path
    >>> import refspec
    >>> from refspec.files import read_text
    >>> read_text(Path(refspec.__file__)).splitlines()[0][3:11]
    'refspec:'
    """
    try:
        return read_bytes(path, most, kind).decode("utf-8")
    except UnicodeDecodeError as error:
        raise kind(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None


def read_json(path: Path, most: int = SETTINGS, kind: Kind = BadConfig) -> dict[str, Any]:
    """The JSON object in a regular file of at most `most` bytes, read strictly.

    >>> from refspec.files import read_json
    >>> from refspec.models import home
    >>> read_json(home.find("tiny-target") / "config.json")["model_type"]
    'gpt2'
    """
    text = read_text(path, most, kind)
    try:
        value = strict_json(text)
    except ValueError as error:
        raise kind(f"{path} is not readable JSON ({error}); fetch it again") from None
    if not isinstance(value, dict):
        raise kind(f"{path} holds a {type(value).__name__} where an object is needed; fetch it again")
    return value


def strict_json(text: str | bytes) -> Any:
    """A value of JSON. Raises ValueError also for a key that stands twice, NaN, a number too large, and nesting beyond DEEPEST.

    >>> from refspec.files import strict_json
    >>> strict_json('{"gamma": 4, "gamma": 5}')
    Traceback (most recent call last):
    ValueError: the key 'gamma' stands twice
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"more than {DEEPEST} lists and objects inside each other") from None
    layer = [value]
    for _ in range(DEEPEST + 1):
        layer = [inner for each in layer for inner in _inside(each)]
    if layer:
        raise ValueError(f"more than {DEEPEST} lists and objects inside each other")
    return value


def in_words(size: int) -> str:
    """
    >>> from refspec.files import in_words
    >>> in_words(4 << 20), in_words(100)
    ('4 MiB', '100 bytes')
    """
    return f"{size // MIB} MiB" if size >= MIB else f"{size} bytes"


def _inside(value: Any) -> Iterable[Any]:
    """The lists and objects that lie directly in a list or an object."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (each for each in held if isinstance(each, (dict, list)))


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twin = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twin[:40]!r} stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")  # Python reads and writes NaN; nobody else does


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):
        raise ValueError(f"{number[:40]} is larger than any float64")
    return value
