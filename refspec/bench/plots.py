"""The pictures: five PNG files. matplotlib is in the extra `plot`, and no window is ever opened."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refspec.bench.clock import Spread
from refspec.bench.parts import Bench
from refspec.bench.users import UsersBench

SIZE = 8.0, 4.8  # inches
DPI = 130


def save(bench: Bench, folder: Path) -> None:
    """Write cost-curve, speed-up, acceptance, context and lookup as PNG."""
    drawings: dict[str, Callable[[Figure, Bench], None]] = {
        "cost-curve": cost_curve,
        "speed-up": speed_up,
        "acceptance": acceptance,
        "context": context,
        "lookup": lookup,
    }
    for name, draw in drawings.items():
        figure = Figure(figsize=SIZE, layout="constrained")
        draw(figure, bench)
        figure.savefig(folder / f"{name}.png", dpi=DPI)


def save_users(bench: UsersBench, folder: Path) -> None:
    """Write users as PNG: what a user waits for a token, against the tokens of all, from few users on the left to many."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    for label, ways in (
        ("plain", [(each.users, each.plain) for each in bench.users]),
        ("with drafts", [(each.users, each.speculative) for each in bench.users]),
    ):
        there = [(users, way.tokens_per_second, 1e3 / way.a_user) for users, way in ways if way.tokens_per_second and way.a_user]
        axes.plot([rate for _, rate, _ in there], [wait for _, _, wait in there], marker="o", label=label)
        for users, rate, wait in there:
            axes.annotate(str(users), (rate, wait), textcoords="offset points", xytext=(6, 6 if label == "plain" else -12))
    drafts = bench.setup.draft or "n-gram lookup"
    axes.set(
        title=f"{bench.setup.model}, drafts by {drafts}, gamma {bench.setup.gamma}: users along the curves",
        xlabel="tokens/s of all users",
        ylabel="milliseconds a token of a user",
    )
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / "users.png", dpi=DPI)


def line(axes: Axes, x: Sequence[int], found: Sequence[Spread], label: str | None = None) -> None:
    """Medians, with bars from the smallest to the largest."""
    middle = [each.median for each in found]
    below = [each.median - each.least for each in found]
    above = [each.most - each.median for each in found]
    axes.errorbar(x, middle, yerr=[below, above], marker="o", markersize=4, capsize=3, label=label)
    axes.grid(alpha=0.3)


def cost_curve(figure: Figure, bench: Bench) -> None:
    figure.suptitle(f"{bench.setup.model}: the cost of several rows in one forward pass")
    in_ms, in_rows = figure.subplots(1, 2)
    for curve in bench.passes.curves:
        rows = [point.rows for point in curve.points]
        label = "row-invariant" if curve.row_invariant else "default"
        line(in_ms, rows, [point.ms for point in curve.points], label)
        line(in_rows, rows, [point.v for point in curve.points], label)
    for axes, unit in ((in_ms, "time, ms"), (in_rows, "v, in units of one row")):
        axes.set(xlabel="rows in the pass", ylabel=unit)
        axes.set_ylim(bottom=0)
        axes.legend()


def speed_up(figure: Figure, bench: Bench) -> None:
    found = [each for each in bench.results.categories if each.speed_up.times is not None]
    places = range(len(found))
    axes = figure.subplots()
    drafts = bench.setup.draft or "n-gram lookup"
    axes.set(title=f"{bench.setup.model}, drafts by {drafts}: speed-up by category", ylabel="speed-up over plain decoding, times")
    axes.bar(
        places, [each.speed_up.times or 0 for each in found], color="tab:blue", label="measured (line: slowest to fastest prompt)"
    )
    least, most = [each.speed_up.slowest or 0 for each in found], [each.speed_up.fastest or 0 for each in found]
    axes.vlines(places, least, most, color="black", linewidth=1.2)
    axes.plot(places, [each.predicted or math.nan for each in found], "D", color="tab:orange", label="predicted")
    if bench.results.bound is not None:
        axes.plot(places, [each.bound or math.nan for each in found], "_", markersize=18, color="tab:red", label="bound")
    axes.axhline(1, color="gray", linewidth=0.8)
    axes.set_xticks(places, [each.category for each in found], rotation=45, ha="right")
    figure.legend(loc="outside lower center", ncols=3)


def acceptance(figure: Figure, bench: Bench) -> None:
    found = bench.results.positions
    axes = figure.subplots()
    axes.set(
        title=f"{bench.setup.model}: acceptance by position in the draft, 95 % Wilson intervals",
        xlabel="position in the draft (tested tokens below)",
        ylabel="accepted share of the tested",
        ylim=(0, 1.05),
    )
    places = [each.position for each in found]
    below = [each.acceptance_rate - each.least for each in found]
    above = [each.most - each.acceptance_rate for each in found]
    axes.errorbar(places, [each.acceptance_rate for each in found], yerr=[below, above], fmt="o", capsize=4)
    axes.set_xticks(places, [f"{each.position}\n({each.tested})" for each in found])
    axes.grid(alpha=0.3)


def context(figure: Figure, bench: Bench) -> None:
    axes = figure.subplots()
    line(axes, [each.context for each in bench.passes.contexts], [each.ms for each in bench.passes.contexts])
    by_length(axes, f"{bench.setup.model}: one decoded token by the length of its context", "time, ms")


def lookup(figure: Figure, bench: Bench) -> None:
    axes = figure.subplots()
    line(axes, [each.context for each in bench.passes.lookups], [each.microseconds for each in bench.passes.lookups])
    by_length(axes, "One n-gram lookup by the length of the text", "time, µs")


def by_length(axes: Axes, title: str, unit: str) -> None:
    axes.set(title=title, xlabel="tokens of context", ylabel=unit)
    axes.set_ylim(bottom=0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
