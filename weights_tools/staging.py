"""All or nothing: a model folder appears under its name only when every file in it is complete.

Work happens in a hidden sibling, `.<name>.partial-<pid>`, and one rename publishes it; where it replaces an older folder, two.
What stops halfway (an error, Ctrl-C) is removed at once; what is killed is removed by the next fetch, which sees that its
process is gone, and first gives a folder its name that was killed between the two.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weights_tools.outputs import require_folder

PREVIOUS = "previous"
A_DAY = 24 * 60 * 60
_PARTIAL = re.compile(r"\.(.+)\.partial-(\d+)")


@contextmanager
def staged(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (model, scratch): two empty folders. On a clean exit `model` becomes `folder`, replacing any older one, whole.

    A link is followed. Raises BadArgument for a file.
    """
    folder = folder.resolve()
    require_folder("the folder to write", folder, {})
    remove_leftovers(folder.parent)
    partial = folder.parent / f".{folder.name}.partial-{os.getpid()}"
    model, scratch = partial / "model", partial / "scratch"
    try:
        model.mkdir(parents=True)
        scratch.mkdir()
        yield model, scratch
        if folder.exists():
            folder.rename(partial / PREVIOUS)  # a folder cannot be renamed onto one that has files in it
        model.rename(folder)
    finally:
        publish(partial, folder)  # an error or Ctrl-C between the two renames
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, folder: Path) -> None:
    """Do the second rename where only the first was done."""
    if (partial / PREVIOUS).is_dir() and (partial / "model").is_dir() and not folder.exists():
        (partial / "model").rename(folder)


def remove_leftovers(parent: Path) -> None:
    """Delete the partial folders of processes that no longer run, after what they had finished has got its name."""
    for path in parent.glob(".*.partial-*"):
        match = _PARTIAL.fullmatch(path.name)
        if match and not _may_be_running(int(match[2]), path):
            publish(path, parent / match[1])
            shutil.rmtree(path, ignore_errors=True)


def _may_be_running(pid: int, path: Path) -> bool:
    if pid == os.getpid():
        return False  # ours is not there yet: a process that is gone had the same number
    if os.name == "nt":  # there os.kill(pid, 0) ends the process, so go by age
        return time.time() - path.stat().st_mtime < A_DAY
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # someone else's, but it lives
    return True
