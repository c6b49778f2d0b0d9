"""Draws head-acceptance.png from what tests/benchmarks/drafts.py measured of the head at three points of its training.

python docs/head_acceptance.py
"""

from pathlib import Path

import matplotlib.pyplot as plt

# millions of tokens learned from, with repetitions; acceptance at the first and second place, and their 95 % intervals
POINTS = {
    "first guess": [(0.525, 0.314, 0.298, 0.330), (0.87, 0.330, 0.314, 0.347)],
    "second guess": [(0.525, 0.349, 0.320, 0.379), (0.87, 0.345, 0.317, 0.375)],
}
UNTRAINED = {"first guess": 0.236, "second guess": 0.210}


def main() -> None:
    figure, axes = plt.subplots(figsize=(6.4, 3.8), facecolor="white")
    for (name, points), colour in zip(POINTS.items(), ("#0072b2", "#d55e00"), strict=True):
        tokens, rates, least, most = zip(*points, strict=True)
        below = [rate - low for rate, low in zip(rates, least, strict=True)]
        above = [high - rate for rate, high in zip(rates, most, strict=True)]
        axes.errorbar(tokens, rates, [below, above], marker="o", capsize=3, color=colour, label=name)
        axes.axhline(UNTRAINED[name], linestyle=":", color=colour)
    axes.text(1.0, UNTRAINED["first guess"] + 0.004, "untrained: a linear map", fontsize=9, ha="right")
    axes.set_xscale("log")
    axes.set_xlim(0.4, 1.05)
    axes.set_xticks([0.5, 0.7, 1.0], ["0.5", "0.7", "1"])
    axes.minorticks_off()
    axes.set_ylim(0.15, 0.42)
    axes.set_xlabel("millions of tokens learned from, log scale")
    axes.set_ylabel("acceptance, greedy")
    axes.set_title("A million tokens of text make a guess right one time in three")
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(Path(__file__).with_name("head-acceptance.png"), dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
