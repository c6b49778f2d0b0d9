"""Pictures of distributions: rows side by side, the staircase a number is dropped on, guess and check, and whole texts."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding.lm import Tokens
from refspec.plot.paper import Picture, fraction, legend, sheet

Row = Sequence[Any] | Array


def bars(rows: Mapping[str, Row], *, names: Sequence[str], title: str, dark: bool = False) -> Picture:
    """Distributions [v] side by side, one panel each. rows: by what stands above the panel. names: of the v tokens.

    >>> import refspec.plot
    >>> refspec.plot.bars({"p": [0.25, 0.75], "q": [0.5, 0.5]}, names="ab", title="Two models")
    <Picture: Two models>
    """
    figure, panels, ink = sheet(title, dark, 2.8, len(rows), sharey=True)
    for axes, (name, row) in zip(panels, rows.items(), strict=True):
        heights = [float(each) for each in row]
        axes.set_title(name)
        axes.bar(list(names), heights, color=ink.p, width=0.7)
        for x, (height, exact) in enumerate(zip(heights, row, strict=True)):
            axes.text(x, height + 0.02, fraction(exact), ha="center", color=ink.text, fontsize=9)
        axes.set_ylim(0, 1.12)
    panels[0].set_ylabel("probability")
    return Picture(figure)


def staircase(row: Row, *, names: Sequence[str], uniforms: Sequence[float] = (), title: str, dark: bool = False) -> Picture:
    """Sampling: the cumulative sum of a row [v], and where each number between 0 and 1 lands on it (N3).

    >>> import refspec.plot
    >>> refspec.plot.staircase([0.25, 0.75], names="ab", uniforms=[0.4], title="0.4 lands on b")
    <Picture: 0.4 lands on b>
    """
    figure, (axes,), ink = sheet(title, dark, 3.2)
    ends = np.cumsum([float(each) for each in row])
    starts = np.concatenate([[0], ends[:-1]])
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axes.bar(i, end - start, bottom=start, width=1, color=ink.p, alpha=0.35 + 0.25 * (i % 2), edgecolor=ink.paper)
    for u in uniforms:
        token = int(np.searchsorted(ends, u * ends[-1], side="right"))
        axes.annotate(
            "",
            (token - 0.5, u),
            (-0.9, u),
            arrowprops={"arrowstyle": "->", "color": ink.left, "linewidth": 1.6},
            annotation_clip=False,
        )
        axes.plot(token, u, "o", color=ink.left, markersize=7)
        axes.text(token + 0.08, u, f" u = {u:g}", va="center", color=ink.text, fontsize=9)
    axes.set(xlim=(-0.9, len(ends) - 0.4), ylim=(0, 1), ylabel="u, from 0 to 1")
    axes.set_xticks(range(len(ends)), list(names))
    return Picture(figure)


def overlap(
    target_row: Row,
    draft_row: Row,
    *,
    names: Sequence[str],
    title: str | None = None,
    coin: tuple[int, float] | None = None,
    dark: bool = False,
) -> Picture:
    """Guess and check on one page: p, q, min(p, q), the residual, and the coin. Rows are [v].

    Left: the guess lands in q; where it lies under p as well it is kept. Right: what comes out, min(p, q) and the rejected mass
    poured into the residual, is p again. coin: (drafted token, u), drawn as a dart at height u q of its bar: below p it is
    accepted (N2). title: by default the acceptance.

    >>> from fractions import Fraction
    >>> import refspec.plot
    >>> half, quarter = Fraction(1, 2), Fraction(1, 4)
    >>> refspec.plot.overlap([half, half], [quarter, 3 * quarter], names="ab")
    <Picture: p and q share 3/4: that is how often a guess is kept>
    """
    kept = [min(p, q) for p, q in zip(target_row, draft_row, strict=True)]
    left_over = [p - each for p, each in zip(target_row, kept, strict=True)]
    claim = f"p and q share {fraction(sum(kept))}: that is how often a guess is kept"
    figure, (guess, out), ink = sheet(claim if title is None else title, dark, 3.7, 2, sharey=True)
    places = np.arange(len(kept))
    low, p, q, rest = ([float(each) for each in row] for row in (kept, target_row, draft_row, left_over))

    guess.set_title("the guess lands in q")
    guess.bar(places, low, 0.7, color=ink.kept, label="kept: min(p, q)")
    guess.bar(places, np.subtract(q, low), 0.7, bottom=low, color=ink.paper, edgecolor=ink.q, hatch="////", label="rejected")
    guess.hlines(p, places - 0.42, places + 0.42, color=ink.p, linewidth=3, label="p, the target")
    guess.hlines(q, places - 0.35, places + 0.35, color=ink.q, linewidth=3, label="q, the draft")
    if coin is not None:
        token, u = coin
        height = u * q[token]
        verdict = "kept" if p[token] >= q[token] or height < p[token] else "rejected"
        guess.plot(token, height, "o", color=ink.text, markeredgecolor=ink.paper, markersize=10, label=f"the coin: {verdict}")

    out.set_title("what comes out is p")
    out.bar(places, low, 0.7, color=ink.kept)
    out.bar(places, rest, 0.7, bottom=low, color=ink.left, label="the residual: p - min(p, q)")
    out.hlines(p, places - 0.42, places + 0.42, color=ink.p, linewidth=3)
    for x, top in enumerate(p):
        out.text(x, top + 0.02, fraction(target_row[x]), ha="center", va="bottom", color=ink.text, fontsize=9)
    guess.set(ylabel="probability", ylim=(0, max(p + q) * 1.15))
    for axes in (guess, out):
        axes.set_xticks(places, list(names))
    handles, labels = (a + b for a, b in zip(guess.get_legend_handles_labels(), out.get_legend_handles_labels(), strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, labelcolor=ink.text, fontsize=9)
    return Picture(figure)


def texts(
    found: Mapping[Tokens, Any],
    wanted: Mapping[Tokens, Any],
    *,
    names: Sequence[str],
    title: str | None = None,
    dark: bool = False,
) -> Picture:
    """Every text, by the chance it should have and the chance it has: an exact procedure puts all of them on the diagonal.

    found, wanted: {text: probability}. The text that is furthest off is named. title: by default how many texts are off.

    >>> from fractions import Fraction
    >>> import refspec.plot
    >>> half = Fraction(1, 2)
    >>> refspec.plot.texts({(0,): half, (1,): half}, {(0,): half, (1,): half}, names="ab")
    <Picture: All 2 texts have exactly the chance they should have>
    """
    every = sorted(found.keys() | wanted.keys())
    pairs = {text: (wanted.get(text, Fraction(0)), found.get(text, Fraction(0))) for text in every}
    wrong = {text: got - due for text, (due, got) in pairs.items() if got != due}
    right = f"All {len(every)} texts have exactly the chance they should have"
    off = f"{len(wrong)} of {len(every)} texts have the wrong chance"
    figure, (axes,), ink = sheet(title or (off if wrong else right), dark, 3.9)
    most = max(float(each) for pair in pairs.values() for each in pair) * 1.12
    axes.plot([0, most], [0, most], color=ink.faint, linewidth=1, label="as it should be")
    for label, colour, marker, those in (
        ("right", ink.kept, "o", pairs.keys() - wrong.keys()),
        ("wrong", ink.left, "X", wrong.keys()),
    ):
        if those:
            xs, ys = zip(*((float(due), float(got)) for due, got in (pairs[text] for text in those)), strict=True)
            axes.scatter(xs, ys, s=42, color=colour, marker=marker, label=label, zorder=3)
    if wrong:
        worst = max(every, key=lambda text: abs(wrong.get(text, 0)))
        due, got = pairs[worst]
        says = f"{' '.join(names[i] for i in worst)}: {fraction(got)} in place of {fraction(due)}"
        rightwards = float(due) < most / 2
        axes.annotate(
            says,
            (float(due), float(got)),
            (10 if rightwards else -10, 0),
            textcoords="offset points",
            va="center",
            ha="left" if rightwards else "right",
            color=ink.text,
            fontsize=9,
            bbox={"facecolor": ink.paper, "edgecolor": "none", "pad": 1},
        )
    axes.set(xlabel="the chance that the target gives a text", ylabel="the chance it has here", xlim=(0, most), ylim=(0, most))
    legend(figure, axes, ink)
    return Picture(figure)
