"""Two builds of refspec side by side: the time of whole passes, of loading and of a prefill, taken in turn.

    python tests/benchmarks/two_builds.py OLD_CHECKOUT NEW_CHECKOUT [--model smollm2-135m] [--turns 9]
    python tests/benchmarks/two_builds.py OLD_CHECKOUT NEW_CHECKOUT --prompts spec_bench.jsonl --limit 4 --new-tokens 64

Each build runs in a process of its own, and one waits while the other works. Medians, and quartiles of the ratio turn by turn.
With --prompts, a file of JSONL with "category" and "prompt" in each line, each prompt is decoded greedily by both, plainly and
with prompt lookup and gamma auto, each build by the profile that it finds.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
def generate(prompt, speculative, new_tokens):
    chat = model.tokenizer.chat([{"role": "user", "content": prompt}])
    ids = model.tokenizer.encode(chat, special=False)
    drafting = {"drafter": refspec.NgramDrafter, "gamma": "auto"} if speculative else {}
    out = refspec.generate(model, ids, temperature=0, max_new_tokens=new_tokens, **drafting)
    return out.stats.tokens_per_second, list(out.tokens)
model.network.forward(tokens, cache)
print(json.dumps({"kernel": blas_kernel(), "threads": blas_threads(), "loaded": loaded}), flush=True)
for line in sys.stdin:
    what, *given = json.loads(line)
    load = lambda: timed(lambda: refspec.load(name))
    answer = {"rows": rows, "prefill": prefill, "load": load, "generate": generate}[what](*given)
    print(json.dumps(answer), flush=True)
"""


class Build:
    def __init__(self, checkout: str, model: str) -> None:
        environment = {**os.environ, "PYTHONPATH": checkout}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", WORKER, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = json.loads(self.process.stdout.readline())

    def ask(self, what: str, *given: Any) -> Any:
        self.process.stdin.write(json.dumps([what, *given]) + "\n")
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
    parser.add_argument("--prompts")
    parser.add_argument("--limit", type=int, help="prompts a category")
    parser.add_argument("--new-tokens", type=int, default=64)
    asked = parser.parse_args()
    builds = [Build(asked.old, asked.model), Build(asked.new, asked.model)]
    print(processor(), *(f"{each.about['kernel']}, {each.about['threads']} threads" for each in builds[:1]))
    if asked.prompts:
        decoding(builds, asked)
    else:
        passes(builds, asked.turns)


def passes(builds: list[Build], turns: int) -> None:
    print("memory after loading twice, MB: old {:.0f}, new {:.0f}".format(*(each.about["loaded"] for each in builds)))
    print(f"{'':>12} {'old, ms':>8} {'new, ms':>8}  new/old (quartiles)")
    for what in [("load",), *(("rows", n) for n in ROWS), ("prefill", 128), ("prefill", 512)]:
        taken: list[tuple[float, float]] = []
        for _ in range(turns if what[-1] != 512 else 5):
            pair = []
            for build in builds:
                time.sleep(PAUSE)
                if what[0] == "rows":
                    build.ask(*what)  # the first after a pause wakes things up
                pair.append(build.ask(*what))
            taken.append((pair[0], pair[1]))
        old, new = (statistics.median(column) for column in zip(*taken, strict=True))
        low, middle, high = statistics.quantiles([b / a for a, b in taken], n=4)
        print(f"{' '.join(map(str, what)):>12} {old:8.1f} {new:8.1f}  {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


def decoding(builds: list[Build], asked: argparse.Namespace) -> None:
    ways = [
        (build, speculative) for speculative in (False, True) for build in builds
    ]  # old and new plainly, old and new drafting
    found: dict[str, list[list[float]]] = {}
    same = 0
    lines = [json.loads(line) for line in Path(asked.prompts).read_text(encoding="utf-8").splitlines()]
    for line in lines:
        speeds = found.setdefault(line["category"], [])
        if len(speeds) == asked.limit:
            continue
        answers: list[Any] = [None] * len(ways)
        for i in list(range(len(ways)))[:: 1 if len(speeds) % 2 else -1]:
            time.sleep(PAUSE)
            answers[i] = ways[i][0].ask("generate", line["prompt"], ways[i][1], asked.new_tokens)
        speeds.append([speed for speed, _ in answers])
        same += all(tokens == answers[0][1] for _, tokens in answers)
    print(f"{'category':<16}{'prompts':>8}  tokens/s: plain, old and new; drafted, old and new   drafted: new/old  new/plain")
    for category, speeds in found.items():
        means = [statistics.geometric_mean(column) for column in zip(*speeds, strict=True)]
        print(
            f"{category:<16}{len(speeds):>8}  " + "".join(f"{each:>9.1f}" for each in means),
            f"{means[3] / means[2]:>25.2f}{means[3] / means[1]:>11.2f}",
        )
    everything = list(itertools.chain(*found.values()))
    old, new, old_drafted, new_drafted = (statistics.geometric_mean(column) for column in zip(*everything, strict=True))
    print(f"geometric means: plain, new/old {new / old:.2f}; drafted, new/old {new_drafted / old_drafted:.2f}")
    print(f"drafted/plain: old {old_drafted / old:.2f}, new {new_drafted / new:.2f}")
    print(f"{same} of {len(everything)} prompts got equal tokens all four times")


if __name__ == "__main__":
    main()
