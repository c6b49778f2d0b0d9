"""The page of `refspec trace` as a person uses it, in a headless Chromium: keys, links, a narrow window, the dark, no network."""

import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import chromium
import pytest
from chromium import Page
from folders import write_folder

import refspec
from refspec.generate import Output
from refspec.trace import page
from refspec.trace.passes import Pass, watched

pytestmark = pytest.mark.skipif(chromium.FOUND is None, reason=f"needs a browser: one of {', '.join(chromium.NAMES)}")

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028\u202e\u2066\x00\x1bé"
Show = Callable[..., list[dict[str, Any]]]

HERE = """({
  heading: document.getElementById("heading").textContent, hash: location.hash, title: document.title,
  summary: document.getElementById("summary").textContent, text: document.getElementById("text").textContent,
  link: document.querySelector("#timeline [aria-current]").textContent.match(/\\d+/)[0],
  focus: document.activeElement.id || document.activeElement.tagName,
})"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.window(1000)
        yield opened


@pytest.fixture
def show(tab: Page, tmp_path: Path) -> Iterator[Show]:
    """Put a generation into the tab. Whatever a test does there, nothing is asked for and the console stays silent."""
    address = (tmp_path / "trace.html").as_uri()

    def open_(out: Output, hash_: str = "", **options: Any) -> None:
        (tmp_path / "trace.html").write_text(page(out, **options), encoding="utf-8")
        tab.open(address + hash_)

    yield open_
    tab.tell("0")  # so that all it had to say before has been heard
    assert tab.complaints == []
    assert [each for each in tab.requests if each != "data:,"] == [tab.tell("location.href").partition("#")[0]]


@pytest.fixture(scope="module", name="out")
def generation() -> Output:
    asked: dict[str, Any] = {"max_new_tokens": 24, "stop": (), "seed": 1, "temperature": 1.2, "record": True}
    return refspec.generate("tiny-target", "ROMEO:", drafter="tiny-draft", **asked)


def here(tab: Page) -> Any:
    return tab.tell(HERE)


def number(tab: Page) -> int:
    """Of the round that is shown; all that names one agrees."""
    found = here(tab)
    (shown,) = {int(re.findall(r"\d+", found[name])[0]) for name in ("heading", "link", "title")}
    if found["hash"].startswith("#round-") and found["hash"][7:].isdecimal():
        assert shown == int(found["hash"][7:]) or int(found["hash"][7:]) not in range(1, 10_000)
    return shown


def test_keys_step_through_the_rounds(tab: Page, show: Show, out: Output) -> None:
    show(out)
    n = len(out.rounds)
    assert number(tab) == 1
    ends = [len("".join(out.texts[:end])) for end in accumulate(len(each.tokens) for each in out.rounds)]
    for i in range(n):
        assert (number(tab), here(tab)["text"]) == (i + 1, "ROMEO:" + (out.text or "")[: ends[i]])
        tab.press("ArrowRight")
    assert number(tab) == n  # and no further
    tab.press("ArrowLeft")
    assert number(tab) == n - 1
    tab.press("Home")
    assert number(tab) == 1
    tab.press("ArrowLeft")
    assert number(tab) == 1
    tab.press("End")
    assert number(tab) == n
    tab.press("ArrowLeft", modifiers=2)  # a key of the browser's or the system's
    assert number(tab) == n


def test_what_a_round_says_is_what_it_was(tab: Page, show: Show, out: Output) -> None:
    show(out)
    for each in out.rounds:
        fates = tab.tell("[...document.querySelectorAll('#positions .fate')].map((each) => each.textContent)")
        assert fates.count("accepted") == each.accepted
        assert fates.count("rejected") == (each.accepted < each.drafted)
        assert len(fates) == each.drafted + 1
        said = here(tab)["summary"]
        assert f"{each.accepted} of {each.drafted} drafted" in said or (each.drafted == 0 and "Nothing was drafted" in said)
        assert each.record is not None
        coins = tab.tell("[...document.querySelectorAll('#positions .coin')].map((each) => [...each.children].map("
                         "(part) => parseFloat(part.style.width || part.style.left)))")  # fmt: skip
        for (room, mark), test in zip(coins, each.record.tested, strict=True):
            assert test.u is not None
            assert room == pytest.approx(100 * min(1, test.p / test.q), abs=1e-3)  # a browser keeps some digits of a length
            assert mark == pytest.approx(100 * test.u, abs=1e-3)
        tab.press("ArrowRight")


def test_the_keyboard_reaches_everything_and_keeps_its_place(tab: Page, show: Show, out: Output) -> None:
    show(out)
    stops = []
    for _ in range(30):
        tab.press("Tab")
        stops.append(tab.tell("document.activeElement.closest('[id]')?.id ?? 'body'"))
        ring = tab.tell("getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none" or stops[-1] == "body"
        if stops[-1] == "body":
            break
    assert {"timeline", "next", "link", "text", "positions"} <= set(stops)
    assert stops.count("timeline") == 1  # one stop, however many rounds
    tab.tell("document.querySelector('#positions [aria-current]').focus()")
    chosen = "[...document.querySelectorAll('#positions button')].indexOf(document.activeElement)"
    tab.press(*["ArrowUp"] * 6)
    assert tab.tell(chosen) == 0
    tab.press("ArrowDown")
    assert tab.tell(chosen) == 1
    assert tab.tell("document.activeElement.getAttribute('aria-current')") == "true"
    position = tab.tell("document.querySelector('#detail h3').textContent")
    assert position.startswith(f"Position {len(out.prompt_tokens) + 1}:")
    tab.press("ArrowRight")
    assert tab.tell("document.activeElement.closest('[id]').id") == "positions"
    tab.tell("document.querySelector('#timeline [aria-current]').focus()")
    tab.press("ArrowRight")
    assert (number(tab), tab.tell("document.activeElement.getAttribute('aria-current')")) == (3, "true")
    tab.tell("document.getElementById('next').focus()")
    tab.press("Enter")
    assert number(tab) == 4


def test_everything_to_press_has_a_name_and_changes_are_announced(tab: Page, show: Show, out: Output) -> None:
    show(out)
    tree = tab.ask("Accessibility.getFullAXTree")["nodes"]
    nodes = [(each["role"]["value"], each.get("name", {}).get("value", "")) for each in tree if not each["ignored"]]
    pressable = [name for role, name in nodes if role in ("button", "link")]
    assert len(pressable) > len(out.rounds)
    assert all(name.strip() for name in pressable)
    assert ("navigation", "Rounds") in nodes
    assert "status" in [role for role, _ in nodes]
    links = [name for role, name in nodes if role == "link" and name.startswith("Round")]
    assert [int(re.findall(r"\d+", name)[0]) for name in links] == list(range(1, len(out.rounds) + 1))


def test_each_round_has_a_link_that_leads_to_it(tab: Page, show: Show, out: Output) -> None:
    n = len(out.rounds)
    for hash_, expected in {"#round-3": 3, f"#round-{n}": n, "#round-99999": n, "#round-0": 1, "#round-x": 1, "#%": 1}.items():
        show(out, hash_)
        assert number(tab) == expected, hash_
    show(out, "#round-2")
    tab.tell("document.querySelectorAll('#timeline a')[3].click()")
    assert (number(tab), here(tab)["hash"]) == (4, "#round-4")
    assert tab.tell("document.getElementById('link').hash") == "#round-4"


# how much is to be scrolled sideways, and what reaches beyond the window
WIDTHS = """(({ scrollWidth, clientWidth }) => [scrollWidth - clientWidth, [...document.querySelectorAll("body *")].filter(
  (each) => each.getBoundingClientRect().right > clientWidth && !each.closest(".cell")).map((each) => each.outerHTML)]
)(document.documentElement)"""


@pytest.mark.parametrize("width", [360, 320])
def test_nothing_stands_outside_of_a_narrow_window(tab: Page, show: Show, out: Output, width: int) -> None:
    tab.window(width, 640)
    try:
        show(out, about={"model": "long" * 60})
        for _ in out.rounds:
            tab.tell("document.querySelectorAll('#positions button').forEach((each) => each.click())")
            assert tab.tell(WIDTHS) == [0, []]
            tab.press("ArrowRight")
    finally:
        tab.window(1000)


CONTRASTS = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (colours) => { // as they lie on each other
    canvas.clearRect(0, 0, 1, 1);
    for (const each of colours) { canvas.fillStyle = each; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((each) => each / 255);
  };
  const light = (rgb) => rgb.map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  return [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility() && !each.disabled &&
      [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())).map((each) => {
    const papers = [];
    for (let at = each; at; at = at.parentElement) papers.unshift(getComputedStyle(at).backgroundColor);
    const a = light(over(papers)), b = light(over([...papers, getComputedStyle(each).color]));
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.outerHTML.slice(0, 120)];
  });
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_by_day_and_by_night(tab: Page, show: Show, out: Output, scheme: str) -> None:
    """WCAG's 4.5 to 1, for each element that has text of its own."""
    tab.prefers(color_scheme=scheme)
    show(out)
    for _ in range(5):
        found = tab.tell(CONTRASTS)
        assert len(found) > 50
        assert [each for each in found if each[0] < 4.5] == []
        tab.press("ArrowRight")
    paper = tab.tell("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")
    tab.prefers(color_scheme="")


def test_nothing_moves_by_itself(tab: Page, show: Show, out: Output) -> None:
    show(out)
    tab.press("ArrowRight")
    assert tab.tell("document.getAnimations().length") == 0


def test_hostile_text_is_shown_and_does_nothing(tab: Page, show: Show, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "bytes")
    out = refspec.generate(folder, HOSTILE, drafter=refspec.NgramDrafter(), max_new_tokens=30, record=True, seed=2)
    show(out, "#round-2", about={"model": HOSTILE + "\ud800"})
    assert tab.tell("document.querySelectorAll('img, svg, iframe').length") == 0
    assert "</script><img src=x onerror=alert(1)>" in here(tab)["text"]
    for _ in out.rounds:
        text = tab.tell("document.body.innerText")
        assert not re.search("[\u2028\u2029\u202a-\u202e\u2066-\u2069\x00\x1b]", text)
        tab.press("ArrowRight")
    assert "⟨U+202E⟩" in text
    assert "⟨U+D800⟩" in text


def test_the_policy_of_the_page_forbids_what_a_hole_would_let_in(tab: Page, show: Show, out: Output) -> None:
    show(out)
    tab.tell(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:9/x\" onerror=\"window.hit = 1\">');"
        "const s = document.createElement('script'); s.textContent = 'window.hit = 2'; document.body.append(s)"
    )
    assert tab.tell("window.hit") is None
    assert len(tab.complaints) >= 2  # it says so; and that it had to is what this test wants
    tab.complaints.clear()
    tab.requests[:] = [each for each in tab.requests if "127.0.0.1" not in each]  # stopped before it left


def test_one_round(tab: Page, show: Show) -> None:
    show(refspec.generate("tiny-target", "ROMEO:", max_new_tokens=1, record=True))
    assert number(tab) == 1
    assert tab.tell("[document.getElementById('previous').disabled, document.getElementById('next').disabled]") == [True, True]
    assert "Nothing was drafted" in here(tab)["summary"]
    tab.press("ArrowRight")
    assert number(tab) == 1


def test_no_round(tab: Page, show: Show) -> None:
    show(refspec.generate("tiny-target", "ROMEO:", max_new_tokens=0))
    assert "No round" in tab.tell("document.body.innerText")
    assert "Next" not in tab.tell("document.body.innerText")
    tab.press("ArrowRight")


# of the timeline and of the text: whether the part about this round is not scrolled away
IN_SIGHT = """["timeline [aria-current]", "text .now"].map((each) => {
  const [box, part] = [each.split(" ")[0], each].map((name) => document.querySelector(`#${name}`).getBoundingClientRect());
  return part.top >= box.top && part.bottom <= box.bottom;
})"""


def test_five_hundred_rounds(tab: Page, show: Show) -> None:
    coin = refspec.TableLM({(): [0.5, 0.25, 0.25], (1,): [0.1, 0.1, 0.8]})
    other = refspec.TableLM({(): [0.25, 0.25, 0.5]})
    out = refspec.generate(coin, (0,), drafter=other, gamma=2, max_new_tokens=1300, record=True)
    assert len(out.rounds) >= 500
    tab.window(360, 640)
    try:
        show(out, "#round-500")
        assert number(tab) == 500
        assert tab.tell(WIDTHS) == [0, []]
        for key in ("ArrowRight", "End", "Home"):
            assert tab.tell(IN_SIGHT) == [True, True]
            tab.press(key)
        assert tab.tell(IN_SIGHT) == [True, True]
        assert number(tab) == 1
    finally:
        tab.window(1000)


def test_a_stop_token_inside_a_draft_is_told(tab: Page, show: Show) -> None:
    asked: dict[str, Any] = {"drafter": "tiny-draft", "temperature": 0, "record": True}
    whole = refspec.generate("tiny-target", "ROMEO:", stop=(), max_new_tokens=24, **asked)
    stop = next(each.tokens[0] for each in whole.rounds if each.accepted > 1)
    out = refspec.generate("tiny-target", "ROMEO:", stop=[stop], **asked)
    assert out.rounds[-1].cut
    show(out, f"#round-{len(out.rounds)}")
    assert "by a stop" in here(tab)["summary"]
    assert "cut off" in tab.tell("document.getElementById('positions').innerText")


def test_the_cache_is_told_in_words_and_rows(tab: Page, show: Show) -> None:
    log: list[Pass] = []
    target, draft = (watched(refspec.load(f"tiny-{who}"), who, log) for who in ("target", "draft"))
    asked: dict[str, Any] = {"max_new_tokens": 24, "stop": (), "seed": 1, "temperature": 1.2, "record": True}
    out = refspec.generate(target, "ROMEO:", drafter=draft, **asked)
    show(out, passes=log)
    passes = [each for each in log if each.who == "target"]
    for i, (_, start, end) in enumerate(passes):
        said = tab.tell("document.getElementById('cache').innerText")
        before = passes[i - 1].end if i else 0
        assert f"wrote row{'s' if end - start > 1 else ''} {start}" in said
        assert (f"It held {before} rows and was rewound to {start}" in said) == (start < before)
        rows = tab.tell("[...document.querySelectorAll('#cache .forgotten small')].map((each) => Number(each.textContent))")
        assert set(range(start, before)) <= set(rows)
        tab.press("ArrowRight")


@pytest.mark.parametrize("name", list(refspec.verify.RULES))
def test_each_rule_is_told_in_its_own_words(tab: Page, show: Show, name: str) -> None:
    rule = refspec.verify.RULES[name]
    text, drafter = "to be, or not to be, to be", refspec.NgramDrafter()  # which is often wrong
    asked: dict[str, Any] = {"max_new_tokens": 10, "seed": 1, "record": True, "verify": rule}
    out = refspec.generate("tiny-target", text, drafter=drafter, **asked)
    assert {each.accepted < each.drafted for each in out.rounds} == {True, False}
    show(out, rule=rule)
    told = set()
    for _ in out.rounds:
        tab.tell("told = []; document.querySelectorAll('#positions button').forEach((each) => { each.click();"
                 " told.push(document.getElementById('detail').innerText) })")  # fmt: skip
        told |= set(tab.tell("told"))
        tab.press("ArrowRight")
    words = " ".join(told)
    assert "undefined" not in words
    assert "NaN" not in words
    assert {
        "token": "from what p has left",
        "block": "The draft up to here is kept",
        "sample-match": "draws from p and compares",
        "coupled": "a race",
        "inexact-typical": "draws nothing",
        "inexact-lenience": "from what p has left",
    }[name] in words
    assert tab.tell("document.getElementById('claim').checkVisibility()") == name.startswith("inexact")
