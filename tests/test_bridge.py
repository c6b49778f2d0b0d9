"""The bridge: what it refuses, what it passes on, and the whole real stack together, enumerated: it has the law of its parts."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder

import refspec
from refspec.arrays import Array
from refspec.errors import BadArgument, ContextExceeded, RefspecError
from refspec.models.cached_lm import CachedLM
from refspec.proof.exact import law, total_variation
from refspec.proof.interval import IntervalChance, float_bound
from refspec.transformer.cache import KVCache

VOCAB, GAMMA, HORIZON, PROMPT = 3, 2, 3, (1, 0)
# Rows of one context differ by the order of additions in the forward pass (a chunk of three, or one by one): some 1e-15
# each in float64 at this width. A path has fewer than 1000 such roundings.
FORWARD = Fraction(1, 10**12)


@pytest.mark.parametrize("family", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_the_law_of_the_real_stack_is_the_product_of_its_conditionals(family: dict, tmp_path: Path) -> None:
    target, draft = (
        refspec.load(
            write_folder(
                tmp_path / name, {**family, "vocab_size": VOCAB, "bos_token_id": 0, "eos_token_id": 0}, seed=seed, tokenizer=False
            ),
            dtype=np.float64,
        )
        for name, seed in (("target", 0), ("draft", 1))
    )
    warps = {"temperature": 2.0, "top_p": 0.97}
    rejected = 0

    def program(chance: refspec.Chance) -> tuple[int, ...]:
        """A fresh cache for each path; what was rejected on it is rolled back on it."""
        nonlocal rejected
        out = refspec.speculative(
            target.language_model(**warps),
            refspec.ModelDrafter(draft.language_model(**warps)),
            PROMPT,
            gamma=GAMMA,
            max_new_tokens=HORIZON,
            chance=chance,
        )
        rejected += any(each.accepted < each.drafted for each in out.rounds)
        return out.tokens

    found = law(program, chance=IntervalChance)
    assert rejected > 10  # caches were rolled back

    conditionals: dict[tuple[int, ...], Fraction] = {(): Fraction(1)}
    for _ in range(HORIZON):
        longer = {}
        for text, weight in conditionals.items():
            row = [Fraction(float(each)) for each in target.language_model(**warps).probs(PROMPT + text)[-1]]
            longer |= {(*text, token): weight * each / sum(row) for token, each in enumerate(row) if each}
        conditionals = longer

    assert len(found) > 8
    assert total_variation(found, conditionals) <= float_bound(VOCAB, draws=HORIZON * (2 * GAMMA + 1)) + FORWARD


# ---- the bridge alone


class Counts:
    """A network whose logits say what it was fed: of row i, logits[0] is the token and logits[1] the length of its text."""

    def __init__(self, vocab_size: int, context: int) -> None:
        self.config = SimpleNamespace(vocab_size=vocab_size, context=context)
        self.fed: list[list[int]] = []

    def new_cache(self) -> KVCache:
        return KVCache(1, 1, 1, np.float64)

    def forward(self, tokens: Array, cache: KVCache, last: int = 1) -> Array:
        self.fed.append(tokens.tolist())
        logits = np.zeros((len(tokens), self.config.vocab_size))
        logits[:, 0], logits[:, 1] = tokens, cache.length + 1 + np.arange(len(tokens))
        cache.reserve(len(tokens))
        cache.advance(len(tokens))
        return logits[len(tokens) - last :]


def bridge(network: Counts, token_map: dict[str, int] | None = None) -> CachedLM:
    """Without a warp, so that its rows are the network's logits."""
    return CachedLM(network, lambda logits: logits, token_map)  # type: ignore[arg-type]


def test_a_text_may_fill_the_context_and_not_exceed_it() -> None:
    network = Counts(5, context=4)
    asking = bridge(network)
    assert asking.context == 4
    assert asking.probs((1, 2, 3, 4))[0, 1] == 4
    with pytest.raises(ContextExceeded, match="5 tokens for a model with a context of 4; shorten the text"):
        asking.probs((1, 2, 3, 4, 0))
    assert network.fed == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("token_map", "size"),
    [(None, 9), ({"a": 0, "b": 1, "c": 2}, 3), ({"a": 0, "c": 5}, 6), ({"c": 8}, 9)],
    ids=["none", "padded", "with a gap", "one"],
)
def test_the_vocabulary_ends_at_the_largest_id_of_the_map(token_map: dict[str, int] | None, size: int) -> None:
    """N12: columns beyond are padding. An id that the map skips is none of these: the network gives it a probability."""
    network = Counts(9, context=20)
    asking = bridge(network, token_map)
    assert asking.vocab_size == size
    assert asking.token_map is token_map
    assert asking.probs((size - 1, size - 1), last=2).shape == (2, size)
    for wrong in (-1, size, size + 1):
        for text in ((wrong,), (0, wrong), (0, wrong, 0)):
            with pytest.raises(BadArgument, match=f"token id {wrong} is not in the vocabulary; ids run from 0 to {size - 1}"):
                asking.probs(text)
    assert len(network.fed) == 1  # what is refused has not reached the network


def test_what_is_refused_costs_nothing_of_what_is_remembered() -> None:
    network = Counts(5, context=4)
    asking = bridge(network)
    asking.probs((1, 2, 3))
    for text, last in (((1, 2, 9), 1), ((1, 2, 3, 4, 0), 1), ((1, 2, 3), 0), ((1, 2, 3), 4), ((1, 2, 3), -1), ((), 0), ((), 1)):
        with pytest.raises(RefspecError, match=r"vocabulary|context|1 <= last <= len"):
            asking.probs(text, last)
    asking.probs((1, 2, 3, 4))
    assert network.fed == [[1, 2, 3], [4]]


@pytest.mark.parametrize(
    ("before", "after", "last", "fed"),
    [
        ((1, 2), (1, 2, 3, 4), 1, [3, 4]),  # longer
        ((1, 2), (1, 2, 3, 4), 3, [2, 3, 4]),  # looked at further back
        ((1, 2, 3), (1, 2, 3), 1, [3]),  # the same
        ((1, 2, 3), (1, 2), 1, [2]),  # shorter
        ((1, 2, 3), (1, 4, 3), 1, [4, 3]),  # parted in the middle
        ((1, 2, 3), (4, 2, 3), 2, [4, 2, 3]),  # nothing in common
        ((1, 2, 3), (1, 2, 3, 3), 4, [1, 2, 3, 3]),  # every row of it
    ],
)
def test_the_network_gets_what_is_new_and_what_is_looked_at(
    before: tuple[int, ...], after: tuple[int, ...], last: int, fed: list[int]
) -> None:
    network = Counts(5, context=9)
    asking = bridge(network)
    asking.probs(before)
    rows = asking.probs(after, last)
    assert network.fed[1:] == [fed]
    assert rows[:, 0].tolist() == list(after[len(after) - last :])
    assert rows[:, 1].tolist() == list(range(len(after) - last + 1, len(after) + 1))
    assert asking.cache.length == len(after)
