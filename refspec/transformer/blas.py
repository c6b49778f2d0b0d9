"""Which BLAS NumPy runs on: the name of its kernel, its threads, and who made the processor."""

import ctypes
import platform
from functools import cache
from pathlib import Path
from typing import Any

# OpenBLAS kernels that have the no-copy product for small operands (AVX-512; AMD Zen 4 and later report one of these).
NO_COPY_KERNELS = ("skylakex", "cooperlake", "sapphirerapids")


def has_no_copy(kernel: str) -> bool:
    return kernel.lower() in NO_COPY_KERNELS


@cache
def made_by_amd() -> bool:
    """Whether the processor is one of AMD's, as Linux says, or else Python."""
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        said = platform.processor()
    return "AuthenticAMD" in said


def blas_kernel() -> str:
    """The name of the kernel that NumPy's OpenBLAS runs, such as "SkylakeX" or "Haswell"; "unknown" for another BLAS."""
    return ask().decode() if (ask := _function("get_corename", ctypes.c_char_p)) else "unknown"


def blas_threads() -> int | None:
    """How many threads NumPy's OpenBLAS uses; None for another BLAS."""
    return ask() if (ask := _function("get_num_threads", ctypes.c_int)) else None


@cache
def _function(name: str, result: Any) -> Any:
    """A function of the OpenBLAS inside NumPy's wheel, whose names carry a prefix and a suffix; None without it."""
    from numpy.linalg import _umath_linalg

    try:
        library = ctypes.CDLL(_umath_linalg.__file__)  # it is linked against that BLAS, so its handle finds the name
        function = getattr(library, f"scipy_openblas_{name}64_")
    except (OSError, AttributeError):
        return None
    function.restype = result
    return function
