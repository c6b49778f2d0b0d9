"""A table in a folder: config.json says whose text was counted, model.safetensors has keys, tokens and shares of each order."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refspec.brief import short
from refspec.decoding.draft.table import Order, Table
from refspec.errors import BadConfig, BadWeights
from refspec.files import read_json
from refspec.models.whose import of_another_name
from refspec.transformer.weights import tensor_headers

MODEL_TYPE = "ngram-table"
PARTS = {"keys": ("U64", np.uint64), "tokens": ("U16 U32", np.int64), "shares": ("U8", np.uint8)}


def write_table(folder: Path, table: Table, about: Mapping[str, Any]) -> None:
    """Writes the two files of a folder, which is made if it is not there. Not atomically: that is for the caller."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{name}.{n}": getattr(order, name) for n, order in enumerate(table.orders, 1) for name in PARTS}
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": MODEL_TYPE, "vocab_size": table.vocab_size, "orders": len(table.orders), **about}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def misfit(folder: Path, given: Mapping[str, Any], vocab_size: int, name: str | None) -> str | None:
    """Why the table in a folder, whose config.json is given, is none for a target of so many tokens and this name, or None."""
    if (tokens := given.get("vocab_size")) != vocab_size:
        whose = short(given.get("target", "another target"))
        return (
            f"{folder} is a table for {whose}, with {short(tokens)} tokens; this target has {vocab_size}: "
            "count one of its own text, or leave it out"
        )
    return of_another_name(folder, "a table", given, name)


def read_table(folder: str | Path, vocab_size: int, name: str | None = None) -> Table:
    """The table in a folder, for a target of so many tokens and of this name, if it has one.

    Raises BadConfig for a table of another target's text, BadWeights for a damaged one.
    """
    from safetensors import safe_open

    given = read_json((folder := Path(folder)) / "config.json")
    if found := misfit(folder, given, vocab_size, name):
        raise BadConfig(found)
    headers = tensor_headers(folder, "count the table again")
    orders: list[Order] = []
    while f"keys.{len(orders) + 1}" in headers:
        parts = []
        for name, (allowed, kind) in PARTS.items():
            header = headers.get(f"{name}.{len(orders) + 1}")
            if (
                header is None
                or header.dtype not in allowed.split()
                or header.shape != headers[f"keys.{len(orders) + 1}"].shape
                or len(header.shape) != 1
            ):
                raise BadWeights(
                    f"{folder} lacks the tensor {name}.{len(orders) + 1}, or it is of another kind; count the table again"
                )
            with safe_open(header.file, framework="np") as file:
                parts.append(file.get_tensor(f"{name}.{len(orders) + 1}").astype(kind))
        order = Order(*parts)
        if (order.keys[1:] <= order.keys[:-1]).any() or (len(order.tokens) and order.tokens.max() >= vocab_size):
            raise BadWeights(
                f"{folder}: order {len(orders) + 1} is not sorted, or holds ids beyond {vocab_size - 1}; count it again"
            )
        orders.append(order)
    if not orders or given.get("orders") != len(orders):
        raise BadWeights(
            f"{folder} holds {len(orders)} orders where config.json says {short(given.get('orders'))}; count it again"
        )
    known = {f"{name}.{n}" for n in range(1, len(orders) + 1) for name in PARTS}
    if extra := sorted(headers.keys() - known):
        raise BadWeights(
            f"{folder} has {len(extra)} tensors that a table has no use for, such as {short(extra[0])}; count it again"
        )
    return Table(tuple(orders), vocab_size)
