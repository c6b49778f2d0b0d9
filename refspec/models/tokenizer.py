"""Text to ids and back, by the `tokenizers` library; and a chat, by the model's own template."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refspec.brief import brief, counted
from refspec.errors import BadArgument, BadTokenizer
from refspec.files import MIB, in_words, is_there, read_bytes, read_json, require_regular
from refspec.models.chat import ChatText, Messages, render, template_of

LONGEST_TEXT = 1 << 20  # characters: some 200,000 tokens, which take the library 200 MB
LARGEST = 64 * MIB  # bytes of a tokenizer.json; the largest published ones have about 35 MiB


class Tokenizer:
    """The `tokenizer.json` of a model folder, with the chat template beside it.

    token_map: token -> id. special: the tokens that `decode` leaves out. decoder: that part of tokenizer.json.

    >>> import refspec
    >>> tokenizer = refspec.load("tiny-target").tokenizer
    >>> tokenizer.decode(tokenizer.encode("ROMEO:"))
    'ROMEO:'
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer as Library

        path = Path(folder) / "tokenizer.json"
        size = require_regular(path, BadTokenizer)
        if size > LARGEST:
            raise BadTokenizer(f"{path} is larger than {in_words(LARGEST)}, which is the limit for such a file")
        try:
            self._library = Library.from_file(str(path))
        except Exception as error:  # the library raises bare Exceptions
            raise BadTokenizer(f"{path} cannot be read ({error}); fetch the model again") from None
        self._settings = read_json(settings) if is_there(settings := Path(folder) / "tokenizer_config.json") else {}
        self._special_map = read_json(more) if is_there(more := Path(folder) / "special_tokens_map.json") else {}
        self._template_file = Path(folder) / "chat_template.jinja"
        self.token_map: dict[str, int] = self._library.get_vocab(with_added_tokens=True)
        if not self.token_map:
            raise BadTokenizer(f"{path} has no tokens; fetch the model again")
        self.special = frozenset(each.content for each in self._library.get_added_tokens_decoder().values() if each.special)
        state = None if self._library.decoder is None else self._library.decoder.__getstate__()
        self.decoder: dict[str, Any] | None = state and json.loads(state)

    def __repr__(self) -> str:
        return brief(self, counted(len(self.token_map), "token"))

    def encode(self, text: str, *, special: bool = True) -> tuple[int, ...]:
        """The ids of `text`. special: with what the tokenizer puts around a text, such as a begin token, but around no chat.

        >>> import refspec
        >>> tokenizer = refspec.load("tiny-target").tokenizer
        >>> tokenizer.encode("ROMEO:")
        (814, 26)
        """
        if len(text) > LONGEST_TEXT:
            raise BadArgument(f"the text has {len(text):,} characters; at most {LONGEST_TEXT:,} are read: shorten it")
        try:
            return tuple(self._library.encode(text, add_special_tokens=special and not isinstance(text, ChatText)).ids)
        except (UnicodeEncodeError, TypeError):
            raise BadTokenizer("the text holds a lone surrogate, which no UTF-8 text can; remove it") from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens left out. An incomplete UTF-8 sequence shows as U+FFFD.

        >>> import refspec
        >>> tokenizer = refspec.load("tiny-target").tokenizer
        >>> tokenizer.decode(tokenizer.encode("ROMEO:")[:1])
        'ROMEO'
        """
        return str(self._library.decode(list(ids), skip_special_tokens=True))

    def token_of(self, id: int) -> str | None:  # noqa: A002
        """The token of this id as the vocabulary spells it, or None where there is none.

        >>> import refspec
        >>> refspec.load("tiny-target").tokenizer.token_of(814)
        'ROMEO'
        """
        return self._library.id_to_token(id)

    @property
    def has_chat(self) -> bool:
        """Whether there is a template for `chat`.

        >>> import refspec
        >>> tokenizer = refspec.load("tiny-target").tokenizer
        >>> tokenizer.has_chat
        False
        """
        return self._template() is not None

    def _template(self) -> str | None:
        file = self._template_file
        given = read_bytes(file, kind=BadTokenizer).decode("utf-8", "replace") if is_there(file, BadTokenizer) else None
        return template_of(self._settings, given)

    def chat(self, messages: Messages, *, date: str | None = None, template_vars: Mapping[str, Any] | None = None) -> ChatText:
        """The prompt that asks the model for its turn after `messages` ({"role": ..., "content": ...}).

        date: what the template takes for today ("2026-11-27"); today if None. template_vars: more for the template to read, such
        as {"enable_thinking": False}. Raises BadArgument for messages that are none, and BadTokenizer without a template, without
        jinja2, or where the template refuses the messages or takes too much time, memory or space.
        """
        if (template := self._template()) is None:
            raise BadTokenizer("this model has no chat template; leave out the chat option or use an instruction-tuned model")
        return render(template, messages, tokens=self._special_tokens(), date=date, variables=template_vars)

    def _special_tokens(self) -> dict[str, str]:
        """bos_token and its like as text: they stand in the settings as strings or as {"content": ...}."""
        given = {**self._special_map, **{name: value for name, value in self._settings.items() if value is not None}}
        named = {name: value for name, value in given.items() if name.endswith("_token")}
        if isinstance(more := given.get("extra_special_tokens"), dict):
            named |= more
        spelt = {name: value.get("content") if isinstance(value, dict) else value for name, value in named.items()}
        return {name: value for name, value in spelt.items() if isinstance(value, str) and value}
