"""The text as HTML: whole, escaped, and with what was looked at for each token."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import write_folder

import refspec
from refspec.decoding.draft import Draft
from refspec.decoding.round import Round
from refspec.decoding.stats import stats
from refspec.models.streaming import Stream
from refspec.transcript import ROLES, html_of, predicted

VOID = {"input"}


class Page(HTMLParser):
    """The text and the spans of the text's own element, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, Any]]] = []
        self.tags: set[str] = set()
        self.spans: list[tuple[dict[str, Any], str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if len(self.open) > 1 and self.open[1][1].get("class") == "refspec-text":
            if self.spans and self.spans[-1][0] is self.open[-1][1]:
                data = self.spans.pop()[1] + data
            self.spans.append((self.open[-1][1], data))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.spans)


def html_for(rounds: Sequence[Round], stats: Any, tokenizer: Any) -> str:
    """Of text that nothing stands before."""
    texts: list[str] = []
    if tokenizer is not None:
        stream = Stream(tokenizer)
        texts = [stream.push(token) for each in rounds for token in each.tokens]
        texts[-1:] = [text + stream.waiting for text in texts[-1:]]
    return html_of(rounds, stats, tokenizer, texts)


class Letters:
    """A tokenizer of bytes."""

    decoder = None

    def token_of(self, id: int) -> str:  # noqa: A002
        return ""

    def decode(self, ids: Any) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


def page(text: str) -> Page:
    """Three bytes a round, of which two were drafted; at the end fewer may be kept."""
    ids = text.encode()
    rounds = []
    for start in range(0, len(ids), 3):
        kept = ids[start : start + 3]
        rounds.append(Round(tuple(ids[start : start + 2]), len(kept) - 1, kept[-1]))
    assert b"".join(bytes(each.tokens) for each in rounds) == ids
    return Page(html_for(rounds, stats(rounds, [0.0] * len(rounds)), Letters()))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert('1')</script> & \"&amp;\" </div>",
        "\n\n a  line\r\nand\tanother\r \x1b[31m\x07\x80 end\n",
        "\u00e9\u4e16\U0001f600 \u05d0 half a character belongs to the token that completes it",
        "",
    ],
)
def test_the_pages_text_is_the_text(text: str) -> None:
    shown = page(text)
    assert shown.text == text
    assert shown.tags <= {"div", "style", "span", "label", "input", "s", "table", "thead", "tbody", "tr", "th", "td"}


class Words(Letters):
    """A tokenizer whose ids are places in a list of texts."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def decode(self, ids: Any) -> str:
        return "".join(self.words[i] for i in ids)


def test_a_token_that_is_markup_is_escaped_wherever_it_stands() -> None:
    """Kept, in place of a rejected one, rejected, and in what a rejected one's note says."""
    words = ("<script>alert(1)</script>", "</div>&lt;", "\"><b x='", "\r\n")
    rounds = [Round((0, 2, 0), 1, 1), Round((3, 1), 2, 0), Round((2,), 0, 2)]
    html = html_for(rounds, stats(rounds, [0.0] * 3), Words(*words))
    shown = Page(html)
    assert shown.text == words[0] + words[1] + words[3] + words[1] + words[0] + words[2]
    assert not shown.tags & {"script", "b"}
    assert shown.spans[1][0]["data-rejected"] == words[2] + words[0]
    assert shown.spans[1][0]["title"] == f"corrected\nrejected: {words[2]!r}"
    assert "\r" not in html  # a browser would make a newline of it


def test_a_nul_shows_as_its_symbol() -> None:
    assert page("a\0b").text == "a\N{SYMBOL FOR NULL}b"


def test_half_a_character_belongs_to_the_token_that_completes_it() -> None:
    spans = page("\U0001f600!").spans  # three bytes a round
    assert [(each["class"], text) for each, text in spans] == [("accepted", "\U0001f600"), ("corrected", "!")]
    assert spans[0][0]["title"] == "accepted\n\naccepted\n\nbonus\n\naccepted"
    assert spans[1][0]["title"] == "corrected\nrejected: '!'"  # and nothing of the tokens before it


def test_a_character_left_incomplete_stands_at_the_end() -> None:
    rounds = [Round((), 0, 65), Round((), 0, 0xE4)]
    assert Page(html_for(rounds, stats(rounds, [0.0, 0.0]), Letters())).text == "A\ufffd"


def test_without_a_tokenizer_it_shows_ids() -> None:
    rounds = [Round((5, 6, 9), 2, 7), Round((), 0, 8)]
    shown = Page(html_for(rounds, stats(rounds, [0.0, 0.0]), None))
    assert shown.text == "5 6 7 8"
    assert [each["class"] for each, _ in shown.spans] == ["accepted", "accepted", "corrected", "plain"]
    assert shown.spans[2][0]["data-rejected"] == "9"


def test_each_kind_has_a_legend_and_an_underline_of_its_own() -> None:
    rounds = [Round((5, 6), 2, 7), Round((5, 6), 1, 7), Round((), 0, 8)]
    html = html_for(rounds, stats(rounds, [0.0] * 3), None)
    for name, what in ROLES.items():
        assert f'<span class="{name}">{name}</span>: {what}' in html
    for style in ("solid", "wavy", "double", "line-through"):
        assert style in html
    assert 'type="checkbox"' in html
    assert "</span> <span>" in html  # where a narrow page breaks the legend
    assert "corrected</span>:" not in html_for(rounds[:1], stats(rounds[:1], [0.0]), None)
    assert 'type="checkbox"' not in html_for(rounds[:1], stats(rounds[:1], [0.0]), None)
    assert "http" not in html
    assert "<script" not in html


TARGET, DRAFT = refspec.TableLM({(): [0.25, 0.75]}), refspec.TableLM({(): [0.5, 0.5]})


def test_on_hover_it_tells_what_was_compared() -> None:
    """q picks 0 at 0.1; p(0) = 1/4, q(0) = 1/2: accepted at 0.375, rejected at 0.5; what is left of p is all on 1."""
    for u, title in (
        (0.375, "accepted\np = 0.25\nq = 0.5\nu = 0.375: accepted"),
        (0.5, "corrected\np = 0.75\nq = 0.5\nrejected: '0'\np = 0.25\nq = 0.5\nu = 0.5: rejected"),
    ):
        drafter = refspec.ModelDrafter(DRAFT)
        out = refspec.speculative(
            TARGET, drafter, (), gamma=1, max_new_tokens=2, chance=refspec.Tape([0.1, u] + [0.4] * 3), record=True
        )
        spans = Page(html_for(out.rounds, stats(out.rounds, [0.0] * len(out.rounds)), None)).spans
        assert spans[0][0]["title"] == title


def test_a_test_of_something_else_than_p_against_q_is_not_passed_off_as_one() -> None:
    for rule, tells in ((refspec.verify.token, True), (refspec.verify.RULES["inexact-lenience"], False)):
        drafter = refspec.ModelDrafter(DRAFT)
        out = refspec.speculative(
            TARGET, drafter, (), gamma=2, max_new_tokens=9, chance=refspec.Seeded(0), verify=rule, record=True
        )
        assert ("u = " in html_for(out.rounds, stats(out.rounds, [0.0] * len(out.rounds)), None)) is tells


def test_without_a_record_hovering_tells_the_kind() -> None:
    rounds = [Round((5, 6), 1, 7)]
    assert [each["title"] for each, _ in Page(html_for(rounds, stats(rounds, [0.0]), None)).spans] == [
        "accepted",
        "corrected\nrejected: '6'",
    ]


def test_what_the_token_rule_promises_is_shown_where_that_rule_left_a_record() -> None:
    found = {}
    for name, rule in refspec.verify.RULES.items():
        drafter = refspec.CoupledDrafter(DRAFT) if name == "coupled" else refspec.ModelDrafter(DRAFT)
        out = refspec.speculative(
            TARGET, drafter, (), gamma=2, max_new_tokens=30, chance=refspec.Seeded(0), verify=rule, record=True
        )
        found[name] = predicted(out.rounds)
    assert found.pop("token") == pytest.approx((0.75, 1 + 0.75 + 0.75**2), abs=0.2)  # the last draft may be shorter
    assert set(found.values()) == {()}
    assert predicted([Round((5, 6), 1, 7)]) == predicted([]) == ()


def test_a_drafter_that_never_draws_and_a_round_without_a_draft() -> None:
    class Often:
        def propose(self, tokens: Any, gamma: int, chance: Any) -> Draft:
            return Draft((1,) * min(gamma, len(tokens) % 2))

    out = refspec.speculative(TARGET, Often(), (), gamma=1, max_new_tokens=9, chance=refspec.Seeded(1), record=True)
    html = html_for(out.rounds, stats(out.rounds, [0.0] * len(out.rounds)), None)
    assert "<th>predicted</th>" in html
    assert "q = 1\n" in html
    assert np.isclose(predicted(out.rounds)[0], 0.75)


def test_an_output_shows_itself_and_prints_as_text(tmp_path: Path) -> None:
    target = refspec.load(write_folder(tmp_path / "target"))
    for record in (False, True):
        out = refspec.generate(target, "to be", drafter=refspec.NgramDrafter, max_new_tokens=60, seed=2, record=record)
        assert Page(out._repr_html_()).text == str(out.text).replace("\0", "\N{SYMBOL FOR NULL}")
        assert str(out) == repr(out)
        assert "<" not in str(out).replace(repr(str(out.text)[:60])[:55], "")


def test_a_rule_that_asks_more_than_once_for_a_token_promises_nothing() -> None:
    def twice(draft: Draft, target_probs: Any, chance: Any) -> refspec.verify.Verdict:
        verdict = refspec.verify.token(draft, target_probs, chance)
        chance.accept(1, 2)
        return verdict

    out = refspec.speculative(
        TARGET, refspec.ModelDrafter(TARGET), (), gamma=1, max_new_tokens=4, chance=refspec.Seeded(0), verify=twice, record=True
    )
    assert predicted(out.rounds) == ()
