"""The pictures of the course, as functions over matplotlib's object API: no window, no global state (extra `plot`).

Each returns a `Picture`, which a notebook shows and `save` writes. Colours are Okabe and Ito's, which the colour-blind tell
apart, and mean the same everywhere: blue p, orange q, green what is kept, vermilion what corrects. `dark=True`: dark paper.
"""

from refspec.plot.chances import bars, overlap, staircase, texts
from refspec.plot.machinery import attention, cache, lines, rounds
from refspec.plot.paper import Picture

__all__ = ["Picture", "attention", "bars", "cache", "lines", "overlap", "rounds", "staircase", "texts"]
