"""The README's two examples, a gain and a loss, timed in turn: prompt lookup, plain decoding, and `--gamma auto`.

    python tests/benchmarks/readme.py            # needs SmolLM2: python -m weights_tools fetch smollm2-135m

Prints tokens/s as median (least to most) of nine runs each. Measure on an idle machine.
"""

import re
import shlex
import statistics
from pathlib import Path
from typing import Any

import refspec
from refspec.transformer.blas import blas_kernel, blas_threads

RUNS = 9
WAYS: dict[str, dict[str, Any]] = {
    "--ngram": {"drafter": refspec.NgramDrafter},
    "plain": {},
    "--ngram --gamma auto": {"drafter": refspec.NgramDrafter, "gamma": "auto"},
    "--draft auto --gamma auto": {"drafter": "auto", "gamma": "auto"},
}


def prompts() -> list[str]:
    """What the README says to the model with --chat."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").replace("\\\n    ", "")
    lines = re.findall(r"^    \$ (refspec generate --model smollm2-135m .*)$", text, re.M)
    return [words[words.index("--chat") + 1] for words in map(shlex.split, lines)]


def main() -> None:
    model = refspec.load("smollm2-135m")
    assert model.tokenizer is not None
    print(f"BLAS kernel {blas_kernel()}, {blas_threads()} threads")
    for prompt in prompts():
        ids = model.tokenizer.encode(model.tokenizer.chat([{"role": "user", "content": prompt}]), special=False)
        speeds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(RUNS):
            for way, options in WAYS.items():
                stats = refspec.generate(model, ids, temperature=0, max_new_tokens=64, **options).stats
                speeds[way].append(stats.tokens_per_second or 0.0)
        print(prompt[:50])
        for way, each in speeds.items():
            print(f"  {way:22}{statistics.median(each):6.1f} ({min(each):.1f} to {max(each):.1f})")


if __name__ == "__main__":
    main()
