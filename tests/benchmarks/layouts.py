"""Both layouts of the weights on this machine, whatever its kernel: a pass through all linear layers of SmolLM2, by rows.

    python tests/benchmarks/layouts.py [--turns 7]         and with one core:  taskset -c 0 python tests/benchmarks/layouts.py

Each layout has a turn, and after it a pause, in which the threads that BLAS used go to sleep. Medians, smallest to largest.
"""

import argparse
import statistics
import time

import numpy as np
from two_builds import PAUSE, processor

from refspec.transformer.blas import blas_kernel, blas_threads
from refspec.transformer.linear import Columns, Panels, Rows, transposed

LAYER = [(960, 576), (576, 576), (3072, 576), (576, 1536)]  # out, in: q, k and v; output; gate and up; down
SHAPES = [*LAYER * 30, (49152, 576)]
ROWS = (1, 2, 3, 4, 5, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    random = np.random.default_rng(0)
    weights = [random.standard_normal(shape, dtype=np.float32) for shape in SHAPES]
    layouts = {
        "file's rows": [Rows(weight) for weight in weights],
        "panels": [Panels.of(weight) for weight in weights],
        "columns": [Columns(transposed(weight), len(weight)) for weight in weights],
    }
    print(f"{processor()}, BLAS kernel {blas_kernel()}, {blas_threads()} threads; milliseconds")
    print(f"{'rows':>4}", *(f"{name:>24}" for name in layouts))
    for n in ROWS:
        x = {width: random.standard_normal((n, width), dtype=np.float32) for width in (576, 1536)}
        taken: dict[str, list[float]] = {name: [] for name in layouts}
        for _ in range(turns):
            for name, products in layouts.items():
                time.sleep(PAUSE)
                for _ in range(2):  # the first wakes things up
                    started = time.perf_counter()
                    for product, (_, width) in zip(products, SHAPES, strict=True):
                        product(x[width])
                    last = 1000 * (time.perf_counter() - started)
                taken[name].append(last)
        spread = (f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in taken.values())
        print(f"{n:>4}", *(f"{each:>24}" for each in spread), flush=True)


if __name__ == "__main__":
    main()
