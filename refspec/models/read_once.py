"""What is read from a folder for a network: once, and kept as long as the network is.

A head is the same for every text, and a command answers many: each asks for a drafter of its own.
"""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Read = TypeVar("Read")

_READ: dict[tuple[Any, Path, int], Any] = {}


def read_once(load: Callable[[Path, Any], Read], folder: Path, network: Any) -> Read:
    """load(folder, network), or what that was before.

    >>> from pathlib import Path
    >>> import refspec
    >>> from refspec.models.read_once import read_once
    >>> network, reads = refspec.load("tiny-draft").network, []
    >>> def load(folder, network):
    ...     reads.append(folder)
    >>> for text in ("one", "another"):
    ...     read_once(load, Path("."), network)
    >>> len(reads)
    1
    """
    key = load, folder.resolve(), id(network)
    if key not in _READ:
        _READ[key] = load(folder, network)
        weakref.finalize(network, _READ.pop, key, None)
    return _READ[key]
