"""Chat templates beside transformers' own rendering: equal text, character for character."""

import datetime
from typing import Any

import pytest
from chat_templates import DATE, HELLO, LARGE, SMALL, TALK, TOKENS, VARIABLES

from refspec.errors import BadTokenizer
from refspec.models.chat import render

pytestmark = pytest.mark.peers


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> "Frozen":
        return cls.fromisoformat(DATE)


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Their rendering as `apply_chat_template` calls it, which drops what a message has as None first."""
    from transformers.utils import chat_template_utils as library

    monkeypatch.setattr(library, "datetime", Frozen)

    def said(template: str, messages: list[dict[str, Any]], variables: dict[str, Any]) -> str:
        chat = library._normalize_chat_messages(messages)
        given = {**TOKENS, **variables}
        (text,), _ = library.render_jinja_template([chat], chat_template=template, add_generation_prompt=True, **given)
        return str(text)

    return said


@pytest.mark.parametrize("template", [*SMALL, *LARGE])
@pytest.mark.parametrize("variables", VARIABLES, ids=lambda each: "+".join(each) or "none")
def test_the_text_is_that_of_transformers(template: str, variables: dict[str, Any], theirs: Any) -> None:
    for messages in (HELLO, TALK):
        try:
            expected = theirs(template, messages, variables)
        except Exception:
            with pytest.raises(BadTokenizer):
                render(template, messages, tokens=TOKENS, date=DATE, variables=variables)
            continue
        assert render(template, messages, tokens=TOKENS, date=DATE, variables=variables) == expected
