"""A generation as one page to step through: each round's draft, the target's answer, the coin, the residual, the cache.

`page` makes it from an Output whose rounds were recorded; `refspec trace` is the command. Everything on it is what the run
looked at: rounds.py reads the records, passes.py the lengths of the caches, page.html draws. Left out: logits, and how the
network came to them.
"""

from refspec.trace.page import page

__all__ = ["page"]
