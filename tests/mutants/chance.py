"""Bugs of what one uniform decides. Most are seen once in 2**53 draws; the suite counts all of them."""

from mutants.planting import patched, planted

MUTANTS, plant = planted("chance")
ACCEPT = "return bool(p >= q or u * q < p)"
INDEX = 'index = int(np.searchsorted(cumulative, u * total, side="right"))'


def patched_chance(name: str, what: str, source: str, old: str, new: str) -> None:
    changed = patched("refspec.decoding.chance", (old, new))
    plant(name, what, source, accept_at=changed.accept_at, pick_at=changed.pick_at)


patched_chance(
    "u-at-most-p-over-q", "u <= p / q: u = 0 accepts p = 0", "transformers, gpt-fast", ACCEPT, "return bool(u <= p / q)"
)
patched_chance(
    "u-up-to-one",
    "strictly below, with u on (0, 1]: u = 1 rejects p = q",
    "FlashInfer",
    ACCEPT,
    "return bool((u + 2.0**-53) * q < p)",
)
patched_chance(
    "pick-at-the-boundary",
    "u * total at a boundary picks the index before: u = 0 a weight of 0",
    "sglang #35771",
    INDEX,
    INDEX.replace("right", "left"),
)
patched_chance(
    "pick-assumes-normalised",
    "the inverse CDF takes weights as if they summed to one",
    "several",
    INDEX,
    INDEX.replace("u * total", "u"),
)
