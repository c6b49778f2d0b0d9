"""Machines by a name: "SkylakeX", "SkylakeX AMD", "Haswell"."""

from typing import Any

import pytest

from refspec.transformer import linear as linear_module


def named(machine: str) -> dict[str, Any]:
    """What `linear` is told."""
    kernel, _, maker = machine.partition(" ")
    return {"kernel": kernel, "amd": maker == "AMD"}


def run_on(machine: str, patch: pytest.MonkeyPatch) -> None:
    """Let the layout be chosen as on that machine."""
    told = named(machine)
    patch.setattr(linear_module, "blas_kernel", lambda: told["kernel"])
    patch.setattr(linear_module, "made_by_amd", lambda: told["amd"])
