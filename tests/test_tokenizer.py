"""A chat template is a program that came with the weights: what it is given, how it is read, and what it may not do."""

import json
from pathlib import Path
from typing import Any

import pytest
from chat_templates import answered_here
from folders import BEGIN_ID, END_ID, write_tokenizer

from refspec.errors import BadTokenizer
from refspec.models import chat
from refspec.models.tokenizer import Tokenizer

HELLO = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_answered", answered_here)


def tokenizer(folder: Path, template: Any = None, **settings: Any) -> Tokenizer:
    """One with these settings. template: as in tokenizer_config.json."""
    write_tokenizer(folder)
    if template is not None:
        settings["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return Tokenizer(folder)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__name__ }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ ''['__class__'].__name__ }}",
        "{{ (''|attr('__class__')).__name__ }}",
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ raise_exception.__globals__.keys() }}",
        "{{ '{0.__class__.__name__}'.format(1) }}",
        "{{ range(1000000000)|length }}",
        "{{ messages.append(messages[0]) }}",
        "{{ messages.clear() }}",
        "{{ messages[0].update({'content': 'Give me the password'}) }}",
        "{{ messages[0].pop('content') }}",
    ],
)
def test_a_template_gets_no_further_than_its_text(template: str, tmp_path: Path) -> None:
    """Neither to Python's insides, nor into the messages it was given, nor to memory without end."""
    messages = [dict(each) for each in HELLO]
    with pytest.raises(BadTokenizer, match="the chat template failed"):
        tokenizer(tmp_path, template).chat(messages)
    assert messages == HELLO


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ messages[0].content|upper }}", "HI"),
        ("{{ messages|length }}{{ range(3)|list }}", "1[0, 1, 2]"),
        ("{{ '{0}'.format(messages[0]['role']) }}", "user"),
        ("{% set kept = namespace(n=0) %}{% for each in messages %}{% set kept.n = 1 %}{% endfor %}{{ kept.n }}", "1"),
        ("{% if add_generation_prompt %}your turn{% endif %}", "your turn"),
        ("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "02"),
        # blocks leave no line of their own, nor the spaces before them: templates are written for that
        ("{% for each in messages %}\n    {% if 1 %}\n  {{ each.content }}\n    {% endif %}\n{% endfor %}\nend", "  Hi\nend"),
        ("Grüße, {{ messages[0].content }} <b>&", "Grüße, Hi <b>&"),  # nothing is escaped as if for a browser
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_what_templates_are_written_with_works(template: str, said: str, tmp_path: Path) -> None:
    assert tokenizer(tmp_path, template).chat(HELLO) == said


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% if messages[0].role == 'user' %}{{ raise_exception('the system speaks first') }}{% endif %}", "the system speaks"),
        ("{% if", "unexpected 'end of template'"),
        ("{{ no_such_function() }}", "no_such_function"),
        ("{{ 1 // 0 }}", "zero"),
    ],
)
def test_a_template_that_fails_says_why(template: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadTokenizer, match=f"the chat template failed: .*{said}"):
        tokenizer(tmp_path, template).chat(HELLO)


@pytest.mark.usefixtures("in_this_process")
def test_special_tokens_stand_in_the_template_however_the_settings_spell_them(tmp_path: Path) -> None:
    template = "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token }}"
    spelled = {"bos_token": "<b>", "eos_token": {"content": "<e>", "lstrip": False}, "pad_token": None}
    assert tokenizer(tmp_path, template, **spelled).chat(HELLO) == "<b>|<e>||"
    spelled = {"pad_token": "<p>", "unk_token": {"content": "<u>"}, "bos_token": {"lstrip": True}}
    assert tokenizer(tmp_path, template, **spelled).chat(HELLO) == "||<p>|<u>"


@pytest.mark.usefixtures("in_this_process")
def test_of_several_named_templates_the_default_is_taken(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    for order in (named, named[::-1], [*named, "junk", {"name": "rag"}]):
        assert tokenizer(tmp_path, order).chat(HELLO) == "plain"
    for without in (named[:1], [], [{"name": "default"}], [{"name": "default", "template": 3}], 3, {"default": "plain"}, None):
        found = tokenizer(tmp_path, without)
        assert not found.has_chat
        with pytest.raises(BadTokenizer, match="no chat template"):
            found.chat(HELLO)


@pytest.mark.usefixtures("in_this_process")
def test_a_template_file_goes_before_the_settings(tmp_path: Path) -> None:
    found = tokenizer(tmp_path, "of the settings")
    assert (found.has_chat, found.chat(HELLO)) == (True, "of the settings")
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}, größer", encoding="utf-8")
    assert Tokenizer(tmp_path).chat(HELLO) == ", größer"
    (tmp_path / "tokenizer_config.json").unlink()
    assert Tokenizer(tmp_path).has_chat
    assert Tokenizer(tmp_path).chat(HELLO) == ", größer"


def test_a_template_file_with_a_damaged_character_is_still_a_template(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"gr\xf6\xdfer {{ messages[0].content }}")
    assert Tokenizer(tmp_path).chat(HELLO) == "gr\ufffd\ufffder Hi"


def test_special_tokens_go_around_a_text_only_where_asked_and_into_no_text(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, begin=True)
    found = Tokenizer(tmp_path)
    assert found.encode("A") == (BEGIN_ID, 65)
    assert found.encode("A", special=False) == (65,)
    assert found.encode("A<|end|>", special=False) == (65, END_ID)
    assert found.decode([BEGIN_ID, 65, END_ID]) == "A"
    assert found.token_map["<|end|>"] == END_ID
    assert len(found.token_map) == 259


def test_a_folder_is_a_path_or_its_name(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    assert Tokenizer(str(tmp_path)).encode("A") == (65,)  # type: ignore[arg-type]
