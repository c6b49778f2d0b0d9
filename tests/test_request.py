"""A request as it is read: from a text file, from standard input, and from a line of JSONL."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from refspec.cli.requests import FOR_ALL_LINES, OWN, Request, from_line, read_lines, read_text
from refspec.errors import BadArgument

SETTINGS = {"seed": 1, "gamma": 4, "max_new_tokens": 64, "temperature": 1.0, "top_k": 20, "top_p": None, "min_p": None}
DEFAULTS = Request("", SETTINGS, stop=("e",), chat=True)
BOM = b"\xef\xbb\xbf"


def read(line: dict[str, Any]) -> Request:
    return from_line(json.dumps(line).encode(), DEFAULTS)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"a", "a"),
        (b"a\n", "a"),
        (b"a\r\n", "a"),
        (b"a\n\n", "a\n"),
        (b"a\r\n\r\n", "a\r\n"),
        (b"a\n\r\n", "a\n"),
        (b"\na", "\na"),
        (b"a \t\n", "a \t"),
        (b"a\r", "a\r"),
        (b"\n", ""),
        (BOM + b"a\n", "a"),
        (BOM + BOM + b"a", "\ufeffa"),
        (b"a" + BOM, "a\ufeff"),
        ("größe\u2028\n".encode(), "größe\u2028"),
    ],
)
def test_a_file_is_its_text_without_its_mark_and_its_last_newline(
    data: bytes, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompt").write_bytes(data)
    assert read_text(str(tmp_path / "prompt")) == text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
    assert read_text("-") == text


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "prompt").write_bytes(b"caf\xe9 ")
    with pytest.raises(BadArgument, match=r"prompt is not UTF-8 text \(invalid continuation byte at byte 3\)"):
        read_text(str(tmp_path / "prompt"))
    with pytest.raises(BadArgument, match="cannot be read"):
        read_text(str(tmp_path))


def test_lines_keep_their_numbers_and_blank_ones_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\n1\n \t\r\n2\r\n\n3"
    (tmp_path / "lines").write_bytes(data)
    name = str(tmp_path / "lines")
    assert list(read_lines(name)) == [(f"{name}, line {n}", n, line) for n, line in ((2, b"1\n"), (4, b"2\r\n"), (6, b"3"))]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert next(read_lines("-")) == ("standard input, line 2", 2, b"1\n")


def test_a_first_line_with_a_mark_is_read_like_any_other() -> None:
    assert from_line(BOM + b'{"prompt": "a"}', DEFAULTS).prompt == "a"


def test_a_line_has_the_defaults_but_for_what_it_says() -> None:
    found = read({"prompt": "a", "seed": 9, "top_k": None, "id": 3, "labels": {"any": "thing"}})
    assert found == Request("a", {**SETTINGS, "seed": 9, "top_k": None}, ("e",), True, {"id": 3, "labels": {"any": "thing"}})
    assert DEFAULTS.settings == SETTINGS == {**SETTINGS, "seed": 1}


def test_a_chat_option_is_for_texts() -> None:
    text_only = replace(DEFAULTS, chat=False)
    messages = [{"role": "user", "content": "Hi"}]
    for given, prompt in (({"prompt": [1, 2]}, (1, 2)), ({"messages": messages}, messages)):
        assert from_line(json.dumps(given).encode(), text_only).prompt == prompt
        with pytest.raises(BadArgument, match='--chat has no effect on "messages" or token ids'):
            read(given)


@pytest.mark.parametrize(("given", "stop"), [(None, None), ("x", ["x"]), (7, [7]), ([], []), (["x", 7], ["x", 7])])
def test_a_stop_may_be_one_or_several_or_the_models_own(given: Any, stop: Any) -> None:
    assert read({"prompt": "a", "stop": given}).stop == stop


@pytest.mark.parametrize(
    ("line", "said"),
    [
        *(({"prompt": "a", name: 1}, f'"{name}" is the same for all lines') for name in FOR_ALL_LINES),
        ({"prompt": [1, "a"]}, "it is a text or a list of token ids"),
        ({"prompt": None}, "prompt is None"),
        ({"messages": "Hi"}, "messages is 'Hi'"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages is"),
        ({"messages": [{"role": 3, "content": "Hi"}]}, "messages is"),
        ({"messages": [{"role": "user", "content": "Hi"}, "Hi"]}, "messages is"),
    ],
)
def test_a_line_that_asks_for_nothing_we_have_says_so(line: dict[str, Any], said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        read(line)


def test_what_a_line_cannot_choose_is_what_is_loaded_once() -> None:
    assert set(FOR_ALL_LINES) >= {"model", "draft", "ngram", "verify", "chat", "profile", "row_invariant"}
    assert set(FOR_ALL_LINES) >= {"date", "template_var", "enable_thinking"}
    assert len(FOR_ALL_LINES) == 10


NAMES = st.sampled_from([*OWN[2:], *SETTINGS]) | st.text().filter(lambda name: name not in (*OWN, *FOR_ALL_LINES))


@hypothesis.given(st.dictionaries(NAMES, st.integers() | st.text(), max_size=3))  # all of them fit in a message
def test_nothing_in_a_line_is_ignored(more: dict[str, Any]) -> None:
    """Each key has an effect, is copied, or is refused by its name."""
    line = {"prompt": "a", **more}
    if unknown := line.keys() - {*OWN, *SETTINGS}:
        with pytest.raises(BadArgument) as error:
            read(line)
        assert all(str(BadArgument(short(name))) in str(error.value) for name in unknown)
    else:
        found = read(line)
        assert found.settings == {name: line.get(name, default) for name, default in SETTINGS.items()}
        assert found.labels == {name: line[name] for name in ("id", "labels") if name in line}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("temprature", "temperature"),
        ("max_tokens", "max_new_tokens"),
        ("max-new-tokens", "max_new_tokens"),
        ("Seed", "seed"),
        ("stops", "stop"),
        ("label", "labels"),
        ("repetition_penalty", None),
        ("category", None),
    ],
)
def test_an_unknown_key_is_refused_beside_the_nearest_known_one(name: str, nearest: str | None) -> None:
    with pytest.raises(BadArgument, match=f"'{name}'" + (rf" \(did you mean {nearest}\?\)" if nearest else ": no key")):
        read({"prompt": "a", name: 1})
