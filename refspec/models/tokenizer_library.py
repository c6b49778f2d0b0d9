"""The one door to the `tokenizers` library, and to what stands in for it where it does not exist (tokenizer_plain.py).

It is written in Rust and fails in ways of its own: bare exceptions, and panics, which are no `Exception` and print to standard
error. Whatever it raises leaves here as a BadTokenizer. And it obeys settings that are not about which ids a text has: these
are switched off before it sees them.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from refspec.errors import BadTokenizer
from refspec.models.tokenizer_plain import Plain

Answer = TypeVar("Answer")

_ERRORS = Lock()  # standard error is one for all threads


def reader(settings: dict[str, Any], name: str, *, split_special: bool = False) -> "Library | Plain":
    """What reads and writes ids by tokenizer.json: the library, or without it the byte-level BPE in plain Python.

    >>> from refspec.files import read_json
    >>> from refspec.models import home
    >>> from refspec.models.tokenizer_library import reader
    >>> reader(read_json(home.find("tiny-target") / "tokenizer.json"), "tokenizer.json").decode([814, 26])
    'ROMEO:'
    """
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        return Plain(switched_off(settings), name, split_special=split_special)
    return Library(settings, name, split_special=split_special)


class Library:
    """A tokenizer of the library. settings: what tokenizer.json holds. name: what a message calls it.

    >>> from refspec.files import read_json
    >>> from refspec.models import home
    >>> from refspec.models.tokenizer_library import Library
    >>> library = Library(read_json(home.find("tiny-target") / "tokenizer.json"), "tokenizer.json")
    >>> library.encode("ROMEO:", special=True)
    (814, 26)
    """

    def __init__(self, settings: dict[str, Any], name: str, *, split_special: bool = False) -> None:
        from tokenizers import Tokenizer

        self._name = name
        text = json.dumps(switched_off(settings))
        self._tokenizer: Any = self._ask("cannot be read", lambda: Tokenizer.from_str(text))
        if split_special:
            self._tokenizer.encode_special_tokens = True
        self.ids: dict[str, int] = self._ask("cannot be read", lambda: self._tokenizer.get_vocab(with_added_tokens=True))

    def encode(self, text: str, *, special: bool) -> tuple[int, ...]:
        return tuple(self._ask("cannot encode the text", lambda: self._tokenizer.encode(text, add_special_tokens=special).ids))

    def decode(self, ids: Sequence[int]) -> str:
        return self._ask("cannot decode", lambda: str(self._tokenizer.decode(list(ids), skip_special_tokens=True)))

    def token_of(self, token: int) -> str | None:
        return self._ask("cannot decode", lambda: self._tokenizer.id_to_token(token))

    def _ask(self, failing: str, call: Callable[[], Answer]) -> Answer:
        try:
            with quiet():
                return call()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic is no Exception
            raise BadTokenizer(f"{self._name} {failing} ({error}); fetch the model again") from None


def switched_off(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those that cut, fill up or vary the ids of a text: they are for batches and for training.

    >>> from refspec.models.tokenizer_library import switched_off
    >>> switched_off({"truncation": {"max_length": 8}, "model": {"dropout": 0.5, "vocab": {}}})
    {'truncation': None, 'model': {'dropout': None, 'vocab': {}}, 'padding': None}
    """
    model = settings.get("model")
    if isinstance(model, dict):
        model = {name: None if name in ("dropout", "alpha", "nbest_size") else value for name, value in model.items()}
    return {**settings, "model": model, "truncation": None, "padding": None}


@contextmanager
def quiet() -> Iterator[None]:
    """What is written to file 2 meanwhile goes nowhere: a panic prints there before it is raised."""
    with _ERRORS:
        try:
            kept = os.dup(2)
        except OSError:  # closed: nothing can be printed
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
