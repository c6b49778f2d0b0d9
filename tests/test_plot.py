"""The pictures of the course: drawn on either paper, with nothing outside the sheet and no two texts on one another."""

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the optional extra: pip install '.[plot]'")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import refspec
from refspec import plot
from refspec.exercises import DRAFT, NAMES, TARGET

P, Q = TARGET.probs(())[0], DRAFT.probs(())[0]
MADE = refspec.generate("tiny-target", "ROMEO:", drafter="tiny-draft", max_new_tokens=40, seed=1).rounds
WEIGHTS = np.tri(6)[None].repeat(4, axis=0) / np.arange(1, 7)[:, None]
HALVES = {(0,): Fraction(1, 2), (1,): Fraction(1, 2)}
SHIFTED = {(0,): Fraction(2, 3), (1,): Fraction(1, 3)}

PICTURES: dict[str, Callable[[bool], plot.Picture]] = {
    "overlap": lambda dark: plot.overlap(P, Q, names=NAMES, coin=(2, 0.5), dark=dark),
    "bars": lambda dark: plot.bars({"p": P, "q": Q, "both": (P + Q) / 2}, names=NAMES, title="Three rows", dark=dark),
    "staircase": lambda dark: plot.staircase(P, names=NAMES, uniforms=[0.1, 0.6, 0.9], title="Where u lands", dark=dark),
    "texts": lambda dark: plot.texts(SHIFTED, HALVES, names=NAMES, dark=dark),
    "rounds": lambda dark: plot.rounds(MADE, title="Who paid", dark=dark),
    "cache": lambda dark: plot.cache(MADE[:9], 6, title="What is rewound", dark=dark),
    "attention": lambda dark: plot.attention(WEIGHTS, ["RO", "ME", "O", ":", "\n", " What"], title="Looks", dark=dark),
    "lines": lambda dark: plot.lines({"a": {1: 1, 2: 2}, "b": {1: None, 2: 1}}, x="x", y="y", title="Two", level=1, dark=dark),
}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", PICTURES)
def test_no_text_is_clipped_or_covered(name: str, dark: bool) -> None:
    figure = PICTURES[name](dark).figure
    FigureCanvasAgg(figure).draw()
    not_drawn = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in beyond(axis)}
    shown = [each for each in figure.findobj(Text) if each.get_visible() and each.get_text().strip() and each not in not_drawn]
    boxes = [(each, each.get_window_extent()) for each in shown]
    for text, box in boxes:
        assert (box.min >= -1).all(), text
        assert (box.max <= figure.bbox.max + 1).all(), text
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), (one, other)


def beyond(axis: Any) -> list[Text]:
    """The labels of ticks beyond the limits of an axis: they exist, and are not drawn."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]


def test_the_overlap_says_what_theory_says() -> None:
    share = refspec.theory.token_acceptance(P, Q)
    assert repr(plot.overlap(P, Q, names=NAMES)) == f"<Picture: p and q share {share}: that is how often a guess is kept>"


@pytest.mark.parametrize(("u", "verdict"), [(Fraction(1, 4), "kept"), (Fraction(1, 3), "rejected"), (Fraction(1, 2), "rejected")])
def test_the_coin_is_judged_by_n2(u: Any, verdict: str) -> None:
    assert refspec.decoding.chance.accept_at(float(u), float(P[2]), float(Q[2])) == (verdict == "kept")
    (legend,) = plot.overlap(P, Q, names=NAMES, coin=(2, float(u))).figure.legends
    assert f"the coin: {verdict}" in [each.get_text() for each in legend.get_texts()]


def test_a_picture_is_the_same_file_every_time() -> None:
    first, again = (plot.bars({"p": P}, names=NAMES, title="p")._repr_png_() for _ in range(2))
    assert first == again
