"""A checkpoint that is either the old one or the new one, never half of each, whenever the process dies."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from refspec.errors import BadArgument, BadWeights, reason
from refspec.files import is_there, require_regular
from weights_tools.errors import CannotWrite

MAY_DIFFER = ("steps", "rounds", "patience")  # how far to go may change on the way


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path`, flush to the disk, then rename: a rename within one folder is atomic. What fails leaves nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".part")
    try:
        write(scratch)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    except MemoryError:
        raise
    except Exception as error:  # each library has its own for a full disk; PyTorch's hides the one that it came from
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise CannotWrite(f"{path} cannot be written ({reason(cause)}); what was there before is kept") from error
    finally:
        scratch.unlink(missing_ok=True)


def save(path: Path, state: dict[str, Any]) -> None:
    def write(scratch: Path) -> None:
        with scratch.open("wb") as file:
            torch.save(state, file)

    replace_atomically(path, write)


def load(path: Path) -> dict[str, Any] | None:
    """The last checkpoint, or None at the start. `weights_only`: a checkpoint is data, it runs no code."""
    if not is_there(path, BadWeights):
        return None
    require_regular(path, BadWeights)
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch writes a checksum of each part, and looks at none
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(damaged)
        with path.open("rb") as file:
            return torch.load(file, weights_only=True)
    except Exception as error:  # what damaged bytes raise is any of half a dozen
        raise BadWeights(f"{path} is damaged; delete it to start the run again") from error


def check_same(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to continue a run as if it had had other settings all along."""
    changed = [key for key, value in now.items() if saved.get(key) != value and key not in MAY_DIFFER]
    if changed:
        raise BadArgument(f"the run to resume has other settings for {', '.join(changed)}: use them, or another --run-folder")
