"""N10: the cache against a plain list, and the network under any history against one fresh prefill."""

import tracemalloc

import numpy as np
import pytest
from folders import BIGCODE, GPT2, LLAMA, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import refspec
from refspec.errors import CacheRange
from refspec.transformer.cache import KVCache

LAYERS, HEADS, WIDTH = 2, 3, 4


class CacheAgainstList(RuleBasedStateMachine):
    """Every layer of the cache holds what a list of rows holds, whatever was written, kept and rolled back before."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = KVCache(LAYERS, HEADS, WIDTH, np.float64, capacity=1)
        self.rows: list[float] = []
        self.written = 0.0

    @rule(n=st.integers(0, 5), kept=st.booleans())
    def forward(self, n: int, kept: bool) -> None:
        """A forward pass of n tokens, or one that was broken off before its last line."""
        self.cache.reserve(n)
        new = [self.written + i for i in range(1, n + 1)]
        self.written += n
        for layer in range(LAYERS):
            keys = np.empty((HEADS, n, WIDTH))
            keys[:] = np.array(new)[None, :, None] + layer * 0.25
            seen, values = self.cache.write(layer, keys, -keys)
            assert seen[0, :, 0].tolist() == [row + layer * 0.25 for row in self.rows + new]
            assert np.array_equal(values, -seen)
        if kept:
            self.cache.advance(n)
            self.rows += new

    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        length = data.draw(st.integers(0, len(self.rows)))
        self.cache.rollback(length)
        self.rows = self.rows[:length]

    @rule(beyond=st.integers(1, 3))
    def refuse_out_of_range(self, beyond: int) -> None:
        for length in (-beyond, len(self.rows) + beyond):
            with pytest.raises(CacheRange, match=f"rollback to {length} of a cache that holds {len(self.rows)} tokens"):
                self.cache.rollback(length)

    @invariant()
    def holds_the_list(self) -> None:
        assert self.cache.length == len(self.rows)
        for layer in range(LAYERS):
            kept = self.cache.keys[layer, :, : self.cache.length]
            assert np.array_equal(kept[HEADS - 1, :, WIDTH - 1], np.array(self.rows) + layer * 0.25)


TestCacheAgainstList = CacheAgainstList.TestCase


def test_write_beyond_the_capacity_is_refused() -> None:
    cache = KVCache(1, 1, 1, np.float32, capacity=2)
    with pytest.raises(CacheRange, match="writing rows 0 to 3 of a cache with a capacity of 2; reserve first"):
        cache.write(0, np.zeros((1, 3, 1)), np.zeros((1, 3, 1)))


def test_only_rows_that_were_written_may_count() -> None:
    """Neither more than there is room for, nor fewer than none: a cache is shortened by `rollback`, which is absolute."""
    cache = KVCache(1, 1, 1, np.float32, capacity=3)
    cache.advance(2)
    for n in (-1, -2, 2, 3):
        with pytest.raises(CacheRange, match=f"advancing by {n} from 2 in a cache with a capacity of 3"):
            cache.advance(n)
        assert cache.length == 2
    cache.advance(0)
    cache.advance(1)
    assert cache.length == 3


def test_room_that_is_there_is_not_made_again() -> None:
    """Growing copies the whole text: it happens once in a doubling, and not at each pass."""
    cache = KVCache(1, 1, 1, np.float32, capacity=4)
    keys, values = cache.keys, cache.values
    cache.advance(1)
    for n in (0, 1, 3):
        cache.reserve(n)
        assert cache.keys is keys
        assert cache.values is values
    cache.reserve(4)
    assert cache.keys.shape == cache.values.shape == (1, 1, 8, 1)
    assert cache.keys.dtype == cache.values.dtype == np.float32
    cache.reserve(32)
    assert cache.capacity == 64
    empty = KVCache(1, 1, 1, np.float32, capacity=0)
    empty.reserve(1)
    assert empty.capacity == 1


def test_growing_never_has_both_arrays_twice() -> None:
    """What a long text costs at its worst moment. Grown arrays are twice as large: 2 + 1 + 2 of the old size, not 2 + 2 + 2."""
    tracemalloc.start()
    try:
        cache = KVCache(2, 2, 64, np.float64, capacity=256)
        size = cache.keys.nbytes
        tracemalloc.reset_peak()
        cache.reserve(257)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert cache.capacity == cache.values.shape[2] == 512
    assert peak < 5.1 * size  # what else there is takes a few kilobytes of 500


@pytest.fixture(scope="module", params=[GPT2, BIGCODE, LLAMA], ids=["gpt2", "gpt_bigcode", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> refspec.Model:
    folder = write_folder(tmp_path_factory.mktemp("model"), request.param, tokenizer=False)
    return refspec.load(folder, dtype=np.float64)


def test_only_the_rows_that_are_looked_at_get_logits(model: refspec.Model) -> None:
    """The last ones, one unless more are asked for; the cache grows by all."""
    tokens = np.arange(2, 9)
    every = model.logits(tokens.tolist())
    for asked, rows in (({}, 1), ({"last": 1}, 1), ({"last": 3}, 3), ({"last": 7}, 7)):
        cache = model.network.new_cache()
        logits = model.network.forward(tokens, cache, **asked)
        assert logits.shape == (rows, model.config.vocab_size)
        assert np.abs(logits - every[7 - rows :]).max() <= 1e-9  # N10's bound in float64
        assert cache.length == 7


steps = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 12)), min_size=1, max_size=8)


@given(steps=steps, data=st.data())
@settings(max_examples=40)
def test_any_chunks_and_rollbacks_give_the_logits_of_one_prefill(
    model: refspec.Model, steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    """float64 sums in another order: 1e-9 is N10's bound, a thousand times what a network this small can differ by."""
    ids = st.integers(0, model.config.vocab_size - 1)
    cache = model.network.new_cache()
    tokens: list[int] = []
    for n, back in steps:
        keep = max(0, len(tokens) - back)
        cache.rollback(keep)
        new = data.draw(st.lists(ids, min_size=n, max_size=n))
        tokens = tokens[:keep] + new
        logits = model.network.forward(np.array(new), cache, last=n)
        fresh = model.logits(tokens)[-n:]
        assert np.abs(logits - fresh).max() <= 1e-9
        assert cache.length == len(tokens)


@given(data=st.data())
@settings(max_examples=25)
def test_cached_lm_answers_any_history_of_questions_like_a_new_one(model: refspec.Model, data: st.DataObject) -> None:
    remembering = model.language_model(temperature=0.7)
    text = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple)
    for _ in range(5):
        tokens = data.draw(text)
        last = data.draw(st.integers(1, len(tokens)))
        if data.draw(st.booleans()):
            remembering.cache.rollback(data.draw(st.integers(0, remembering.cache.length)))
        probs = remembering.probs(tokens, last=last)
        assert np.abs(probs - model.language_model(temperature=0.7).probs(tokens, last=last)).max() <= 1e-9
        assert remembering.cache.length == len(tokens)


def test_a_tree_of_tokens_brings_positions_and_a_mask(model: refspec.Model) -> None:
    """Two branches after one prefix, scored in one pass, are scored as if each stood alone."""
    prefix, left, right = [1, 2, 3], [4, 5], [6, 7]
    cache = model.network.new_cache()
    model.network.forward(np.array(prefix), cache)
    mask = np.ones((4, 7), bool)
    mask[:, 3:] = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]])
    both = model.network.forward(np.array(left + right), cache, 4, positions=np.array([3, 4, 3, 4]), mask=mask)
    apart = np.concatenate([model.logits(prefix + left)[-2:], model.logits(prefix + right)[-2:]])
    assert np.abs(both - apart).max() <= 1e-9  # N10's bound in float64
