"""Bugs of the loop: where text ends, what is compared at the door, which uniform goes where."""

from typing import Any

from mutants.planting import patched, planted
from refspec.conformance.bugs.uniforms import SharesDraftNoise
from refspec.decoding import loop
from refspec.decoding.round import up_to

MUTANTS, plant = planted("loop")
CUT = "up_to_stop(draft, verdict, stop)"
VERIFY = "verdict = judge(draft, target_probs, chance)"


def patched_loop(name: str, what: str, source: str, *changes: tuple[str, str]) -> None:
    plant(name, what, source, rounds=patched("refspec.decoding.loop", *changes).rounds)


patched_loop(
    "stop-at-round-end-only",
    "a stop token inside a round is overlooked",
    "transformers #47912",
    (CUT, "up_to_stop(draft, verdict, ())"),
)
patched_loop(
    "length-hides-stop",
    "the round that fills max_new_tokens is not searched for a stop token",
    "sglang #31599",
    (CUT, "up_to_stop(draft, verdict, () if len(tokens) + verdict.accepted + 1 >= end else stop)"),
)
patched_loop(
    "overshoots-the-length",
    "the last round is as long as any other",
    "koboldcpp #1276",
    ("min(gamma, end - len(tokens) - 1)", "gamma"),
)
plant(
    "overshoots-by-accepted",
    "the last round is as long as any other, and only its own token is left out: up to gamma - 1 too many",
    "several",
    rounds=patched(
        "refspec.decoding.loop",
        ("min(gamma, end - len(tokens) - 1)", "gamma"),
        (CUT, f"{CUT}\n        emitted = up_to(emitted, emitted.accepted - (emitted.accepted == verdict.accepted >= end - len(tokens)))"),
        up_to=up_to,
    ).rounds,
)
patched_loop(
    "empty-draft-draws",
    "an empty draft still consumes a uniform",
    "vllm-ascend #13608",
    (VERIFY, f"if not draft.tokens:\n            chance.accept(1, 1)\n        {VERIFY}"),
)
by_size = patched(
    "refspec.decoding.checks",
    ("require_same_vocabulary(target, language_model)", "assert target.vocab_size == language_model.vocab_size"),
)
plant(
    "vocabularies-by-size",
    "vocabularies are compared by size alone",
    "sglang #24051",
    rounds=patched("refspec.decoding.loop", checks=by_size).rounds,
)
patched_loop(
    "bonus-forgotten",
    "the round's own token is shown and not kept: the next round starts without it",
    "several",
    ("tokens += emitted.tokens", "tokens += emitted.tokens[:-1] if emitted.accepted else emitted.tokens"),
)


def with_draft_noise_reused(target: Any, drafter: Any, prompt: Any, *, chance: Any, **options: Any) -> Any:
    both = SharesDraftNoise(drafter, chance, only_refused=True)
    return loop.rounds(target, both, prompt, chance=both, **options)


plant(
    "draft-noise-reused",
    "the noise that drew the refused token also draws its replacement",
    "vllm #54282",
    rounds=with_draft_noise_reused,
)


def with_draws_shared(target: Any, drafter: Any, prompt: Any, *, chance: Any, **options: Any) -> Any:
    both = SharesDraftNoise(drafter, chance)
    return loop.rounds(target, both, prompt, chance=both, **options)


plant("draft-and-target-share-draws", "draft and target draw from one seed each, the same", "several", rounds=with_draws_shared)
