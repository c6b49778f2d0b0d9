"""Bugs of the filters: each a misreading of N8 or N7. (A draft shown without its warps is a bug of the drafter.)"""

from mutants.planting import patched, planted

MUTANTS, plant = planted("warps")


def patched_warp(name: str, what: str, *changes: tuple[str, str]) -> None:
    plant(name, what, "N7, N8", warp=patched("refspec.models.sampling", *changes))


patched_warp(
    "top-k-breaks-ties",
    "a tie with the k-th value is dropped",
    ("normalised(row, row >= kth)", "normalised(row, np.argsort(np.argsort(-row, kind='stable'), kind='stable') < k)"),
)
patched_warp(
    "top-p-drops-the-crossing-token",
    "the token that reaches p is dropped",
    ("kept[order] = above < p", "kept[order] = (above + row[order] <= p) | (above == 0)"),
)
patched_warp("top-p-keeps-at-the-boundary", "mass above equal to p still keeps a token", ("above < p", "above <= p"))
patched_warp(
    "top-p-ranks-highest-id-first",
    "equal probabilities rank highest id first",
    ('np.argsort(-row[likely], kind="stable")', 'np.argsort(row[likely], kind="stable")[::-1]'),
)
patched_warp(
    "top-p-ranks-too-few",
    "what is set aside before ranking may still belong to the nucleus",
    ("row > (1 - p) / (2 * len(row))", "(row > 1 - p) | (row == row.max())"),
)
patched_warp(
    "min-p-is-absolute", "p is compared with and not scaled by the maximum", ("row >= p * row.max()", "row >= min(p, row.max())")
)
patched_warp(
    "filters-do-not-renormalise", "what survives keeps its old weight", ("return survivors / survivors.sum()", "return survivors")
)
TOP_K, TOP_P = (f"if self.{name} is not None:\n                row[:] = {name}(row, self.{name})" for name in ("top_k", "top_p"))
BETWEEN = "\n            "
patched_warp(
    "top-p-before-top-k",
    "the filters run in another order",
    (TOP_K + BETWEEN + TOP_P, TOP_P + BETWEEN + TOP_K),
)
patched_warp(
    "greedy-takes-the-last-maximum",
    "temperature 0 breaks ties by the highest id",
    ("logits.argmax(axis=-1)[..., None]", "(logits.shape[-1] - 1 - logits[..., ::-1].argmax(axis=-1))[..., None]"),
)
