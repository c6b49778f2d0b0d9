"""What speculation gains on the pair inside the package, at temperature 1: everything alternates in one process.

    python tests/benchmarks/tiny_pair.py

Each run decodes the same prompts with the same seeds, plainly and with every fixed gamma in turn; a figure is the median
over the runs with its smallest and largest value, a speed-up the ratio of two neighbours in one run. The draft's cost c
and the verification's v(gamma) are in units of one plain step, so that `theory.speed_up` can say what was to be expected.
"""

import argparse
import statistics
import time

import numpy as np

import refspec
from refspec.proof import theory
from refspec.transformer.blas import blas_kernel, blas_threads

PROMPTS = ("ROMEO:\n", "KING RICHARD III:\nNow", "First Citizen:\n", "MENENIUS:\nI tell you, friends,", "JULIET:\nO ")


def decoded(output: refspec.Output) -> float:
    """Seconds a token of decoding alone: the first round is the prefill's."""
    return output.stats.decode_seconds / max(1, output.stats.tokens - len(output.rounds[0].tokens))


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def forward_seconds(model: refspec.Model, rows: int, context: int = 64, times: int = 50) -> float:
    """The median time of one forward pass over `rows` tokens, behind `context` others."""
    cache = model.network.new_cache()
    ids = np.arange(context + rows) % 500 + 256
    model.network.forward(ids[:context], cache)
    taken = []
    for _ in range(times):
        cache.rollback(context)
        started = time.perf_counter()
        model.network.forward(ids[context:], cache, last=rows)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9, help="alternating runs (default: 9)")
    parser.add_argument("--tokens", type=int, default=96, help="new tokens a prompt (default: 96)")
    parser.add_argument("--most", type=int, default=8, help="the greatest gamma (default: 8)")
    parser.add_argument("--target", default="tiny-target")
    parser.add_argument("--draft", default="tiny-draft")
    args = parser.parse_args()

    target, draft = refspec.load(args.target), refspec.load(args.draft)
    gammas = range(args.most + 1)
    seconds: dict[int, list[float]] = {gamma: [] for gamma in gammas}
    counts = {gamma: np.zeros(4, int) for gamma in gammas}  # accepted, tested, tokens, rounds
    steps: dict[str, list[float]] = {name: [] for name in ("c", *map(str, gammas))}
    overlaps: list[float] = []
    for run in range(-1, args.times):  # the first is not counted
        for gamma in gammas:
            outputs = []
            for i, prompt in enumerate(PROMPTS):
                drafter = draft if gamma else None
                seed = 100 * run + 100 + i
                outputs.append(
                    refspec.generate(target, prompt, drafter=drafter, gamma=gamma, max_new_tokens=args.tokens, seed=seed)
                )
            if run >= 0:
                seconds[gamma].append(sum(map(decoded, outputs)) / len(outputs))
                for each in (output.stats for output in outputs):
                    counts[gamma] += (each.accepted, each.tested, each.tokens, each.rounds)
        if run >= 0:
            one = forward_seconds(target, 1)
            steps["c"].append(forward_seconds(draft, 1) / one)
            for gamma in gammas:
                steps[str(gamma)].append(forward_seconds(target, gamma + 1) / one)
        recorded = refspec.generate(
            target, PROMPTS[run % len(PROMPTS)], drafter=draft, gamma=4, max_new_tokens=args.tokens, seed=run + 1, record=True
        )
        for each in recorded.rounds:
            assert each.record is not None
            for i in range(len(each.record.tested)):
                p, q = each.record.target_probs[i], each.record.draft.row(i, like=each.record.target_probs[i])
                overlaps.append(float(np.minimum(p, q).sum()))

    machine = f"numpy {np.__version__}, BLAS kernel {blas_kernel()}, {blas_threads()} threads"
    print(f"{args.target} and {args.draft}, temperature 1, {machine}")
    cost = statistics.median(steps["c"])
    verify = [statistics.median(steps[str(gamma)]) for gamma in gammas]
    print(f"plain decoding {spread([1 / each for each in seconds[0]], 0)} tokens/s")
    print(f"draft cost c = {spread(steps['c'], 3)}; sum min(p, q) over {len(overlaps):,} tested tokens: {np.mean(overlaps):.3f}")
    print("gamma  v(gamma)  accepted/tested  tokens/call  speed-up                 predicted")
    best = (0.0, 0)
    for gamma in gammas[1:]:
        accepted, tested, tokens, rounds = counts[gamma]
        ratios = [plain / mine for plain, mine in zip(seconds[0], seconds[gamma], strict=True)]
        expected = theory.speed_up(accepted / tested, gamma, cost, verify.__getitem__)
        measured = f"{accepted / tested:15.3f}  {tokens / rounds:11.2f}  {spread(ratios, 2):23s}"
        print(f"{gamma:5d}  {verify[gamma]:8.2f}  {measured}  {expected:.2f}")
        best = max(best, (statistics.median(ratios), gamma))
    print(f"best fixed gamma: {best[1]}, {best[0]:.2f} times plain decoding")


if __name__ == "__main__":
    main()
