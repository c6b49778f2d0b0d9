"""What speculation saves, counted and not timed: calls of the target, bytes of weights read and operations, a token.

A call reads every weight once, whatever the number of its rows; each row then takes two operations a weight, a product and a
sum. So speculation trades bytes, which a decoder waits for, against operations, which it has to spare. Attention is left out,
whose share is small in short texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from refspec.bench.race import Decoded
from refspec.decoding.stats import drafted_in

BYTES = 4  # of a float32


@dataclass(frozen=True)
class Operations:
    """Of one decoded token, the prefill left out. calls, rows: of the target. megabytes, gigaflops: of target and draft."""

    calls: float
    rows: float
    megabytes: float
    gigaflops: float


def operations(runs: Sequence[Decoded], weight_bytes: int, draft_bytes: float) -> Operations | None:
    """draft_bytes: that a drafted token reads, at most. None where nothing was decoded.

    >>> from refspec.bench.operations import operations
    >>> from refspec.bench.race import Decoded
    >>> from refspec.decoding.round import Round
    >>> rounds = (Round((), 0, 5), Round((1, 2), 1, 3), Round((), 0, 4))
    >>> operations([Decoded((5, 1, 3, 4), 3, 0.1, 0.1, rounds)], weight_bytes=6_000_000, draft_bytes=0)
    Operations(calls=0.6666666666666666, rows=1.3333333333333333, megabytes=4.0, gigaflops=0.004)
    """
    rounds = [found for each in runs for found in each.rounds[1:]]
    tokens, drafted = sum(each.decoded for each in runs), sum(map(drafted_in, rounds))
    if not tokens:
        return None
    rows = len(rounds) + drafted
    read = len(rounds) * weight_bytes + drafted * draft_bytes
    flops = 2 * (rows * weight_bytes + drafted * draft_bytes) / BYTES
    return Operations(len(rounds) / tokens, rows / tokens, read / tokens / 1e6, flops / tokens / 1e9)
