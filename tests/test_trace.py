"""What `refspec trace` writes is what the run looked at, and no text in it can be anything but text."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import write_folder
from hypothesis import given, settings
from hypothesis import strategies as st

import refspec
from refspec.cli import engine
from refspec.cli import main as cli
from refspec.decoding.verify import RULES, Rule
from refspec.errors import BadArgument
from refspec.generate import Output
from refspec.trace import page
from refspec.trace.page import PROMPT_SHOWN, as_script, data
from refspec.trace.passes import Pass, by_round, watched
from refspec.trace.rounds import TOP, likeliest

PROMPT = "JULIET:\nO Romeo, Romeo!"
TARGET, DRAFT = refspec.load("tiny-target"), refspec.load("tiny-draft")
DRAFTERS = {"model": DRAFT, "lookup": refspec.NgramDrafter, "nothing": None}
HOSTILE = "</script><img src=x onerror=alert(1)><!--\u2028\u2029\u202e\u2066\x00\x1b\r\ufeff\U000e0041é"


def generated(rule: Rule = refspec.verify.token, drafter: Any = DRAFT, **options: Any) -> Output:
    asked = {"max_new_tokens": 16, "stop": (), "seed": 1, "temperature": 1.2, **options}
    return refspec.generate(TARGET, PROMPT, drafter=drafter, verify=rule, record=True, **asked)


def data_of(out: Output, rule: Rule = refspec.verify.token, passes: Any = ()) -> dict[str, Any]:
    return data(out, rule=rule, passes=passes, about={})


class Reader(HTMLParser):
    """The elements of a page, and what its scripts hold, as a browser splits it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: dict[str | None, str] = {}
        self._kind: str | None = "none"
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._kind = dict(attrs).get("type") if tag == "script" else "none"

    def handle_data(self, data: str) -> None:
        if self._kind != "none":
            self.scripts[self._kind] = self.scripts.get(self._kind, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._kind = "none"


def held(html: str) -> Any:
    """The data of a page, read as a browser reads it."""
    return json.loads(Reader(html).scripts["application/json"])


# --- what it says is what was ---


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("name", RULES)
def test_the_rounds_are_those_of_the_generation(name: str, drafter: str) -> None:
    rule = RULES[name]
    out = generated(rule, DRAFTERS[drafter])
    found = data_of(out, rule)
    text = "".join(text for each in found["rounds"] for text in each["texts"])
    assert text == out.text
    length = found["prompt"]["length"]
    for shown, real in zip(found["rounds"], out.rounds, strict=True):
        record = real.record
        assert record is not None
        assert (shown["start"], shown["draft"], shown["emitted"]) == (length, list(record.draft.tokens), list(real.tokens))
        length += len(real.tokens)
        positions = shown["positions"]
        assert len(positions) == len(record.target_probs)
        assert sum("coin" in each for each in positions) == len(record.tested)
        assert [each["drawn"]["token"] for each in positions if "drawn" in each] == [each.token for each in record.picked]
        last = positions[record.verdict.accepted]
        assert last.get("drawn", {"token": last.get("chosen")})["token"] == record.verdict.token
        fates = [each["fate"] for each in positions]
        assert fates.count("accepted") == real.accepted
        assert fates[real.accepted] == {"corrected": "rejected"}.get(shown["role"], shown["role"])
        assert set(fates[real.accepted + 1 :]) <= {"unused"}


def test_a_coin_stands_at_the_token_that_it_decided_on() -> None:
    """Under the token rule at the drafted token; under block at the last token of the prefix, from the whole draft down."""
    for rule in (refspec.verify.token, refspec.verify.block):
        out = generated(rule)
        for shown, real in zip(data_of(out, rule)["rounds"], out.rounds, strict=True):
            coins = [each.get("coin") for each in shown["positions"]]
            assert coins[-1] is None
            assert real.record is not None
            if rule is refspec.verify.token:
                kept = [coin is not None and coin["accepted"] for coin in coins]
                assert kept == [i < real.accepted for i in range(len(kept))]
                for i, coin in enumerate(each for each in coins if each):
                    drafted = real.record.draft.tokens[i]
                    entry = next(each for each in shown["positions"][i]["tokens"] if each[0] == drafted)
                    assert (coin["p"], coin["q"]) == tuple(entry[1:3])
            else:
                kept = [i for i, coin in enumerate(coins) if coin and coin["accepted"]]
                assert kept == ([real.accepted - 1] if real.accepted else [])


def test_what_a_coin_and_a_draw_say_is_replayed_by_the_rule() -> None:
    """The uniforms on the page, put on a tape, make the rule answer the same."""
    out = generated()
    for shown, real in zip(data_of(out)["rounds"], out.rounds, strict=True):
        coins = [each["coin"]["u"] for each in shown["positions"] if "coin" in each]
        draws = [each["drawn"]["u"] for each in shown["positions"] if "drawn" in each]
        tape = refspec.Tape([*coins, *draws])
        assert real.record is not None
        verdict = refspec.verify.token(real.record.draft, real.record.target_probs, tape)
        assert (*real.record.draft.tokens[: verdict.accepted], verdict.token) == real.tokens
        assert tape.position == len(tape.values)


def columns(position: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """(which column, its sum over all tokens) for p, q and what was drawn from, where they are known."""
    for k in (1, 2, 3):
        if position["rest"][k] is not None:
            yield k, sum(entry[k] for entry in position["tokens"]) + position["rest"][k]


@pytest.mark.parametrize("name", RULES)
def test_each_distribution_sums_to_one_and_names_its_likeliest_tokens(name: str) -> None:
    out = generated(RULES[name])
    for shown, real in zip(data_of(out, RULES[name])["rounds"], out.rounds, strict=True):
        for i, position in enumerate(shown["positions"]):
            assert real.record is not None
            p = real.record.target_probs[i]
            for _, total in columns(position):
                assert total == pytest.approx(1, abs=1e-12)  # 1,024 additions of float64, in another order
            entries = {entry[0]: entry[1:] for entry in position["tokens"]}
            assert len(entries) + position["rest"][0] == len(p)
            assert all(each[0] == p[id_] for id_, each in entries.items())
            assert set(np.argsort(-p, kind="stable")[:TOP].tolist()) <= set(entries)
            if position["fate"] == "rejected" and name == "token":
                residual = np.maximum(p - real.record.draft.row(i, like=p), 0)
                for id_, (_, _, weight) in entries.items():
                    assert weight == residual[id_] / residual.sum()


rows = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(lambda counts: np.array(counts, float))


@given(rows, st.data())
def test_the_likeliest_are_named_each_once_and_nothing_of_probability_zero_but_what_is_wanted(row: Any, draw: Any) -> None:
    wanted = draw.draw(st.sets(st.integers(0, len(row) - 1)))
    found = likeliest([row], wanted)
    assert len(found) == len(set(found))
    assert wanted <= set(found)
    assert all(row[each] > 0 for each in set(found) - wanted)
    assert sorted(row[found], reverse=True)[:TOP] >= sorted(row[row > 0], reverse=True)[:TOP]
    assert [row[each] for each in found] == sorted(row[found], reverse=True)


def test_a_round_that_a_stop_token_cuts_says_what_was_cut() -> None:
    whole = generated(temperature=0.0)
    i, cut = next((i, each) for i, each in enumerate(whole.rounds) if each.accepted > 1)
    stop = cut.tokens[0]
    assert stop not in [token for each in whole.rounds[:i] for token in each.tokens]
    for given_stop in ([stop], [TARGET.tokenizer.decode([stop])]):  # type: ignore[union-attr]
        out = generated(temperature=0.0, stop=given_stop)
        shown = data_of(out)["rounds"][-1]
        if out.rounds[-1].cut:  # a text may come to its end elsewhere
            assert shown["emitted"] == list(out.tokens[-len(shown["emitted"]) :])
            assert shown["draft"] == list(cut.draft_tokens)
            assert [each["fate"] for each in shown["positions"]][len(shown["emitted"]) :][0] == "cut"
            assert out.finish_reason == "stop"
    assert generated(temperature=0.0, stop=[stop]).rounds[-1].cut


def test_a_model_without_a_tokenizer_shows_ids() -> None:
    coin = refspec.TableLM({(): [0.5, 0.25, 0.25]})
    out = refspec.generate(coin, (0, 1), drafter=coin, max_new_tokens=5, record=True)
    found = data_of(out)
    assert found["prompt"]["text"] is None
    assert {tuple(each) for each in found["names"].values()} <= {("0", False), ("1", False), ("2", False)}
    assert all(text is None for each in found["rounds"] for text in each["texts"])


def test_what_was_not_recorded_is_refused_in_one_line() -> None:
    out = refspec.generate(TARGET, "ROMEO:", max_new_tokens=1)
    with pytest.raises(BadArgument, match="record=True"):
        page(out)
    assert held(page(NOTHING))["rounds"] == []


# --- the caches ---


@pytest.mark.parametrize("drafter", [DRAFT, TARGET], ids=["draft", "itself"])
def test_the_caches_are_rewound_to_what_was_kept(drafter: refspec.Model) -> None:
    """The lengths are read at the passes; here they are worked out from the rounds (N10)."""
    log: list[Pass] = []
    target, draft = watched(TARGET, "target", log), watched(drafter, "draft", log)
    asked = {"max_new_tokens": 30, "stop": (), "seed": 3, "temperature": 1.2}
    out = refspec.generate(target, PROMPT, drafter=draft, record=True, **asked)  # type: ignore[arg-type]
    assert out.tokens == refspec.generate(TARGET, PROMPT, drafter=drafter, **asked).tokens  # type: ignore[arg-type]
    shown = data_of(out, passes=log)["rounds"]
    assert sum(each["role"] == "corrected" for each in shown) > 1 or drafter is TARGET
    before = {"target": 0, "draft": 0}
    for each in shown:
        text, drafted = each["start"], len(each["draft"])
        for who, found in each["cache"].items():
            assert found["before"] == before[who]
            (first, *others), ends = [start for start, _ in found["passes"]], [end for _, end in found["passes"]]
            assert first == min(before[who], text - 1)  # the text but for its last token, where that many are known
            assert others == ends[:-1]
            assert ends[-1] == (text + drafted if who == "target" else text + drafted - 1)
            before[who] = ends[-1]
        assert ("draft" in each["cache"]) == bool(drafted)


def test_passes_of_a_round_that_was_broken_off_belong_to_none() -> None:
    log = [Pass("draft", 0, 3), Pass("target", 0, 5), Pass("draft", 3, 6)]
    assert len(list(by_round(log))) == 1


# --- text is text ---

everything = st.text(st.characters(), max_size=40)  # lone surrogates too


@given(everything)
def test_any_text_comes_back_from_the_script_and_cannot_leave_it(text: str) -> None:
    written = as_script({"text": text})
    assert re.fullmatch(r"[ -~]*", written)
    assert not re.search("[<>&]", written)
    assert json.loads(Reader(f'<script type="application/json">{written}</script>').scripts["application/json"]) == {"text": text}


NOTHING = refspec.generate(TARGET, "ROMEO:", max_new_tokens=0)
PLAIN = Reader(page(NOTHING)).tags


@settings(max_examples=25)
@given(everything | st.sampled_from([HOSTILE, "{{data}}", "{{policy}}", "{{style}}"]))
def test_no_name_changes_the_elements_of_the_page(text: str) -> None:
    html = page(NOTHING, about={"model": text})
    assert Reader(html).tags == PLAIN
    assert held(html)["about"]["model"] == text


def test_hostile_prompts_and_tokens_change_no_element(tmp_path: Path) -> None:
    """The tokens of this model are bytes, so that what it says is mostly broken UTF-8."""
    folder = write_folder(tmp_path / "bytes")
    out = refspec.generate(folder, HOSTILE, drafter=refspec.NgramDrafter(), max_new_tokens=40, record=True)
    html = page(out)
    assert Reader(html).tags == PLAIN
    found = held(html)
    assert found["prompt"]["text"] == refspec.load(folder).tokenizer.decode(out.prompt_tokens)  # type: ignore[union-attr]
    assert "".join(text for each in found["rounds"] for text in each["texts"]) == out.text
    assert all("\ufffd" not in text or is_text is False for text, is_text in found["names"].values())


def test_a_long_prompt_is_shown_by_its_end() -> None:
    text = "To be, or not to be. " * 12
    long = refspec.generate(TARGET, text, max_new_tokens=1, record=True)
    assert not data_of(long)["prompt"]["shortened"]
    coin = refspec.TableLM({(): [0.5, 0.5]})
    out = refspec.generate(coin, (0, 1) * 5000, max_new_tokens=1, record=True)
    assert len(page(out)) < len(page(generated(max_new_tokens=4))) + PROMPT_SHOWN


def test_the_page_names_no_address() -> None:
    html = page(generated(max_new_tokens=2))
    assert not re.findall(r"(?:https?:)?//\w|@import|url\(|\bsrc=|\bfetch\(|XMLHttpRequest|innerHTML|\beval\(", html)
    assert "default-src 'none'" in html
    assert not re.findall(r"\{\{\w+\}\}", html)


# --- the command ---


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main([str(each) for each in arguments])
    return code, *capsys.readouterr()


def test_the_command_says_what_generate_says_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trace.html"
    asked = (PROMPT, "--seed", 5, "--gamma", 3, "--temperature", 0.9, "--max-new-tokens", 20)
    code, out, err = run(capsys, "trace", *asked, "--html", file)
    assert (code, out) == run(capsys, "generate", *asked, "--model", "tiny-target", "--draft", "tiny-draft")[:2]
    found = held(file.read_text(encoding="utf-8"))
    assert err.splitlines()[-1] == f"{file}: {len(found['rounds'])} rounds; open it in a browser"
    assert found["about"]["draft"] == "tiny-draft"
    assert found["about"]["gamma"] == 3
    assert set(found["rounds"][0]["cache"]) == {"target", "draft"}
    assert "".join(text for each in found["rounds"] for text in each["texts"]) == out.removesuffix("\n")


def test_the_command_replaces_a_file_and_takes_lookup_rules_and_chats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "trace.html", write_folder(tmp_path / "model")
    file.write_text("something else")
    asked = (
        "abcabcabc",
        "--chat",
        "--model",
        folder,
        "--ngram",
        "--verify",
        "inexact-lenience",
        "--gamma",
        "auto",
        "--html",
        file,
    )
    assert run(capsys, "trace", *asked, "--max-new-tokens", 6)[0] == 0
    found = held(file.read_text(encoding="utf-8"))
    assert found["rule"] == {"exact": False, "looksAhead": False}
    assert found["about"]["draft"] == "ngram"
    assert all(set(each["cache"]) == {"target"} for each in found["rounds"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [("no/such/trace.html", "No such file or directory"), (".", "Is a directory"), ("a\0b", "null byte"), ("", "directory")],
)
def test_a_file_that_cannot_be_written_is_refused_before_a_model_is_loaded(
    name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "load", None)
    code, out, err = run(capsys, "trace", "x", "--html", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reason in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["x"], "--html"),
        (["x", "--html", "t", "--model", "tiny-target", "--gamma", "3"], "--gamma has no effect without a drafter"),
        (["x", "--html", "t", "--jsonl", "f"], "--jsonl is no option of refspec trace"),
        (["x", "--html", "t", "--json"], "--json is no option of refspec trace"),
        (["x", "--html", "t", "--file", "f"], "two ways to give a prompt"),
        (["x", "--html", "t", "--temperature", "-1"], "--temperature"),
        (["", "--html", "t"], "the prompt is empty"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_file(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "trace", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reason in err
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_is_shown_as_far_as_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine.stream

    def interrupted(*arguments: Any, **options: Any) -> Any:
        made = real(*arguments, **options)
        coming = made._coming

        def until() -> Iterator[Any]:
            for i, each in enumerate(coming):
                if i == 3:
                    raise KeyboardInterrupt
                yield each

        made._coming = until()
        return made

    monkeypatch.setattr(engine, "stream", interrupted)
    file = tmp_path / "trace.html"
    code, _, _ = run(capsys, "trace", PROMPT, "--html", file)
    assert code == 130
    found = held(file.read_text(encoding="utf-8"))
    assert (len(found["rounds"]), found["figures"]["finish_reason"]) == (3, "interrupted")


@pytest.mark.real
def test_a_vocabulary_of_smollm2s_size_is_named_by_its_likeliest_tokens(
    smollm2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, asked = tmp_path / "trace.html", ("to be, or not to be, to be", "--model", smollm2_folder, "--ngram")
    assert run(capsys, "trace", *asked, "--max-new-tokens", 8, "--html", file)[0] == 0
    for each in held(file.read_text(encoding="utf-8"))["rounds"]:
        for position in each["positions"]:
            assert len(position["tokens"]) + position["rest"][0] == 49_152
            for _, total in columns(position):
                assert total == pytest.approx(1, abs=49_152 * np.finfo(float).eps)  # as many additions
    assert file.stat().st_size < 100_000
