"""`refspec golden`: our own activations, in float64, and a cache, for another implementation to compare its own with."""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from refspec.arrays import Array
from refspec.cli.exits import SUCCESS
from refspec.decoding.chance import Seeded
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.lm import Tokens
from refspec.decoding.loop import rounds
from refspec.errors import BadArgument
from refspec.files import require_writable
from refspec.models.activations import write_activations
from refspec.models.model import load
from refspec.numeric import whole


def run(options: argparse.Namespace) -> int:
    whole("rounds", options.rounds, 0)
    require_writable(Path(options.out))
    tokens = ids(options.ids)
    cache = cache_after(options.rounds, options.model, tokens) if options.rounds else {}
    modules = write_activations(Path(options.out), options.model, np.array(tokens), cache)
    print(f"{options.out}: {modules} modules, in float64" + (f", and the cache after {options.rounds} rounds" if cache else ""))
    return SUCCESS


def ids(text: str) -> Tokens:
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError:
        raise BadArgument(f"ids is {text!r}; give token ids with commas between, such as 12,7,30") from None


def cache_after(count: int, name: str, tokens: Tokens) -> dict[str, Array]:
    """cache.ids [m], and of each layer cache.0.keys and .values [g, m, e], after greedy rounds of prompt lookup."""
    model = load(name, dtype=np.float64)
    target = model.language_model(temperature=0)
    most = min(5 * count, model.context - len(tokens))
    steps = rounds(target, NgramDrafter(), tokens, gamma=4, max_new_tokens=most, stop=(), chance=Seeded(0))
    made = list(islice(steps, count))
    if len(made) < count:
        raise BadArgument(
            f"rounds is {count}; the context of {model.context} ends after {len(made)}: give no more, or a shorter text"
        )
    text = tokens + tuple(token for each in made for token in each.tokens)
    m = target.cache.length
    found = {"cache.ids": np.array(text[:m])}
    for i, (keys, values) in enumerate(zip(target.cache.keys, target.cache.values, strict=True)):
        found |= {f"cache.{i}.keys": keys[:, :m], f"cache.{i}.values": values[:, :m]}
    return found
