"""What is read from a folder for a network: once, until its files change, and kept as long as the network is.

A head is the same for every text, and a command answers many: each asks for a drafter of its own. What is read may hold the
network's arrays, and never the network: nothing would let it go.
"""

import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

Read = TypeVar("Read")

_READ: dict[tuple[Any, Path, int], tuple[Hashable, Any]] = {}


def read_once(load: Callable[[Path, Any], Read], folder: Path, network: Any) -> Read:
    """load(folder, network), or what that was before, where the files in the folder are the same.

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
    key, now = (load, folder.resolve(), id(network)), files_of(folder)
    if key not in _READ or _READ[key][0] != now:
        read = load(folder, network)
        if key not in _READ:
            weakref.finalize(network, _READ.pop, key, None)
        _READ[key] = now, read
    found: Read = _READ[key][1]
    return found


def files_of(folder: Path) -> Hashable:
    """What tells the settings and weights in a folder from others of the same names, without reading them."""
    found = []
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        try:
            file = path.stat()
        except OSError:  # a link that leads nowhere: for `load` to say
            continue
        found.append((path.name, file.st_ino, file.st_size, file.st_mtime_ns))
    return tuple(found)
