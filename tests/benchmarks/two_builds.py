"""Two builds of refspec side by side: the time of whole passes, of loading and of a prefill, taken in turn.

    python tests/benchmarks/two_builds.py OLD_CHECKOUT NEW_CHECKOUT [--model smollm2-135m] [--turns 9]

Each build runs in a process of its own, and one waits while the other works. Medians, and quartiles of the ratio turn by turn.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROWS = (1, 2, 3, 4, 5, 6, 8, 12, 16)
PAUSE = 0.05  # seconds, so that the threads of the other build's BLAS have gone to sleep

WORKER = """
import json, resource, sys, time
import numpy as np, refspec
from refspec.transformer.blas import blas_kernel, blas_threads
def timed(call):
    started = time.perf_counter(); call(); return 1000 * (time.perf_counter() - started)
name = sys.argv[1]
first = timed(lambda: refspec.load(name))
model = refspec.load(name)
loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
cache, tokens = model.network.new_cache(), np.arange(2, 2 + 128)
def rows(n, past=128):
    cache.rollback(past)
    return timed(lambda: model.network.forward(tokens[:n], cache, last=n))
def prefill(n):
    fresh = model.network.new_cache()
    return timed(lambda: model.network.forward(np.arange(2, 2 + n), fresh))
model.network.forward(tokens, cache)
print(json.dumps({"kernel": blas_kernel(), "threads": blas_threads(), "loaded": loaded}), flush=True)
for line in sys.stdin:
    what, n = json.loads(line)
    answer = {"rows": rows, "prefill": prefill, "load": lambda n: timed(lambda: refspec.load(name))}[what](n)
    print(json.dumps(answer), flush=True)
"""


class Build:
    def __init__(self, checkout: str, model: str) -> None:
        environment = {**os.environ, "PYTHONPATH": checkout}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", WORKER, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = json.loads(self.process.stdout.readline())

    def ask(self, what: str, n: int) -> float:
        self.process.stdin.write(json.dumps([what, n]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def processor() -> str:
    found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else "unknown processor"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--turns", type=int, default=9)
    asked = parser.parse_args()
    builds = [Build(asked.old, asked.model), Build(asked.new, asked.model)]
    print(processor(), *(f"{each.about['kernel']}, {each.about['threads']} threads" for each in builds[:1]))
    print("memory after loading twice, MB: old {:.0f}, new {:.0f}".format(*(each.about["loaded"] for each in builds)))
    print(f"{'':>12} {'old, ms':>8} {'new, ms':>8}  new/old (quartiles)")
    for what, n in [("load", 0), *(("rows", n) for n in ROWS), ("prefill", 128), ("prefill", 512)]:
        turns: list[tuple[float, float]] = []
        for _ in range(asked.turns if n < 512 else 5):
            pair = []
            for build in builds:
                time.sleep(PAUSE)
                if what == "rows":
                    build.ask(what, n)  # the first after a pause wakes things up
                pair.append(build.ask(what, n))
            turns.append((pair[0], pair[1]))
        old, new = (statistics.median(column) for column in zip(*turns, strict=True))
        low, middle, high = statistics.quantiles([b / a for a, b in turns], n=4)
        print(f"{what:>8} {n or '':>3} {old:8.1f} {new:8.1f}  {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
