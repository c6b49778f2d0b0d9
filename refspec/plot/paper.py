"""What all pictures share: the paper, the colours, and how a notebook shows one."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

DPI = 110
WIDTH = 7.6  # inches: what a notebook shows without scaling


@dataclass(frozen=True)
class Ink:
    """The colours on one kind of paper. p and q: the two distributions. kept, left: min(p, q) and the residual."""

    paper: str
    text: str
    faint: str
    p: str
    q: str
    kept: str
    left: str

    @property
    def lines(self) -> tuple[str, ...]:
        return self.p, self.q, self.kept, self.left, self.text


LIGHT = Ink("#ffffff", "#1f2328", "#8c959f", "#0072b2", "#e69f00", "#009e73", "#d55e00")
DARK = Ink("#16181c", "#e6e6e6", "#7d8590", "#56b4e9", "#f0b53d", "#2ac79b", "#ff8a3d")


@dataclass(frozen=True)
class Picture:
    """A finished figure: the last line of a cell shows it.

    >>> import refspec.plot
    >>> picture = refspec.plot.bars({"p": [0.25, 0.75]}, names="ab", title="Two tokens")
    >>> picture._repr_png_()[1:4]
    b'PNG'
    """

    figure: Figure

    def __repr__(self) -> str:
        return f"<Picture: {self.figure.get_suptitle()}>"

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        self._write(page)
        return page.getvalue()

    def save(self, path: str | Path) -> None:
        """Write it; the ending of the name says in which format.

        >>> import refspec.plot, tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "two.svg"
        ...     refspec.plot.bars({"p": [0.25, 0.75]}, names="ab", title="Two tokens").save(path)
        ...     path.read_text(encoding="utf-8")[:5]
        '<?xml'
        """
        self._write(path)

    def _write(self, to: Any) -> None:
        # without the date and the version, which would make equal pictures different files
        with rc_context({"svg.hashsalt": "refspec"}):
            self.figure.savefig(to, dpi=DPI, metadata={"Date": None} if str(to).endswith(".svg") else None)


def sheet(title: str, dark: bool, height: float, columns: int = 1, **options: Any) -> tuple[Figure, list[Any], Ink]:
    """An empty sheet with its claim at the top: the figure, its axes from left to right, and the ink to draw with."""
    ink = DARK if dark else LIGHT
    layout = ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07)
    figure = Figure(figsize=(WIDTH, height), layout=layout, facecolor=ink.paper)
    figure.suptitle(title, color=ink.text, fontsize=12, fontweight="bold")
    all_axes = list(figure.subplots(1, columns, squeeze=False, **options)[0])
    for axes in all_axes:
        axes.set_facecolor(ink.paper)
        axes.tick_params(colors=ink.text, labelsize=9)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(ink.faint)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(ink.text)
            text.set_fontsize(10)
    return figure, all_axes, ink


def legend(figure: Figure, axes: Any, ink: Ink, columns: int = 4) -> None:
    """Below the axes, where it hides nothing; each name once."""
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if named:
        options = {"ncols": columns, "frameon": False, "labelcolor": ink.text, "fontsize": 9}
        figure.legend(list(named.values()), list(named), loc="outside lower center", **options)


def fraction(value: Any) -> str:
    """A Fraction as it is, where it is short; anything else to three digits.

    >>> from fractions import Fraction
    >>> from refspec.plot.paper import fraction
    >>> fraction(Fraction(7, 12)), fraction(0.58333)
    ('7/12', '0.583')
    """
    exact = str(value)
    return exact if not isinstance(value, float) and len(exact) <= 7 else f"{float(value):.3g}"
