"""A chat as the text that the model was trained to see: its own template, in the surroundings it was written for.

The template is a program that came with the weights, so it runs sandboxed in a process with limits (`template_process`):
10 seconds of a core, 512 MB of memory where the system can limit it (Linux), and a million characters of text more than twice the
messages'. Windows and macOS keep the time, by the clock, and the length.
"""

import datetime
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from reprlib import repr as short
from typing import Any

from refspec.errors import BadArgument, BadTokenizer, reason

Messages = Sequence[Mapping[str, Any]]

SECONDS, CLOCK_SECONDS, MEGABYTES, CHARACTERS = 10, 60, 512, 1_000_000
NEEDED = '[{"role": "user", "content": "Hello"}]'
REASONING = ("reasoning_content", "thinking", "reasoning")


class ChatText(str):
    """A chat spelt out whole: a tokenizer puts no begin token before it, since the template wrote its own.

    >>> from refspec.models.chat import ChatText
    >>> ChatText("<s>Hi")
    '<s>Hi'
    """


def as_messages(given: Any) -> list[dict[str, Any]]:
    """Messages, checked: each has a role, and a content that is a text, a list of parts, or left out beside tool calls.

    Raises BadArgument for anything else.

    >>> from refspec.models.chat import as_messages
    >>> as_messages(({"role": "user", "content": "Hello"},))
    [{'role': 'user', 'content': 'Hello'}]
    """

    def fine(message: Any) -> bool:
        if not (isinstance(message, Mapping) and isinstance(message.get("role"), str)):
            return False
        content = message.get("content")
        return isinstance(content, (str, list)) or (content is None and bool(message.get("tool_calls")))

    if isinstance(given, (list, tuple)) and given and all(fine(message) for message in given):
        return [{name: value for name, value in message.items() if value is not None} for message in given]
    raise BadArgument(f"messages is {short(given)}; it is a list such as {NEEDED}")


def as_date(given: str | datetime.date | None) -> str:
    """What the template takes for now, in ISO form; the present second if None. Raises BadArgument for what is no date.

    >>> from refspec.models.chat import as_date
    >>> as_date("2026-11-27")
    '2026-11-27T00:00:00'
    """
    if given is None:
        return datetime.datetime.now().isoformat(timespec="seconds")
    try:
        return datetime.datetime.fromisoformat(given if isinstance(given, str) else given.isoformat()).isoformat()
    except (ValueError, AttributeError):
        raise BadArgument(f"date is {short(given)}; it is a date such as 2026-11-27 or 2026-11-27T09:30") from None


def template_of(settings: Mapping[str, Any], file: str | None) -> str | None:
    """The template of a model: that of chat_template.jinja, else the one in the settings, of several the default.

    >>> from refspec.models.chat import template_of
    >>> template_of({"chat_template": [{"name": "default", "template": "{{ messages }}"}]}, None)
    '{{ messages }}'
    """
    template = settings.get("chat_template") if file is None else file
    if isinstance(template, list):  # several named ones
        template = {each.get("name"): each.get("template") for each in template if isinstance(each, dict)}.get("default")
    return template if isinstance(template, str) else None


def render(
    template: str,
    messages: Messages,
    *,
    tokens: Mapping[str, Any],
    date: str | None = None,
    variables: Mapping[str, Any] | None = None,
) -> ChatText:
    """The text of a chat up to the model's turn. tokens: what the template knows as bos_token and the like.

    date: what `strftime_now` goes by. variables: whatever else the template reads, such as enable_thinking or tools.
    Raises BadArgument for messages or variables that are none, BadTokenizer where the template fails or takes too much.

    >>> from refspec.models.chat import render
    >>> render("{{ bos_token }}{{ messages[0].content }}", [{"role": "user", "content": "Hi"}], tokens={"bos_token": "<s>"})
    '<s>Hi'
    """
    if find_spec("jinja2") is None:
        raise BadTokenizer("chat templates need jinja2; run: pip install '.[chat]'")
    messages = [_with_reasoning(each) for each in as_messages(messages)]
    if "messages" in (variables or {}):
        raise BadArgument("messages is no variable of a template; give the messages as the prompt")
    given = {"tools": None, "documents": None, "add_generation_prompt": True, **tokens, **(variables or {}), "messages": messages}
    try:
        characters = CHARACTERS + 2 * len(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadArgument(f"a chat and its variables are made of what JSON has ({error})") from None
    asked = {
        "template": template,
        "variables": given,
        "date": as_date(date),
        "path": [each for each in sys.path if each],
        "seconds": SECONDS,
        "megabytes": MEGABYTES,
        "characters": characters,
    }
    answer = _answered(json.dumps(asked).encode())
    if "text" not in answer:
        raise BadTokenizer(f"the chat template failed: {answer['error']}")
    return ChatText(answer["text"])


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """What an assistant thought goes by three names; a template reads the first or the second."""
    thought = next((message[name] for name in REASONING if name in message), None)
    return message if thought is None else {"thinking": thought, **message, "reasoning_content": thought}


def _answered(asked: bytes) -> dict[str, str]:
    """What the process says: {"text"} or {"error"}."""
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("template_process.py"))]  # a bare interpreter starts fast
    try:
        done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=CLOCK_SECONDS)
    except subprocess.TimeoutExpired:
        return {"error": f"it took more than {CLOCK_SECONDS} seconds"}
    except OSError as error:
        return {"error": f"no process for it can be started ({reason(error)})"}
    if -done.returncode == getattr(signal, "SIGXCPU", None):
        return {"error": f"it took more than {SECONDS} seconds"}
    try:
        answer: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        return {"error": f"its process ended without an answer; it may take {MEGABYTES} MB"}
    return answer
