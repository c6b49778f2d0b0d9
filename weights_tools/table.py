"""Count an n-gram table over a collection of the target's own text, as `refspec` reads it (refspec/models/table_file.py).

The target's rows come from the features in the collection, at the price of its head; of each the LIKELIEST tokens are counted.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from refspec.decoding.draft.table import Table, Written, count
from refspec.errors import BadArgument
from refspec.models.model import words
from refspec.models.table_file import write_table
from weights_tools.checkpoint import replace_atomically
from weights_tools.outputs import require_table
from weights_tools.settings import TableSettings
from weights_tools.texts import Text, drawable, name_of, paths_of, read_text
from weights_tools.torch_llama import load_torch_llama

LIKELIEST = 4  # one is nearly as good, eight are no better


def count_table(target: Path, folders: Sequence[Path], out: Path, settings: TableSettings) -> tuple[Table, int]:
    """Write the table to the folder `out`; return it and how many tokens were counted."""
    require_table(out)
    paths = paths_of(folders, name_of(target))
    if not paths:
        raise BadArgument(f"{', '.join(map(str, folders))}: no texts; `collect` some first")
    network = load_torch_llama(target)
    tokenizer, _ = words(target, network.config.vocab_size)
    vocab_size = drawable(tokenizer, network.config.vocab_size)
    head = network.lm_head.weight[:vocab_size]
    texts = []
    for path in tqdm(paths, desc="texts", mininterval=1.0, disable=None):
        texts.append(written(read_text(path, vocab_size, network.config.width), head))
    table = count(texts, orders=settings.orders, vocab_size=vocab_size, least=settings.least)
    counted = sum(len(text.tokens) for text in texts)
    if not any(len(order.keys) for order in table.orders):
        most = np.bincount(np.concatenate([text.tokens for text in texts])).max()
        raise BadArgument(f"least is {settings.least}, and of {counted} tokens none came more than {most} times, so that nothing "
                          f"would be kept; give {most} or less, or more text")  # fmt: skip
    with TemporaryDirectory() as scratch:
        write_table(Path(scratch), table, {"target": name_of(target), "texts": len(texts), "tokens": counted})
        for path in sorted(Path(scratch).iterdir()):  # config.json first, by which a folder is known as that of a table
            replace_atomically(out / path.name, partial(shutil.copyfile, path))
    return table, counted


@torch.no_grad()
def written(text: Text, head: Tensor) -> Written:
    """head [v, d]"""
    features = text.features
    logits = features.to(head.dtype) @ head.T
    largest, likely = logits.topk(min(LIKELIEST, len(head)), dim=-1)
    probs = (largest.float() - logits.float().logsumexp(-1, keepdim=True)).exp()
    return Written(text.tokens[: len(features)].numpy(), likely.numpy(), probs.double().numpy())
