"""What of PyTorch's side needs no PyTorch: the line that says what to install, and the record of a text that goes back."""

import subprocess
import sys

import pytest

from refspec.errors import CacheRange
from refspec.models.torch_network import TorchCache, TorchConfig

PROGRAM = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import refspec
from refspec.models.torch_activations import record_activations
for call in (lambda: refspec.from_torch(len), lambda: record_activations(len, [1], "file")):
    try:
        call()
    except refspec.RefspecError as error:
        print(error)
"""


def test_without_torch_one_line_says_what_to_install() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    assert said.splitlines() == [
        f"{name} needs torch; run: pip install '.[peers]'" for name in ("from_torch", "record_activations")
    ]


class Past:
    """Counts as transformers does: a negative number is how many tokens go."""

    def __init__(self) -> None:
        self.length = 5

    def crop(self, change: int) -> None:
        assert change < 0
        self.length += change


def test_a_text_goes_back_with_its_keys() -> None:
    cache = TorchCache(Past)
    cache.ids += [1, 2, 3, 4, 5]
    for length in (5, 3, 3, 1):
        cache.rollback(length)
        assert cache.length == cache.past.length == length
        assert cache.ids == [1, 2, 3, 4, 5][:length]
    for length in (-1, 2):
        with pytest.raises(CacheRange, match=f"rollback to {length} of a cache with 1 token"):
            cache.rollback(length)
    before = cache.past
    cache.rollback(0)
    assert cache.past is not before  # a fresh one, rather than one without a row


def test_what_nobody_says_is_any_context() -> None:
    assert str(TorchConfig("Mine", 7, sys.maxsize)) == "Mine in PyTorch, 7 tokens, any context"
    assert str(TorchConfig("gpt2", 7, 1024)) == "gpt2 in PyTorch, 7 tokens, context 1,024"
