"""What each forward pass wrote into its cache, and from where on: read off the cache itself, not worked out.

Between two passes of one cache nothing but a rollback changes its length. So the length before a pass, beside that after the
pass before, is what was rewound.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from refspec.arrays import Array
from refspec.models.model import Model
from refspec.transformer.cache import KVCache


class Pass(NamedTuple):
    """One forward pass of the "target" or the "draft": it wrote rows start to end of the cache."""

    who: str
    start: int
    end: int


def watched(model: Model, who: str, log: list[Pass]) -> Model:
    """The model, of which each pass is written to the log once it has ended.

    >>> import refspec
    >>> from refspec.trace.passes import watched
    >>> log = []
    >>> target = watched(refspec.load("tiny-target"), "target", log).language_model()
    >>> for tokens in ((1, 2, 3, 4), (1, 2, 7)):  # of which it remembers two
    ...     _ = target.probs(tokens)
    >>> [tuple(each) for each in log]
    [('target', 0, 4), ('target', 2, 3)]
    """
    return replace(model, network=cast(Any, Watched(model.network, who, log)))


class Watched:
    """A network that writes down its passes, and is otherwise the one it was made from."""

    def __init__(self, network: Any, who: str, log: list[Pass]) -> None:
        self._network = network
        self._who = who
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def forward(self, tokens: Array, cache: KVCache, last: int = 1) -> Array:
        start = cache.length
        logits: Array = self._network.forward(tokens, cache, last)
        self._log.append(Pass(self._who, start, cache.length))
        return logits


def by_round(log: Sequence[Pass]) -> Iterator[dict[str, dict[str, Any]]]:
    """For each round, and "target" and "draft" within it: the length `before`, and the [start, end] of its passes.

    A round drafts, then scores the draft in one pass of the target, which ends it here.

    >>> from refspec.trace.passes import Pass, by_round
    >>> log = [Pass("target", 0, 7), Pass("draft", 0, 5), Pass("draft", 5, 6), Pass("target", 6, 8)]
    >>> for found in by_round(log):
    ...     print(found)
    {'target': {'before': 0, 'passes': [[0, 7]]}}
    {'draft': {'before': 0, 'passes': [[0, 5], [5, 6]]}, 'target': {'before': 7, 'passes': [[6, 8]]}}
    """
    lengths: dict[str, int] = {}
    found: dict[str, dict[str, Any]] = {}
    for who, start, end in log:
        found.setdefault(who, {"before": lengths.get(who, 0), "passes": []})["passes"].append([start, end])
        lengths[who] = end
        if who == "target":
            yield found
            found = {}
