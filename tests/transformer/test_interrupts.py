"""Ctrl-C anywhere: a pass that is broken off at any line leaves a cache that goes on to give a fresh prefill's answers."""

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder
from mutants.planting import patched

import refspec
from refspec.errors import RefspecError
from refspec.models.cached_lm import CachedLM
from refspec.models.sampling import Sampling
from refspec.transformer.cache import KVCache

ROOT = str(Path(refspec.__file__).parent)
# Where state changes: in these an interrupt comes between any two bytecodes, elsewhere between any two lines.
FINE = {"reserve", "advance", "rollback", "probs", "new_tokens"}


def interrupted(call: Callable[[], object], at: int) -> bool:
    """Run it with KeyboardInterrupt at the `at`-th step inside refspec; False if it ended before."""
    steps = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        if not frame.f_code.co_filename.startswith(ROOT):
            return None
        fine = frame.f_code.co_name in FINE
        frame.f_trace_opcodes = fine
        if event == ("opcode" if fine else "line"):
            if steps == at:
                raise KeyboardInterrupt
            steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


# The first fits the cache. The second parts from it and does not fit; it is broken off, and one of the others is asked.
FIRST, SECOND = (5, 6, 7), (5, 6, 8, 9, 10, 11)
AFTER = (SECOND, FIRST, (5, 6, 8), (5, 6, 8, 9, 12, 13, 14, 15, 16, 17))


def wrong_answers(model: refspec.Model, make_lm: Any = CachedLM, make_cache: Any = KVCache) -> Iterator[str]:
    """Where a question gets other bits than a fresh prefill's, after another was broken off at each of its steps."""
    fresh = {tokens: CachedLM(model.network, Sampling()).probs(tokens, last=2) for tokens in AFTER}
    layers, heads, _, width = model.network.new_cache().keys.shape
    at, left = 0, True
    while left:
        broken_off = make_lm(model.network, Sampling())
        broken_off.cache = make_cache(layers, heads, width, model.network.dtype, capacity=4)
        broken_off.probs(FIRST)
        left = interrupted(lambda broken_off=broken_off: broken_off.probs(SECOND), at)
        for tokens in AFTER:
            asking = copy.deepcopy(broken_off, {id(model.network): model.network})  # all that it remembers
            try:
                wrong = None if np.array_equal(asking.probs(tokens, last=2), fresh[tokens]) else "other bits"
            except (ValueError, RefspecError) as error:
                wrong = str(error)
            if wrong:
                yield f"step {at}, then {tokens}: {wrong}"
        at += 1
    assert at > 200  # it did go through all of it


@pytest.fixture(scope="module", params=[GPT2 | {"n_layer": 1}, LLAMA | {"num_hidden_layers": 1}], ids=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> refspec.Model:
    """Row-invariant, so that right means the same bits."""
    folder = write_folder(tmp_path_factory.mktemp("model"), request.param, tokenizer=False)
    return refspec.load(folder, row_invariant=True)


def test_after_an_interrupt_at_any_step_the_answers_are_those_of_a_fresh_prefill(model: refspec.Model) -> None:
    assert list(wrong_answers(model)) == []


WRONG: dict[str, tuple[str, str, str]] = {
    "keys grow before values": (
        "refspec.transformer.cache",
        """            self.values = self._grown(self.values, capacity)
            self.keys = self._grown(self.keys, capacity)
""",
        """            self.keys = self._grown(self.keys, capacity)
            self.values = self._grown(self.values, capacity)
""",
    ),
    "remembered as much as was asked": (
        "refspec.models.cached_lm",
        "common_prefix(self._tokens[: self.cache.length], tokens)",
        "common_prefix(self._tokens, tokens)",
    ),
    "remembered before the rest is forgotten": (
        "refspec.models.cached_lm",
        "        self.cache.rollback(start)\n",
        "        self._tokens = tuple(tokens)\n        self.cache.rollback(start)\n",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_other_orders_would_be_noticed(what: str, model: refspec.Model) -> None:
    """Negative control."""
    module, old, new = WRONG[what]
    wrong = patched(module, (old, new))
    parts = {"make_lm": wrong.CachedLM} if module.endswith("lm") else {"make_cache": wrong.KVCache}
    assert next(wrong_answers(model, **parts), None)
