"""What one generation is asked for: on the command line, or by one line of JSONL."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any, BinaryIO

from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument

Messages = list[dict[str, str]]

WHOLE = ("seed", "gamma", "max_new_tokens", "top_k")
MAY_BE_NULL = ("top_k", "top_p", "min_p")
FOR_ALL_LINES = ("model", "draft", "ngram", "verify", "chat")


@dataclass(frozen=True)
class Request:
    """prompt: a text, ids, or the messages of a chat. settings: options of `refspec.generate` by their names.

    stop: ids, or texts that are one token each; None for the model's own end tokens. chat: a text is what a user says.
    labels: whatever else a line of JSONL holds, to be copied into its answer.
    """

    prompt: str | Tokens | Messages
    settings: dict[str, Any]
    stop: Sequence[int | str] | None = None
    chat: bool = False
    labels: dict[str, Any] = field(default_factory=dict)


def from_line(line: bytes, defaults: Request) -> Request:
    """The request in a line of JSONL. Raises BadArgument that says what is wrong with the line."""
    try:
        given = json.loads(line, parse_constant=refuse_constant)
        json.dumps(given, allow_nan=False)  # 1e999 is read as infinity, which the answer could not repeat
    except (ValueError, RecursionError) as error:
        raise BadArgument(f"not JSON ({error})") from None
    if not isinstance(given, dict):
        raise BadArgument(f'a {type(given).__name__} where an object is needed, such as {{"prompt": "Once upon a time"}}')
    for name in FOR_ALL_LINES:
        if name in given:
            raise BadArgument(f'"{name}" is the same for all lines; choose it on the command line')
    for name in given:
        if "-" in name and name.replace("-", "_") in defaults.settings:
            raise BadArgument(f'"{name}" is written "{name.replace("-", "_")}" in JSONL')
    if ("prompt" in given) == ("messages" in given):
        raise BadArgument('exactly one of "prompt" and "messages" is needed')
    prompt = as_messages(given.pop("messages")) if "messages" in given else as_prompt(given.pop("prompt"))
    if defaults.chat and not isinstance(prompt, str):
        raise BadArgument('--chat has no effect on "messages" or token ids; give the text as "prompt", or leave --chat out')
    stop = given.pop("stop", defaults.stop)
    settings = {name: as_setting(name, given.pop(name)) for name in defaults.settings if name in given}
    return replace(
        defaults,
        prompt=prompt,
        settings={**defaults.settings, **settings},
        stop=stop if stop is None or isinstance(stop, (list, tuple)) else [stop],
        labels=given,
    )


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")  # Python reads and writes NaN; nobody else does


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def as_setting(name: str, value: Any) -> Any:
    """Checks the type; the range is for the library to check."""
    if name == "gamma" and value == "auto":
        return value
    if is_whole(value) or (isinstance(value, float) and name not in WHOLE) or (value is None and name in MAY_BE_NULL):
        return value
    needed = ("a whole number" if name in WHOLE else "a number") + (" or null" if name in MAY_BE_NULL else "")
    needed += ' or "auto"' if name == "gamma" else ""
    raise BadArgument(f"{name} is {short(value)}; it is {needed}")


def as_prompt(value: Any) -> str | Tokens:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(is_whole(token) for token in value):
        return tuple(value)
    raise BadArgument(f"prompt is {short(value)}; it is a text or a list of token ids")


def as_messages(value: Any) -> Messages:
    def fine(message: Any) -> bool:
        return isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)

    if isinstance(value, list) and value and all(fine(message) for message in value):
        return value
    raise BadArgument(f'messages is {short(value)}; it is a list such as [{{"role": "user", "content": "Hello"}}]')


def read_text(name: str) -> str:
    """A file as text, or standard input for "-", without the newline that a text file ends in."""
    with opened(name) as file:
        data = file.read()
    try:
        return re.sub(r"\r?\n\Z", "", data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadArgument(f"{called(name)} is not UTF-8 text ({error.reason} at byte {error.start})") from None


def read_lines(name: str) -> Iterator[tuple[str, int, bytes]]:
    """The lines that are not blank, as they come: (where it is, its number, the line)."""
    with opened(name) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{called(name)}, line {number}", number, line


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer  # bytes: what a console's encoding is must not matter
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise BadArgument(f"{name} cannot be read ({error.strerror})") from None


def called(name: str) -> str:
    return "standard input" if name == "-" else name
