"""Text to ids and back, by the `tokenizers` library, where it exists; and a chat, by the model's own template."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refspec.brief import brief, counted, short
from refspec.errors import BadArgument, BadTokenizer
from refspec.files import MIB, is_there, read_bytes, read_json
from refspec.models.chat import ChatText, Messages, render, template_of
from refspec.models.special_tokens import added_tokens, names, vocabulary
from refspec.models.tokenizer_library import reader

LONGEST_TEXT = 1 << 20  # characters: some 200,000 tokens, which take the library 200 MB
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
LARGEST = 64 * MIB  # bytes of a tokenizer.json; the largest published ones have about 35 MiB


class Tokenizer:
    """The `tokenizer.json` of a model folder, with the chat template beside it.

    token_map: token -> id. special: the tokens that `decode` leaves out. added: those that are no part of the vocabulary that
    was learnt. names: the text of bos_token and its like. decoder: that part of tokenizer.json. Where files disagree,
    special_tokens.py says which one wins.

    >>> import refspec
    >>> tokenizer = refspec.load("tiny-target").tokenizer
    >>> tokenizer.decode(tokenizer.encode("ROMEO:"))
    'ROMEO:'
    """

    def __init__(self, folder: Path) -> None:
        path = Path(folder) / "tokenizer.json"
        settings = read_json(path, LARGEST, BadTokenizer)
        config, special_map, more = (_settings_in(Path(folder) / name) for name in BESIDE)
        settings["added_tokens"] = added = added_tokens(settings, config, special_map, more)
        self._library = reader(settings, str(path), split_special=config.get("split_special_tokens") is True)
        self.token_map: dict[str, int] = self._library.ids
        if not vocabulary(settings):
            raise BadTokenizer(f"{path} has no tokens; fetch the model again")
        for token in added:
            if token["id"] != self.token_map.get(token["content"]):
                raise BadTokenizer(
                    f"{path}: {short(token['content'])} would be {self.token_map.get(token['content'])}, and a file says "
                    f"{token['id']}; the files are not of one model"
                )
        self.special = frozenset(each["content"] for each in added if each["special"])
        self.added = frozenset(each["content"] for each in added)
        self.names = names(config, special_map)
        decoder = settings.get("decoder")
        self.decoder: dict[str, Any] | None = decoder if isinstance(decoder, dict) else None
        self._settings = config
        self._template_file = Path(folder) / "chat_template.jinja"

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
        if any("\ud800" <= each <= "\udfff" for each in text):
            raise BadTokenizer("the text holds a lone surrogate, which no UTF-8 text can; remove it")
        return self._library.encode(text, special=special and not isinstance(text, ChatText))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens left out. An incomplete UTF-8 sequence shows as U+FFFD.

        >>> import refspec
        >>> tokenizer = refspec.load("tiny-target").tokenizer
        >>> tokenizer.decode(tokenizer.encode("ROMEO:")[:1])
        'ROMEO'
        """
        return self._library.decode(ids)

    def token_of(self, id: int) -> str | None:  # noqa: A002
        """The token of this id as the vocabulary spells it, or None where there is none.

        >>> import refspec
        >>> refspec.load("tiny-target").tokenizer.token_of(814)
        'ROMEO'
        """
        return self._library.token_of(id)

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
        return render(template, messages, tokens=self.names, date=date, variables=template_vars)


def _settings_in(path: Path) -> dict[str, Any]:
    """What a file of settings holds; nothing where there is none."""
    return read_json(path) if is_there(path) else {}
