"""Count an n-gram table over a collection of the target's own text, as `refspec` reads it (refspec/models/table_file.py)."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

from refspec.decoding.draft.table import Table, count
from refspec.errors import BadArgument
from refspec.models.model import words
from refspec.models.table_file import write_table
from weights_tools.settings import TableSettings


def count_table(target: Path, folders: Sequence[Path], out: Path, settings: TableSettings) -> tuple[Table, int]:
    """Write the table to the folder `out`; return it and how many tokens were counted."""
    paths = [path for folder in folders for path in sorted(folder.glob("[0-9]*.safetensors"))]
    if not paths:
        raise BadArgument(f"{', '.join(map(str, folders))}: no texts; `collect` some first")
    texts = []
    for path in paths:
        with safe_open(path, "np") as file:
            texts.append(file.get_tensor("tokens"))
    tokenizer, _ = words(target, 1 << 31)
    vocab_size = max(tokenizer.token_map.values()) + 1 if tokenizer else int(max(text.max() for text in texts)) + 1
    table = count(texts, orders=settings.orders, vocab_size=vocab_size, least=settings.least)
    counted = sum(map(len, texts))
    write_table(out, table, {"target": target.name, "texts": len(texts), "tokens": counted})
    return table, counted
