"""How good each kind of draft is for a target: acceptance by position, at every token of the target's own greedy answers.

    python tests/benchmarks/drafts.py --prompts spec_bench.jsonl [--model smollm2-135m] [--limit 4] [--drafts NAME ...]

--prompts: JSONL with "category" and "prompt". A draft is asked at every position of every answer, as if a round began there, and
what it guesses is compared with what came; a guess that is missing is wrong. So this is a property of the draft, whatever gamma
auto would make of it; `refspec bench --draft NAME` measures the speed. Acceptance at position i is of those whose guesses
before it were right; the interval is Wilson's at 95 %. tokens/call: what a round would yield with the first four.
"""

import argparse
from collections import defaultdict
from itertools import takewhile
from typing import Any

import numpy as np
from tqdm import tqdm

import refspec
from refspec.bench import prompts
from refspec.bench.results import wilson
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.models.drafts import load_draft
from refspec.models.sampling import Sampling

DEPTHS, A_CALL = 5, 4


class Known:
    """A target that has read a text: what a head asks it."""

    def __init__(self, model: refspec.Model, tokens: tuple[int, ...]) -> None:
        lm = model.language_model(temperature=0)
        lm.features(())
        lm.probs(tokens)
        self.network, self.name, self.rows = model.network, model.name, model.config.vocab_size
        self.vocab_size, self.sampling = model.vocab_size, Sampling(temperature=0)
        self._features = lm.features(tokens)

    def features(self, tokens: tuple[int, ...]) -> Any:
        return self._features[: len(tokens) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--prompts", default=None)
    parser.add_argument("--limit", type=int, help="prompts a category")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--drafts", nargs="+", default=["ngram", "smollm2-table", "smollm2-head", "auto"])
    options = parser.parse_args()
    model = refspec.load(options.model)
    given = prompts.read(options.prompts, options.limit)
    texts = prompts.encode(model, given, chat=True, new_tokens=options.new_tokens, leave_out=True)
    reached: dict[str, Any] = defaultdict(lambda: np.zeros(DEPTHS, int))
    right: dict[str, Any] = defaultdict(lambda: np.zeros(DEPTHS, int))
    by_category: dict[tuple[str, str], list[int]] = defaultdict(list)
    for category, prompt in tqdm(texts, desc="prompts"):
        out = refspec.generate(model, prompt, max_new_tokens=options.new_tokens, temperature=0, stop=model.chat_end_tokens)
        text = tuple(prompt) + out.tokens
        target = Known(model, text)
        for name in options.drafts:
            drafter = NgramDrafter() if name == "ngram" else load_draft(name)(target)  # type: ignore[operator]
            for start in range(len(prompt), len(text)):
                guesses = drafter.propose(text[:start], DEPTHS, refspec.Seeded(0)).tokens
                came = text[start : start + DEPTHS]
                good = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(guesses, came, strict=False)))
                reached[name][: min(good + 1, len(came))] += 1
                right[name][:good] += 1
                by_category[name, category].append(min(good, A_CALL) + 1)
    answers = len(by_category[options.drafts[0], texts[0][0]]) and sum(
        len(each) for (name, _), each in by_category.items() if name == options.drafts[0]
    )
    print(f"{options.model}: {len(texts)} prompts, {answers} answer tokens, greedy")
    print("| draft | " + " | ".join(f"at {i + 1}" for i in range(DEPTHS)) + " | tokens/call |")
    print("|---|" + "---|" * (DEPTHS + 1))
    for name in options.drafts:
        cells = []
        for good, tried in zip(right[name], reached[name], strict=True):
            least, most = wilson(int(good), int(tried)) if tried else (0.0, 0.0)
            cells.append(f"{good / tried:.3f} ({least:.3f} to {most:.3f})" if tried else "-")
        a_call = np.mean([each for (whose, _), found in by_category.items() if whose == name for each in found])
        print(f"| {name} | " + " | ".join(cells) + f" | {a_call:.2f} |")
    categories = list(dict.fromkeys(category for category, _ in texts))
    print("\n| tokens/call | " + " | ".join(options.drafts) + " |")
    print("|---|" + "---|" * len(options.drafts))
    for category in categories:
        print(f"| {category} | " + " | ".join(f"{np.mean(by_category[name, category]):.2f}" for name in options.drafts) + " |")


if __name__ == "__main__":
    main()
