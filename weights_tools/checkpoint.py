"""A checkpoint that is either the old one or the new one, never half of each, whenever the process dies."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from refspec.errors import BadArgument, BadWeights

MAY_DIFFER = ("steps", "rounds", "patience")  # how far to go may change on the way


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path`, flush to the disk, then rename: a rename within one folder is atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".part")
    write(scratch)
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.replace(path)


def save(path: Path, state: dict[str, Any]) -> None:
    replace_atomically(path, lambda scratch: torch.save(state, scratch))


def load(path: Path) -> dict[str, Any] | None:
    """The last checkpoint, or None at the start. `weights_only`: a checkpoint is data, it runs no code."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        try:
            return torch.load(file, weights_only=True)
        except Exception as error:  # what damaged bytes raise is any of half a dozen
            raise BadWeights(f"{path} is damaged; delete it to start the run again") from error


def check_same(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to continue a run as if it had had other settings all along."""
    changed = [key for key, value in now.items() if saved.get(key) != value and key not in MAY_DIFFER]
    if changed:
        raise BadArgument(f"the run to resume has other settings for {', '.join(changed)}: use them, or another --run-folder")
