"""A checkpoint that is either the old one or the new one, never half of each, whenever the process dies."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from refspec.errors import BadArgument, BadWeights, reason
from refspec.files import is_there, require_regular
from weights_tools.errors import CannotWrite

ANOTHER = "begin another with a new --out and --run-folder"
NAMED = ("out", "target")  # of what a run is of, what people know by name; the rest is a fingerprint
MAY_DIFFER = ("steps", "rounds", "patience")  # how far to go may change on the way


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path`, flush to the disk, then rename: a rename within one folder is atomic. What fails leaves nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.unlink(missing_ok=True)
        scratch.touch()
        mode = scratch.stat().st_mode  # as this user's files are; safetensors writes such as only their owner may read
        write(scratch)
        scratch.chmod(mode)
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
        raise BadWeights(f"{path} is damaged, so that this run cannot go on; {ANOTHER}") from error


def check_same(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run as if it had had other settings all along."""
    changed = [key for key, value in now.items() if saved.get(key) != value and key not in MAY_DIFFER]
    if changed:
        raise BadArgument(f"the run to resume has other settings for {', '.join(changed)}: use them, or {ANOTHER}")


def check_same_run(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to continue a run that writes elsewhere, or learns from something else. What an old checkpoint lacks is the same."""
    changed = [what for what, value in now.items() if saved.get(what, value) != value]
    if "texts" in changed:
        further = f"train its head further on these, with --start {saved['out']} and a new --out and --run-folder"
        raise BadArgument(f"the run to resume learned from other texts: give just those, or {further}")
    if changed:
        named = ", ".join(f"{what} ({saved[what]})" if what in NAMED else what for what in changed)
        raise BadArgument(f"the run to resume has other {named}: give the same, or {ANOTHER}")


def fingerprint(parts: Iterable[bytes | str | memoryview]) -> str:
    """The same for the same parts, on any machine."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part)
    return found.hexdigest()
