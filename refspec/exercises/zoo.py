"""Ten wrong verification rules that people have written, under the names that the test suite knows them by.

Each is the token rule with one piece exchanged: the test, what replaces a rejected token, or what follows a draft kept whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from refspec.conformance.bugs.rules import WRONG
from refspec.decoding.verify import Rule


@dataclass(frozen=True)
class Bug:
    """A wrong rule, and in words what it does."""

    what: str
    rule: Rule


_TOLD = {
    "residual-is-p": "the token that replaces a refused one is drawn from p, not from what is left of it",
    "ratio-inverted": "accepts with q / p in place of p / q",
    "always-accepts": "every drafted token passes",
    "accepts-iff-p-exceeds-q": "no coin: accepts whenever p >= q, and only then",
    "first-unverified": "the first drafted token is never tested",
    "goes-on-after-rejection": "counts what passes behind the first rejection too",
    "keeps-the-rejected": "the refused token stays in the text",
    "residual-of-next-row": "the residual is taken from the row behind the refused token",
    "bonus-by-argmax": "the bonus token is the likeliest one, not a drawn one",
    "bonus-from-q": "the bonus token is drawn from the draft's last row",
}
ZOO: Mapping[str, Bug] = {name: Bug(what, WRONG[name][1]) for name, what in _TOLD.items()}
