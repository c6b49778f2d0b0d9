"""Count an n-gram table over a collection of the target's own text, as `refspec` reads it (refspec/models/table_file.py)."""

from collections.abc import Sequence
from pathlib import Path

from refspec.decoding.draft.table import Table, count
from refspec.errors import BadArgument
from refspec.files import read_json
from refspec.models.model import words
from refspec.models.table_file import MODEL_TYPE, write_table
from weights_tools.settings import TableSettings
from weights_tools.staging import staged
from weights_tools.texts import opened, paths_of


def count_table(target: Path, folders: Sequence[Path], out: Path, settings: TableSettings) -> tuple[Table, int]:
    """Write the table to the folder `out`; return it and how many tokens were counted."""
    if out.is_dir() and any(out.iterdir()) and read_json(out / "config.json").get("model_type") != MODEL_TYPE:
        raise BadArgument(f"out is {out}, which holds other files; give a new or empty folder, or one of a table")
    paths = paths_of(folders, target.name)
    if not paths:
        raise BadArgument(f"{', '.join(map(str, folders))}: no texts; `collect` some first")
    texts = []
    for path in paths:
        with opened(path, "np") as file:
            texts.append(file.get_tensor("tokens"))
    tokenizer, _ = words(target, 1 << 31)
    vocab_size = max(tokenizer.token_map.values()) + 1 if tokenizer else int(max(text.max() for text in texts)) + 1
    table = count(texts, orders=settings.orders, vocab_size=vocab_size, least=settings.least)
    counted = sum(map(len, texts))
    with staged(out) as (folder, _):
        write_table(folder, table, {"target": target.name, "texts": len(texts), "tokens": counted})
    return table, counted
