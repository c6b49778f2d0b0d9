"""Draws head-acceptance.png: the training log of the head in the package, and what tests/benchmarks/drafts.py says of heads.

python docs/head_acceptance.py
"""

import csv
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).parent

# trained to a learning rate of zero; on all 92 prompts, 64 tokens each.
# Millions of tokens, acceptance at the first place, 95 % interval
FINISHED = [(0.87, 0.312, 0.300, 0.324), (4.65, 0.377, 0.365, 0.390), (11.9, 0.421, 0.408, 0.434), (17.0, 0.458, 0.445, 0.472)]
UNTRAINED = 0.236  # on 52 of them


def main() -> None:
    with (HERE / "head-training.csv").open(encoding="utf-8") as file:
        runs = [list(rows) for _, rows in groupby(csv.DictReader(file), key=lambda row: row["run"])]
    figure, axes = plt.subplots(figsize=(6.4, 3.8), facecolor="white")
    for column, colour, name in (
        ("acceptance", "#0072b2", "first guess, held-out text of the target's own"),
        ("acceptance_2", "#d55e00", "second guess, the same"),
    ):
        for run, style, more in zip(runs, ("-", "--", ":"), ("", "; trained further", "; again, on twice the text"), strict=True):
            tokens, rates = ([float(row[key]) for row in run] for key in ("million_tokens", column))
            label = name + more if column == "acceptance" or not more else None
            axes.plot(tokens, rates, style, color=colour, label=label)
    at, rates, least, most = zip(*FINISHED, strict=True)
    below = [rate - low for rate, low in zip(rates, least, strict=True)]
    above = [high - rate for rate, high in zip(rates, most, strict=True)]
    axes.errorbar(at, rates, [below, above], fmt="o", capsize=3, color="black", label="first guess, Spec-Bench, finished heads")
    axes.axhline(UNTRAINED, linestyle=":", color="black")
    axes.text(20, UNTRAINED - 0.02, "first guess, Spec-Bench, untrained: a linear map", fontsize=8, ha="right")
    axes.set_xscale("log")
    axes.set_xlim(0.1, 22)
    axes.set_xticks([0.1, 0.3, 1, 3, 10, 20], ["0.1", "0.3", "1", "3", "10", "20"])
    axes.minorticks_off()
    axes.set_ylim(0.15, 0.8)
    axes.set_xlabel("millions of tokens learned from, log scale")
    axes.set_ylabel("acceptance, greedy")
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    figure.savefig(HERE / "head-acceptance.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
