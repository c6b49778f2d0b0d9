"""Pictures of the machine: who paid for a round, what attends to what, what the cache holds, and what things cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm

from refspec.arrays import Array
from refspec.decoding.round import Round, role
from refspec.plot.paper import Picture, legend, sheet


def rounds(made: Sequence[Round], *, title: str, dark: bool = False) -> Picture:
    """One column a round, one round a call of the target: what was kept, what the target added, what was drafted in vain.

    >>> import refspec, refspec.plot
    >>> refspec.plot.rounds([refspec.Round(draft_tokens=(5, 6, 7), accepted=2, token=9)], title="Three tokens for one call")
    <Picture: Three tokens for one call>
    """
    figure, (axes,), ink = sheet(title, dark, 3.2)
    roles = [role(each) for each in made]
    kept = np.array([each.accepted for each in made])
    wasted = np.array([each.drafted - each.accepted for each in made])
    places = np.arange(1, len(made) + 1)
    axes.bar(places, kept, color=ink.kept, label="drafted and kept")
    for name, colour, label in (
        ("corrected", ink.left, "the target's correction"),
        ("bonus", ink.p, "the target's bonus"),
        ("plain", ink.faint, "the target's, nothing drafted"),
    ):
        here = np.array([each == name for each in roles])
        if here.any():
            axes.bar(places[here], 1, bottom=kept[here], color=colour, label=label)
    axes.bar(places, -wasted, color=ink.paper, edgecolor=ink.q, hatch="////", label="drafted in vain")
    axes.axhline(0, color=ink.faint, linewidth=1)
    axes.set(xlabel="call of the target", ylabel="tokens", xlim=(0.4, len(made) + 0.6))
    axes.yaxis.set_major_formatter(lambda tokens, _: f"{abs(tokens):g}")  # below the line they count as well
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    legend(figure, axes, ink, 3)
    return Picture(figure)


def attention(weights: Array, words: Sequence[str], *, title: str, dark: bool = False) -> Picture:
    """Who looks at whom, one panel a head: weights [h, n, n], row i the attention of token i. words: the n tokens.

    The colours go by the root of a weight, since most are small.

    >>> import numpy as np
    >>> import refspec.plot
    >>> refspec.plot.attention(np.tri(2)[None] / [[1], [2]], ["to", "be"], title="be looks back")
    <Picture: be looks back>
    """
    figure, panels, ink = sheet(title, dark, 6 / (0.5 + len(weights)) + 1.5, len(weights))
    shown = [word.replace("\n", "↵").replace(" ", "\N{OPEN BOX}") for word in words]
    for i, (axes, head) in enumerate(zip(panels, weights, strict=True)):
        image = axes.imshow(np.where(np.tri(len(words)) > 0, head, np.nan), norm=PowerNorm(0.5, 0, 1), cmap="viridis")
        axes.set_title(f"head {i}" if len(weights) > 1 else "")
        axes.set_xticks(range(len(words)), shown, rotation=90, fontsize=8)
        axes.set_yticks(range(len(words)), shown if i == 0 else [""] * len(words), fontsize=8)
    panels[0].set_ylabel("this token ...")
    figure.supxlabel("... takes from these", color=ink.text, fontsize=10)
    scale = figure.colorbar(image, ax=panels, shrink=0.7)
    scale.ax.tick_params(colors=ink.text, labelsize=8)
    return Picture(figure)


def cache(made: Sequence[Round], prompt: int, *, title: str, dark: bool = False) -> Picture:
    """The rows of the target's cache, a line a round: held, written and kept, written and rewound.

    prompt: tokens before the first round. A round writes a row for the newest token and one for each drafted token; rejected ones
    are rewound.

    >>> import refspec, refspec.plot
    >>> refspec.plot.cache([refspec.Round(draft_tokens=(5, 6, 7), accepted=2, token=9)], prompt=4, title="One row is rewound")
    <Picture: One row is rewound>
    """
    figure, (axes,), ink = sheet(title, dark, 0.9 + 0.3 * (len(made) + 2))
    length = prompt
    for line, each in enumerate(made):
        new = length if line == 0 else 1  # the first call reads the whole prompt
        held, kept, wasted = length - new, new + each.accepted, each.drafted - each.accepted
        for start, width, label, style in (
            (0, held, "held from before", {"color": ink.faint, "alpha": 0.5}),
            (held, kept, "written and kept", {"color": ink.kept}),
            (held + kept, wasted, "written and rewound", {"color": ink.paper, "edgecolor": ink.left, "hatch": "////"}),
        ):
            if width:
                axes.barh(line, width, left=start, height=0.75, label=label, **style)
        length += len(each.tokens)
    axes.set(xlabel="row of the cache = position in the text", ylabel="round")
    axes.set_yticks(range(len(made)), [str(i + 1) for i in range(len(made))])
    axes.invert_yaxis()
    legend(figure, axes, ink)
    return Picture(figure)


def lines(
    found: Mapping[str, Mapping[Any, Any]], *, x: str, y: str, title: str, level: float | None = None, dark: bool = False
) -> Picture:
    """Curves by name, each {x: y}; None is left out. level: a horizontal line to compare with, such as a speed-up of 1.

    >>> import refspec.plot
    >>> refspec.plot.lines({"cost": {1: 1.0, 2: 1.1}}, x="rows", y="v", title="The second row is nearly free")
    <Picture: The second row is nearly free>
    """
    figure, (axes,), ink = sheet(title, dark, 3.4)
    styles = zip(found.items(), ink.lines, "os^Dv", ("-", "--", "-.", ":", "-"), strict=False)
    for (name, curve), colour, marker, dash in styles:
        points = [(at, float(value)) for at, value in curve.items() if value is not None]
        axes.plot(*zip(*points, strict=True), dash, marker=marker, markersize=5, color=colour, label=name)
    if level is not None:
        axes.axhline(level, color=ink.faint, linewidth=1)
    axes.set(xlabel=x, ylabel=y)
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.grid(alpha=0.25)
    if all(isinstance(at, int) for curve in found.values() for at in curve):
        axes.xaxis.get_major_locator().set_params(integer=True)
    legend(figure, axes, ink, 3)
    return Picture(figure)
