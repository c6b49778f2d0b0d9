"""Hugging Face transformers on the same weights and prompts, in the same process: the extra `peers`.

It gets what makes it fast: inference mode, all of its threads, float32 as here, a cache, and the faster of two attentions.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from refspec.bench.clock import Spread, alternate, geometric_mean
from refspec.bench.passes import ids
from refspec.bench.race import Decoded, Runner
from refspec.bench.results import by_category, pick, rate, speed
from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument

LOOKUP_TOKENS = 10  # what the documentation of transformers recommends


@dataclass(frozen=True)
class Peer:
    """attention: the faster one. eager_ms, sdpa_ms: a token of short decoding with either."""

    transformers: str
    torch: str
    threads: int
    attention: str
    eager_ms: Spread
    sdpa_ms: Spread


@dataclass(frozen=True)
class Comparison:
    """ours over theirs, in decoded tokens a second: by category, their geometric mean, the smallest and the largest.

    tokens_per_second: theirs, over all prompts. identical: prompts where both printed the same tokens; None if drawn.
    """

    ours: str
    theirs: str
    tokens_per_second: float | None
    categories: dict[str, float | None]
    times: float | None
    least: float | None
    most: float | None
    identical: int | None


class Stamps:
    """A streamer of transformers: when the prompt and each step's tokens came, and how many."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def put(self, tokens: Any) -> None:
        self.seen.append((time.perf_counter(), tokens.numel()))

    def end(self) -> None:
        pass


def require() -> None:
    if missing := [name for name in ("torch", "transformers") if find_spec(name) is None]:
        raise BadArgument(f"--against transformers needs {' and '.join(missing)}; run: pip install '.[peers]'")


def peers(
    folder: Path, draft: Path | None, end_tokens: Tokens, *, temperature: float, max_new_tokens: int, times: int
) -> tuple[Peer, dict[str, Runner]]:
    """The loaded peer, and its ways of decoding by name: plain, prompt lookup, and assisted where there is a draft model."""
    import torch

    transformers: Any = import_module("transformers")  # typed in part, which is worse than not at all
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

    def loaded(path: Path) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    model, assistant = loaded(folder), None if draft is None else loaded(draft)
    common: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "eos_token_id": list(end_tokens) or None,
        "pad_token_id": end_tokens[0] if end_tokens else 0,
        "do_sample": temperature > 0,
    }
    if temperature > 0:
        common |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}

    def runner(**options: Any) -> Runner:
        @torch.inference_mode()
        def run(prompt: Tokens, seed: int) -> Decoded:
            torch.manual_seed(seed)
            stamps, given = Stamps(), torch.tensor([prompt])
            started = time.perf_counter()
            out = model.generate(given, attention_mask=torch.ones_like(given), streamer=stamps, **(common | options))
            _, (first, _), *later = stamps.seen  # the prompt, what the prefill gave, and the steps
            last = later[-1][0] if later else first
            decoded = sum(count for _, count in later)
            return Decoded(tuple(out[0, len(prompt) :].tolist()), decoded, first - started, last - first)

        return run

    runners = {"plain": runner(), "prompt lookup": runner(prompt_lookup_num_tokens=LOOKUP_TOKENS)}
    if assistant is not None:
        runners["assisted"] = runner(assistant_model=assistant)

    def short(attention: str) -> float:
        model.set_attn_implementation(attention)
        found = runner(min_new_tokens=9, max_new_tokens=9)(ids(64, model.config.vocab_size), 0)
        return 1e3 * found.decode_seconds / found.decoded

    taken = alternate({name: partial(short, name) for name in ("eager", "sdpa")}, times, "transformers")
    eager, sdpa = Spread.of(taken["eager"]), Spread.of(taken["sdpa"])
    faster = "eager" if eager.median < sdpa.median else "sdpa"
    model.set_attn_implementation(faster)
    return Peer(transformers.__version__, torch.__version__, torch.get_num_threads(), faster, eager, sdpa), runners


def comparison(
    names: tuple[str, str],
    prompts: Sequence[tuple[str, Tokens]],
    ours: Sequence[Decoded],
    theirs: Sequence[Decoded],
    greedy: bool,
) -> Comparison:
    """names: ours and theirs."""
    found = {category: speed(pick(ours, chosen), pick(theirs, chosen)).times for category, chosen in by_category(prompts).items()}
    there = [each for each in found.values() if each is not None]
    same = sum(a.tokens == b.tokens for a, b in zip(ours, theirs, strict=True)) if greedy else None
    return Comparison(
        *names, rate(theirs), found, geometric_mean(there), min(there, default=None), max(there, default=None), same
    )
