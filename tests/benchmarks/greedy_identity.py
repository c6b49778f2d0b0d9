"""Does greedy speculation print the same token ids as greedy decoding? On real weights, prompt by prompt, gamma 1 to 10.

    python -m weights_tools fetch smollm2-135m
    python tests/benchmarks/greedy_identity.py --prompts prompts.jsonl     # objects with "prompt", such as Spec-Bench's

The law is exact whatever this prints; equal bits hold only as far as the forward pass gives a row the same numbers
whoever its neighbours are. So beside the verdict stands the smallest margin between the two best logits on any greedy
path: a near-tie is where another order of additions could show.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import refspec


def margins(model: refspec.Model, prompt: tuple[int, ...], generated: tuple[int, ...]) -> np.ndarray:
    """Best minus second-best logit at every generated token."""
    logits = model.logits((*prompt, *generated))[len(prompt) - 1 : -1]
    best_two = np.partition(logits, -2, axis=-1)[:, -2:]
    return best_two[:, 1] - best_two[:, 0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, required=True, help='JSONL with a "prompt" in each line')
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--count", type=int, default=20, help="how many prompts, spread over the file (default: 20)")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--gammas", type=int, nargs="*", default=list(range(1, 11)))
    args = parser.parse_args()

    model = refspec.load(args.model)
    prompts = [json.loads(line)["prompt"] for line in args.prompts.read_text(encoding="utf-8").splitlines()]
    chosen = [prompts[i * len(prompts) // args.count] for i in range(args.count)]
    different = 0
    smallest = float("inf")
    for i, prompt in enumerate(chosen):
        plain = refspec.generate(model, prompt, temperature=0, max_new_tokens=args.tokens, stop=())
        near = margins(model, plain.prompt_tokens, plain.tokens)
        smallest = min(smallest, float(near.min()))
        verdicts = []
        for gamma in args.gammas:
            out = refspec.generate(
                model, prompt, drafter=refspec.NgramDrafter(), gamma=gamma, temperature=0, max_new_tokens=args.tokens, stop=()
            )
            if out.tokens != plain.tokens:
                at = next(k for k, (a, b) in enumerate(zip(out.tokens, plain.tokens, strict=True)) if a != b)
                verdicts.append(f"gamma {gamma} differs at token {at}, margin {near[at]:.2g}")
        different += bool(verdicts)
        print(
            f"{i + 1:3d}  {len(plain.prompt_tokens):4d} + {len(plain.tokens)} tokens, smallest margin {near.min():.2g}: "
            f"{'; '.join(verdicts) or 'identical'}",
            flush=True,
        )
    print(f"{len(chosen) - different} of {len(chosen)} prompts identical at gamma {args.gammas}; smallest margin {smallest:.2g}")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
