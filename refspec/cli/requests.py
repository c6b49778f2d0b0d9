"""What one generation is asked for: on the command line, or by one line of JSONL."""

import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any, BinaryIO

from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument, did_you_mean, reason
from refspec.files import MIB, at_most, in_words, strict_json
from refspec.models.chat import Messages, as_messages

LONGEST_TEXT, LONGEST_LINE = 4 * MIB, 8 * MIB  # bytes; of characters the tokenizer takes fewer
OWN = ("prompt", "messages", "stop", "id", "labels")  # the keys of a line beside its settings
FOR_ALL_LINES = (
    "model",
    "draft",
    "ngram",
    "verify",
    "chat",
    "profile",
    "row_invariant",
    "date",
    "template_var",
    "enable_thinking",
)


@dataclass(frozen=True)
class Request:
    """prompt: a text, ids, or the messages of a chat. settings: options of `refspec.generate` by their names.

    stop: ids and texts; None for the model's own end tokens. chat: a text is what a user says. labels: "id" and "labels" of a
    line of JSONL, where it has them, to be copied into its answer.
    """

    prompt: str | Tokens | Messages
    settings: dict[str, Any]
    stop: Sequence[int | str] | None = None
    chat: bool = False
    labels: dict[str, Any] = field(default_factory=dict)


def from_line(line: bytes, defaults: Request) -> Request:
    """The request in a line of JSONL. Raises BadArgument that says what is wrong with the line."""
    try:
        given = strict_json(line)
    except ValueError as error:
        raise BadArgument(f"not JSON ({error})") from None
    if not isinstance(given, dict):
        raise BadArgument(f'a {type(given).__name__} where an object is needed, such as {{"prompt": "Once upon a time"}}')
    for name in FOR_ALL_LINES:
        if name in given:
            raise BadArgument(f'"{name}" is the same for all lines; choose it on the command line')
    known = (*OWN, *defaults.settings)
    if unknown := [name for name in given if name not in known]:
        names = " and ".join(f"{short(name)}{did_you_mean(name, known)}" for name in unknown)
        raise BadArgument(
            f'{names}: no key of a line, which has {", ".join(known)}; what is only to be copied goes under "labels"'
        )
    if ("prompt" in given) == ("messages" in given):
        raise BadArgument('exactly one of "prompt" and "messages" is needed')
    prompt = as_messages(given["messages"]) if "messages" in given else as_prompt(given["prompt"])
    if defaults.chat and not isinstance(prompt, str):
        raise BadArgument('--chat has no effect on "messages" or token ids; give the text as "prompt", or leave --chat out')
    stop = given.get("stop", defaults.stop)
    return replace(
        defaults,
        prompt=prompt,
        settings={name: given.get(name, default) for name, default in defaults.settings.items()},
        stop=stop if stop is None or isinstance(stop, (list, tuple)) else [stop],
        labels={name: given[name] for name in ("id", "labels") if name in given},
    )


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def as_prompt(value: Any) -> str | Tokens:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(is_whole(token) for token in value):
        return tuple(value)
    raise BadArgument(f"prompt is {short(value)}; it is a text or a list of token ids")


def read_text(name: str) -> str:
    """A file as text, or standard input for "-", without the newline that a text file ends in."""
    with opened(name) as file:
        data = at_most(file, LONGEST_TEXT, called(name), BadArgument)
    try:
        return re.sub(r"\r?\n\Z", "", data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadArgument(f"{called(name)} is not UTF-8 text ({error.reason} at byte {error.start})") from None


def read_lines(name: str) -> Iterator[tuple[str, int, bytes]]:
    """The lines that are not blank, as they come: (where it is, its number, the line)."""
    with opened(name) as file:
        for number in itertools.count(1):
            line = file.readline(LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > LONGEST_LINE:  # where it ends is not known, so nothing behind it can be read either
                raise BadArgument(f"{called(name)}, line {number} is longer than {in_words(LONGEST_LINE)}, the limit for a line")
            if line.strip():
                yield f"{called(name)}, line {number}", number, line


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer  # bytes: what a console's encoding is must not matter
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise BadArgument(f"{name} cannot be read ({reason(error)})") from None
    with file:
        yield file


def called(name: str) -> str:
    return "standard input" if name == "-" else name
