"""A chat: what its template is given, where its work ends, and one door for messages."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_templates import DATE, HELLO, SMALL, TOKENS, answered_here
from folders import BEGIN_ID, write_folder, write_tokenizer
from hypothesis import given
from hypothesis import strategies as st

import refspec
from refspec.errors import BadArgument, BadTokenizer
from refspec.models import chat
from refspec.models.chat import as_date, as_messages, render
from refspec.models.tokenizer import Tokenizer


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_answered", answered_here)


@pytest.mark.parametrize("template", SMALL)
@pytest.mark.usefixtures("in_this_process")
def test_small_templates_say_what_they_are_meant_to(template: str) -> None:
    assert render(template, HELLO, tokens=TOKENS, date=DATE) == SMALL[template]


def test_so_they_do_in_a_process_of_their_own() -> None:
    """A few of them, since each costs its start; the `peers` tests render all."""
    for template in list(SMALL)[:14:4]:
        assert render(template, HELLO, tokens=TOKENS, date=DATE) == SMALL[template]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ 'a' * 10 ** 10 }}", "512 MB"),
        ("{{ 'a'|center(10 ** 10) }}", "512 MB"),
        ("{{ '%10000000000d' % 1 }}", "512 MB"),
        ("{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "512 MB"),
        ("{{ 'a' * 3000000 }}", "more than 1,000,[0-9]+ characters"),
        (
            "{% for i in range(9999) %}{% for j in range(9999) %}xxxxxxxx{% endfor %}{% endfor %}",
            "more than 1,000,[0-9]+ characters",
        ),
        ("{{ 9 ** (9 ** 9) }}", "1 seconds"),
        (
            "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
            "1 sec",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deeply"),
        ("{{ raise_exception('x' * 10000) }}", "xxx"),
    ],
)
def test_work_without_end_is_ended_in_one_line(template: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "SECONDS", 1 if "1 sec" in said else 10)
    pytest.importorskip("resource", reason="the system has no limits on a process")
    started = time.perf_counter()
    with pytest.raises(BadTokenizer, match=rf"^the chat template failed: .*{said}") as error:
        render(template, HELLO, tokens=TOKENS)
    assert len(str(error.value)) < 400
    assert time.perf_counter() - started < 30


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@given(given_messages=JSON)
def test_what_is_no_list_of_messages_is_refused(given_messages: Any) -> None:
    with pytest.raises(BadArgument, match=r"^messages is .*; it is a list such as"):
        as_messages(given_messages)


@given(content=st.text(st.characters(codec="utf-8"), max_size=30), more=st.dictionaries(st.text(min_size=1), JSON, max_size=3))
def test_messages_are_kept_as_they_are_but_for_what_is_none(content: str, more: dict[str, Any]) -> None:
    message = {**more, "role": "user", "content": content}
    assert as_messages([message]) == [{name: value for name, value in message.items() if value is not None}]


@pytest.mark.parametrize("date", ["yesterday", "", 3, "2026-13-01"])
def test_what_is_no_date_is_refused(date: Any) -> None:
    with pytest.raises(BadArgument, match=r"^date is .*; it is a date such as 2026-11-27"):
        as_date(date)


@pytest.mark.parametrize("variables", [{"a": np.zeros(2)}, {"a": {1, 2}}, {"a": float("nan")}, {"messages": []}])
def test_variables_are_what_json_has(variables: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        render("x", HELLO, tokens={}, variables=variables)


@pytest.mark.parametrize("name", ["sep_token", "cls_token", "mask_token", "image_token", "eos_token"])
@pytest.mark.usefixtures("in_this_process")
def test_special_tokens_are_known_whichever_file_names_them(name: str, tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    settings, more = tmp_path / "tokenizer_config.json", tmp_path / "special_tokens_map.json"
    shown = {"chat_template": f"{{{{ {name} }}}}"}
    for where in ({name: "<x>"}, {name: {"content": "<x>"}}, {"extra_special_tokens": {name: "<x>"}}):
        settings.write_text(json.dumps(shown | where))
        assert Tokenizer(tmp_path).chat(HELLO) == "<x>"
    more.write_text(json.dumps({name: {"content": "<y>"}}))
    settings.write_text(json.dumps(shown | {name: None}))
    assert Tokenizer(tmp_path).chat(HELLO) == "<y>"
    settings.write_text(json.dumps(shown | {name: "<x>"}))
    assert Tokenizer(tmp_path).chat(HELLO) == "<y>"
    settings.write_text(json.dumps(shown | {name: "<x>", "added_tokens_decoder": {}}))
    assert Tokenizer(tmp_path).chat(HELLO) == "<x>"


@pytest.fixture
def begins(tmp_path: Path) -> refspec.Model:
    """A model whose tokenizer and whose template both write the begin token."""
    write_folder(tmp_path)
    write_tokenizer(tmp_path, begin=True)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    template = "{{ bos_token }}{{ messages[0].content }}{{ strftime_now('%Y') }}{{ mood }}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    return refspec.load(tmp_path)


def test_a_chat_begins_once_through_every_door(begins: refspec.Model) -> None:
    assert begins.tokenizer is not None
    messages, settings = [{"role": "user", "content": "A"}], {"date": "2001-02-03", "template_vars": {"mood": "!"}}
    expected = (BEGIN_ID, *b"A2001!")
    out = refspec.generate(begins, messages, max_new_tokens=1, date="2001-02-03", template_vars={"mood": "!"})
    assert out.prompt_tokens == expected
    assert out.chat == {**settings, "date": "2001-02-03T00:00:00"}
    assert refspec.generate(begins, messages, max_new_tokens=1, **out.chat).prompt_tokens == expected
    text = begins.tokenizer.chat(messages, date="2001-02-03", template_vars={"mood": "!"})
    again = refspec.generate(begins, text, max_new_tokens=1)
    assert (again.prompt_tokens, again.chat) == (expected, None)


def test_settings_of_a_template_need_a_chat(begins: refspec.Model) -> None:
    with pytest.raises(BadArgument, match=r"date has no effect without messages"):
        refspec.generate(begins, "A", date="2001-02-03")
    with pytest.raises(BadArgument, match=r"template_vars has no effect without messages"):
        refspec.generate(begins, [65], template_vars={})
    with pytest.raises(BadArgument, match=r"messages is"):
        refspec.generate(begins, [{"role": "user"}])
