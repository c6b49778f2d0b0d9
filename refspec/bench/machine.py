"""What the machine can do at best: how fast it reads memory, and so how fast a token can be made at all.

A decoder reads its weights once a token. The time that takes is the roofline, below which no program gets that reads the
same bytes from memory.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.bench.clock import Spread
from refspec.models.profiles import processor
from refspec.transformer.blas import blas_kernel, blas_threads

MATRIX = 98_304, 1_024  # float32, 403 MB: larger than nearly every last-level cache
SMALL = 64_000_000  # bytes: weights below this may stay in the cache, where the roofline is no bound


@dataclass(frozen=True)
class Machine:
    """kernel: of OpenBLAS; threads: None where NumPy runs on another BLAS."""

    numpy: str
    processor: str
    kernel: str
    threads: int | None

    @classmethod
    def here(cls) -> "Machine":
        return cls(np.__version__, processor(), blas_kernel(), blas_threads())


@dataclass(frozen=True)
class Loading:
    """load_seconds: once, from the disk or from what the system keeps of it. weight_bytes: those one token reads.

    peak_bytes: of the whole process, after loading and the prefill; loading_bytes: by how much loading alone raised that peak.
    None where the system does not tell.
    """

    load_seconds: float
    weight_bytes: int
    peak_bytes: int | None
    loading_bytes: int | None


@dataclass(frozen=True)
class Roofline:
    """gb_per_second: 1e9 bytes, of a matrix-vector product over matrix_bytes. least_ms: weight_bytes over that, a token."""

    gb_per_second: Spread
    matrix_bytes: int
    least_ms: float
    weights_may_stay_in_cache: bool


def reading(*, one_core: bool = False) -> Callable[[], float]:
    """A run that reads MATRIX once, and returns its seconds: NumPy's own product, with all of its threads.

    one_core: the same in products of eight rows, which are too small for BLAS to share out.
    """
    rows, columns = MATRIX
    shape = (rows // 8, 8) if one_core else (rows,)
    matrix, vector = np.ones((*shape, columns), np.float32), np.ones(columns, np.float32)
    out = np.empty(shape, np.float32)

    def run() -> float:
        started = time.perf_counter()
        np.matmul(matrix, vector, out=out)
        return time.perf_counter() - started

    return run


def roofline(seconds: list[float], weight_bytes: int) -> Roofline:
    """seconds: what `reading` took."""
    matrix_bytes = 4 * MATRIX[0] * MATRIX[1]
    rate = Spread.of([matrix_bytes / each / 1e9 for each in seconds])
    return Roofline(rate, matrix_bytes, weight_bytes / rate.median / 1e6, weight_bytes < SMALL)


def weight_bytes(network: Any) -> int:
    """Bytes of weights that one token of a GPT2 or Llama reads: all, except the tables of which it takes a row."""
    read = (getattr(network, each.name) for each in fields(network) if each.name not in ("positions", "embedding"))
    return sum({id(each): each.nbytes for value in read for each in arrays_in(value)}.values())


def arrays_in(value: Any) -> Iterator[Array]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from arrays_in(each)
    elif is_dataclass(value):
        for field in fields(value):
            yield from arrays_in(getattr(value, field.name))


def peak_bytes() -> int | None:
    """The most memory this process has had so far; None on systems without `resource`, such as Windows."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux and the BSDs KiB
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
