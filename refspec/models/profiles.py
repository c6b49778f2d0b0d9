"""The costs that `gamma="auto"` goes by on this machine: those that `refspec calibrate` measured here, else the package's own.

A profile in the home folder is found by the conditions it was measured under, and by nothing less: one from another
processor, BLAS kernel, number of threads or model is left alone.
"""

import hashlib
import platform
import re
from functools import cache
from pathlib import Path

import numpy as np

from refspec.brief import counted
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import LanguageModel
from refspec.models import home
from refspec.models.model import Model
from refspec.transformer.blas import blas_kernel, blas_threads, has_no_copy
from refspec.transformer.config import size_of


@cache
def processor() -> str:
    """The processor's name, with what tells apart those that share one: a cloud calls several generations "AMD EPYC"."""
    said: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            said.setdefault(name.strip(), value.strip())
    except OSError:  # no Linux
        pass
    name = said.get("model name") or platform.processor() or platform.machine() or "unknown processor"
    parts = ("cpu family", "family"), ("model", "model"), ("CPU part", "part")
    return " ".join([name, *(f"{word} {said[key]}" for key, word in parts if key in said)])


def conditions(model: Model) -> str:
    """What costs depend on: the model and how it was loaded, the processor, the BLAS kernel and its threads."""
    threads = counted(count, "thread") if (count := blas_threads()) else "unknown threads"
    network = model.network
    mode = ["row-invariant"] * network.row_invariant + ["float64"] * (network.dtype == np.float64)
    return ", ".join([model.name, size_of(model.config), *mode, processor(), threads, f"BLAS kernel {blas_kernel()}"])


def path_of(model: Model) -> Path:
    """Where the profile for this model and machine is, or would be."""
    key = conditions(model)
    name = re.sub(r"[^\w.-]+", "-", model.name)[:80]
    return home.home() / "profiles" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.json"


def profile_for(model: Model | LanguageModel) -> Profile:
    """The one measured here, or the package's own for this kind of kernel. Raises BadProfile for a damaged file."""
    if isinstance(model, Model) and (path := path_of(model)).is_file():
        found = Profile.load(path)
        if found.about == conditions(model):  # the name is a digest, and files get copied
            return found
    return Profile.embedded(few_rows_are_cheap=has_no_copy(blas_kernel()))
