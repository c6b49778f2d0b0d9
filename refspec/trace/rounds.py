"""Recorded rounds as plain data for the page: numbers, ids and names, nothing that is not in a record.

A row of 49,152 probabilities is abbreviated: the TOP likeliest tokens of p and of q, the drafted and the drawn one; of all
others, how many they are and their sums. Zeros are left out.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding.optional import optional
from refspec.decoding.round import Picked, Record, Round, Tested, role
from refspec.decoding.verify import Rule
from refspec.errors import BadArgument

TOP = 6


def round_data(found: Round, rule: Rule) -> dict[str, Any]:
    """One round: the text's length before it, what it drafted and emitted, and each position that the target scored.

    rule: the one that judged it. Raises BadArgument for a round without a record.

    >>> import refspec
    >>> from refspec.trace.rounds import round_data
    >>> out = refspec.generate("tiny-target", "ROMEO:", drafter="tiny-draft", max_new_tokens=6, record=True)
    >>> data = round_data(out.rounds[0], refspec.verify.token)
    >>> data["start"], len(data["positions"]) == len(data["draft"]) + 1, data["emitted"] == list(out.rounds[0].tokens)
    (2, True, True)
    """
    if (record := found.record) is None:
        raise BadArgument("a round has no record; generate with record=True")
    coins = coins_of(record, rule)
    drawn = dict(enumerate(record.picked, record.verdict.accepted + 1 - len(record.picked)))  # the last is at the token's place
    return {
        "start": record.draft.start,
        "draft": list(record.draft.tokens),
        "emitted": list(found.tokens),
        "role": role(found),
        "positions": [
            position(record, i, fate, coins.get(i), drawn.get(i)) for i, fate in enumerate(fates(record, len(found.tokens)))
        ],
    }


def coins_of(record: Record, rule: Rule) -> dict[int, Tested]:
    """Each test by the position it is about: the drafted tokens in order, or (block) the prefixes from the whole draft down."""
    last = len(record.draft.tokens) - 1
    return {last - k if optional(rule, "looks_ahead") else k: test for k, test in enumerate(record.tested)}


def fates(record: Record, emitted: int) -> Iterator[str]:
    """What became of each position: of n drafted tokens, and of the row behind them.

    A stop token (or text) that ends the round early cuts what is behind it, the rule's own token included (N9).
    """
    n, accepted = len(record.draft.tokens), record.verdict.accepted
    for i in range(n + 1):
        if emitted <= i <= accepted:
            yield "cut"
        elif i < accepted:
            yield "accepted"
        elif i > accepted:
            yield "unused"
        else:
            yield "rejected" if i < n else "bonus" if n else "plain"


def position(record: Record, i: int, fate: str, coin: Tested | None, drawn: Picked | None) -> dict[str, Any]:
    """p, q and what was drawn from at position i, abbreviated; the coin and the uniform of the draw, where there were any.

    Each of `tokens` is [id, p, q, weight], and `rest` the same sums of all others, behind how many those are. weight: as a
    distribution, what the rule drew from. overlap: sum min(p, q), the chance that a draft from q is accepted here.
    """
    p = np.asarray(record.target_probs[i], np.float64)
    drafted = record.draft.tokens[i : i + 1]
    q = np.asarray(record.draft.row(i, like=record.target_probs[i]), np.float64) if drafted else None
    weights = None
    if drawn is not None:
        weights = np.asarray(drawn.weights, np.float64)
        weights = weights / weights.sum()
    columns = [p, q, weights]
    wanted = {*drafted, *([record.verdict.token] if i == record.verdict.accepted else []), *([drawn.token] if drawn else [])}
    ids = likeliest([each for each in columns if each is not None], wanted)
    others = np.ones(len(p), bool)
    others[ids] = False
    found: dict[str, Any] = {
        "fate": fate,
        "tokens": [[each, *(None if column is None else float(column[each]) for column in columns)] for each in ids],
        "rest": [int(others.sum()), *(None if column is None else float(column[others].sum()) for column in columns)],
    }
    if q is not None:
        found["overlap"] = float(np.minimum(p, q).sum())
    if coin is not None:
        u = None if coin.u is None else float(coin.u)
        found["coin"] = {"p": float(coin.p), "q": float(coin.q), "u": u, "accepted": bool(coin.accepted)}
    if drawn is not None:
        found["drawn"] = {"u": None if drawn.u is None else float(drawn.u), "token": int(drawn.token)}
    elif i == record.verdict.accepted:
        found["chosen"] = record.verdict.token  # by a rule that draws nothing
    return found


def likeliest(rows: Sequence[Array], wanted: Collection[int]) -> list[int]:
    """The ids `wanted` and the TOP of positive weight in each row, by the first row and then the next ones.

    >>> import numpy as np
    >>> from refspec.trace.rounds import likeliest
    >>> likeliest([np.array([0.5, 0, 0.5, 0]), np.array([0, 1, 0, 0])], wanted=[3])
    [0, 2, 1, 3]
    """
    found = set(wanted)
    for row in rows:
        top = np.argpartition(-row, min(TOP, len(row)) - 1)[:TOP]
        found |= set(top[row[top] > 0].tolist())
    return sorted(found, key=lambda id_: (*(-row[id_] for row in rows), id_))
