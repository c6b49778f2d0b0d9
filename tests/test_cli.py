"""The command line as a user meets it: what goes to which stream, the exit codes, and that nothing made is lost."""

import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from folders import BEGIN_ID, END_ID, LLAMA, TURN_ID, write_folder, write_tokenizer

import refspec
from refspec.cli import demo, engine, exits, generate
from refspec.cli import main as cli
from refspec.cli.colour import Screen, coloured, painter, uncoloured
from refspec.cli.output import table
from refspec.decoding.round import Round
from refspec.decoding.verify import RULES, is_exact
from refspec.errors import BadProbabilities
from refspec.generate import Piece
from refspec.models import drafts
from refspec.models.streaming import Stream

PROMPT = "to be, or not to be, to be, or not"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("cli") / "target")


@pytest.fixture(scope="module")
def draft_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("cli") / "draft", {**LLAMA, "num_hidden_layers": 1}, seed=1)


@pytest.fixture(scope="module")
def model(folder: Path) -> refspec.Model:
    return refspec.load(folder)


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No colours and no models but those a test asks for."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("REFSPEC_HOME", str(tmp_path / "home"))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """run(argument, ...) -> (exit code, standard output, standard error)"""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as left:  # argparse
            code = left.code if isinstance(left.code, int) else 1
        return code, *capsys.readouterr()

    return call


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))  # the encoding must not matter


def parsed(text: str) -> Any:
    """JSON as the rest of the world reads it: without NaN."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders loaded from here on."""
    loads = []

    def load(name: str, **options: Any) -> refspec.Model:
        loads.append(Path(name).name)
        return refspec.load(name, **options)

    for module in (engine, drafts):
        monkeypatch.setattr(module, "load", load)
    return loads


def without_colours(text: str) -> str:
    return re.sub(r"\033\[[0-9;]*m", "", text)


# --- text and figures ---


def test_the_text_goes_to_stdout_and_one_line_of_figures_to_stderr(run: Run, folder: Path, model: refspec.Model) -> None:
    options = ["--ngram", "--gamma", 3, "--seed", 5, "--max-new-tokens", 40, "--temperature", 0.7]
    code, out, err = run("generate", PROMPT, "--model", folder, *options)
    expected = refspec.generate(
        model, PROMPT, drafter=refspec.NgramDrafter(), gamma=3, seed=5, max_new_tokens=40, temperature=0.7
    )
    assert (code, out) == (0, f"{expected.text}\n")
    assert err.count("\n") == 1
    assert err.startswith(
        f"{len(expected.tokens)} tokens | {expected.stats.tokens_per_target_call:.2f} tokens per target call | "
    )
    assert f"acceptance rate {expected.stats.acceptance_rate:.3f} | {expected.stats.accepted} accepted, " in err
    assert re.search(
        r"prefill \d+\.\d\d s \| decode \d+\.\d\d s \| \d+\.\d tokens/s \| seed 5 \| (1 thread|(\d+|-) threads) ", err
    )
    assert err.endswith(f"finish reason: {expected.finish_reason}\n")


def test_figures_without_a_drafter_or_without_a_token_have_dashes(run: Run, folder: Path) -> None:
    _, _, err = run("generate", PROMPT, "--model", folder, "--max-new-tokens", 4)
    assert "4 tokens | 1.00 tokens per target call | acceptance rate - | prefill" in err
    code, out, err = run("generate", PROMPT, "--model", folder, "--max-new-tokens", 0)
    assert (code, out) == (0, "")
    assert "0 tokens | - tokens per target call" in err
    assert "- tokens/s" in err


def test_a_draft_model_drafts_and_the_target_may_draft_for_itself(
    run: Run, folder: Path, draft_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = count_loads(monkeypatch)
    common = ("generate", PROMPT, "--model", folder, "--temperature", 0, "--max-new-tokens", 20, "--json")
    answers = [parsed(run(*common, *more)[1]) for more in ((), ("--draft", draft_folder), ("--draft", folder))]
    assert answers[0]["tokens"] == answers[1]["tokens"] == answers[2]["tokens"]
    assert [each["draft"] for each in answers] == [None, str(draft_folder), str(folder)]
    assert 0 < answers[1]["drafted"] > answers[1]["accepted"]
    assert answers[2]["acceptance_rate"] == 1
    assert loads == ["target", "target", "draft", "target"]  # the last one served both roles


# --- colours ---


def test_each_token_has_the_colour_of_where_it_came_from(model: refspec.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """In these folders an id is a byte: 65 is A."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert model.tokenizer is not None
    file = io.StringIO()
    screen, text = Screen(file), Stream(model.tokenizer)
    for found in (
        Round((65, 66, 67), 2, 68),  # C was refused, D corrects it
        Round((69,), 1, 70),
        Round((), 0, 71),
        Round((195,), 1, 169),  # two halves of one character: shown when it is whole
        Round((72,), 0, END_ID),  # a special token has no text
        Round((), 0, 0xE2),  # never completed
    ):
        screen.show(Piece(found, tuple(map(text.push, found.tokens))))
    screen.end(text.waiting)
    green, magenta, cyan, off = "\033[32m", "\033[35m", "\033[36m", "\033[0m"
    assert file.getvalue() == f"{green}AB{off}{magenta}D{off}{green}E{off}{cyan}F{off}G{cyan}é{off}\ufffd\n"


class File(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("environment", "terminal", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),  # no-color.org: set and not empty
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_when_there_are_colours(
    environment: dict[str, str], terminal: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert painter(File(terminal)) is (coloured if wanted else uncoloured)


def test_colours_add_nothing_to_the_text(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("generate", PROMPT, "--model", folder, "--ngram", "--temperature", 0)
    _, plain, plain_figures = run(*command)
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, colourful, figures = run(*command)
    assert "\033[" not in plain + plain_figures
    assert {"\033[32m", "\033[35m"} <= set(re.findall(r"\033\[\d\dm", colourful))
    assert without_colours(colourful) == plain
    assert "\033[32m" in figures  # the counts are the legend


# --- where the prompt comes from ---


def test_the_prompt_comes_from_an_argument_a_file_or_standard_input(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "größe\n\nto be"
    common = ("--model", folder, "--json", "--max-new-tokens", 4)
    expected = parsed(run("generate", text, *common)[1])["tokens"]
    file = tmp_path / "prompt.txt"
    for ending in (b"", b"\n", b"\r\n"):  # the newline at the very end belongs to the file, not to the prompt
        file.write_bytes(text.encode() + ending)
        answer = parsed(run("generate", "--file", file, *common)[1])
        assert answer["prompt_tokens"] == list(text.encode())
        assert answer["tokens"] == expected
        for arguments in ((), ("-",), ("--file", "-")):
            piped(monkeypatch, text.encode() + ending)
            assert parsed(run("generate", *arguments, *common)[1])["prompt_tokens"] == list(text.encode())
    file.write_bytes(text.encode() + b"\n\n")
    assert parsed(run("generate", "--file", file, *common)[1])["prompt_tokens"] == [*text.encode(), ord("\n")]
    assert parsed(run("generate", *common, "--", "-x")[1])["prompt_tokens"] == list(b"-x")


# --- --json ---


def test_json_is_one_object_of_text_tokens_rounds_and_figures(run: Run, folder: Path, model: refspec.Model) -> None:
    code, out, err = run("generate", PROMPT, "--model", folder, "--ngram", "--seed", 3, "--json", "--temperature", 0.5)
    answer = parsed(out)
    expected = refspec.generate(model, PROMPT, drafter=refspec.NgramDrafter(), seed=3, temperature=0.5)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert answer["text"] == expected.text
    assert answer["tokens"] == list(expected.tokens)
    assert answer["prompt_tokens"] == list(PROMPT.encode())
    assert answer["rounds"] == [
        {
            "drafted": each.drafted,
            "accepted": each.accepted,
            "token": each.token,
            "draft_tokens": list(each.draft_tokens),
            "cut": list(each.cut),
        }
        for each in expected.rounds
    ]
    figures = {name: value for name, value in asdict(expected.stats).items() if name not in ("tokens", "rounds")}
    assert figures.keys() <= answer.keys()
    for name, value in figures.items():
        if "second" in name:
            assert answer[name] > 0
        else:
            assert answer[name] == value, name
    assert (answer["finish_reason"], answer["seed"], answer["model"]) == (expected.finish_reason, 3, "target")
    assert answer["threads"] is None or answer["threads"] >= 1


def test_the_rounds_add_up_to_the_statistics_where_a_stop_token_was_drafted(run: Run, folder: Path) -> None:
    common = ("generate", PROMPT, "--model", folder, "--draft", folder, "--json", "--max-new-tokens", 20)
    stop = parsed(run(*common)[1])["tokens"][1]  # the draft is the target: all of it is accepted
    answer = parsed(run(*common, "--stop", stop)[1])
    assert sum(len(each["cut"]) for each in answer["rounds"]) > 1
    assert answer["drafted"] == sum(each["drafted"] + len(each["cut"]) for each in answer["rounds"])
    assert answer["accepted"] == sum(each["accepted"] + bool(each["cut"]) for each in answer["rounds"])


def test_one_of_a_kind_is_not_plural(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for threads, said in ((1, "| 1 thread |"), (2, "| 2 threads |"), (None, "| - threads |")):
        monkeypatch.setattr("refspec.cli.output.blas_threads", lambda threads=threads: threads)
        err = run("generate", "x", "--model", folder, "--max-new-tokens", 1)[2]
        assert err.startswith("1 token | ")
        assert said in err


def test_json_has_null_where_there_is_nothing_to_divide_by(run: Run, folder: Path) -> None:
    answer = parsed(run("generate", PROMPT, "--model", folder, "--json", "--max-new-tokens", 0)[1])
    assert (answer["text"], answer["tokens"], answer["rounds"], answer["finish_reason"]) == ("", [], [], "length")
    for name in ("acceptance_rate", "accepted_per_drafted", "tokens_per_target_call", "tokens_per_second"):
        assert answer[name] is None, name
    assert answer["prefill_seconds"] == answer["decode_seconds"] == 0


# --- --chat and --stop ---


def test_chat_applies_the_template_and_nothing_around_it(run: Run, draft_folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path)
    write_tokenizer(tmp_path, begin=True)  # puts a begin token before every text; a template brings its own
    common = ("--model", tmp_path, "--json", "--max-new-tokens", 1)
    assert parsed(run("generate", "Hi", *common)[1])["prompt_tokens"] == [BEGIN_ID, *b"Hi"]
    expected = [TURN_ID, *b"user\nHi", END_ID, *b"\n", TURN_ID, *b"assistant\n"]
    assert parsed(run("generate", "Hi", "--chat", *common)[1])["prompt_tokens"] == expected

    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert_refused(run("generate", "Hi", "--chat", *common), "no chat template")


def test_what_a_template_reads_is_given_and_recorded(run: Run, tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": "{{ strftime_now('%y') }}{{ enable_thinking }}{{ mood|tojson }}"})
    )
    common = ("generate", "Hi", "--model", folder, "--json", "--max-new-tokens", 1)
    given = ("--date", "2001-02-03", "--no-enable-thinking", "--template-var", 'mood=["a"]')
    answer = parsed(run(*common, "--chat", *given)[1])
    assert answer["prompt_tokens"] == list(b'01False["a"]')
    assert (answer["date"], answer["template_vars"]) == ("2001-02-03T00:00:00", {"enable_thinking": False, "mood": ["a"]})
    assert_refused(run(*common, "--date", "2001-02-03"), "--date has no effect without a chat")
    assert_refused(run(*common, "--chat", "--date", "soon"), "--date is 'soon'; it is a date such as 2026-11-27")
    for wrong in ("mood", "mood=happy", "=1", "a b=1"):
        assert_refused(run(*common, "--chat", "--template-var", wrong), "is not KEY=JSON")


def test_without_jinja2_a_chat_is_refused_and_not_measured_as_plain_text(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert_refused(run("generate", "Hi", "--chat", "--model", folder), "need jinja2")
    assert_refused(run("bench", "--model", folder, "--ngram", "--quick"), "need jinja2")


def test_stop_is_an_id_or_a_text(run: Run, folder: Path) -> None:
    common = ("generate", PROMPT, "--model", folder, "--json", "--seed", 8)
    tokens = parsed(run(*common, "--stop", 0)[1])["tokens"]
    assert len(tokens) == 64
    letter = next(token for token in tokens[5:] if ord("A") <= token <= ord("z"))
    until = tokens[: tokens.index(letter) + 1]
    for stop in (["--stop", letter], ["--stop", chr(letter)], ["--stop", "<|begin|>", "--stop", chr(letter)]):
        answer = parsed(run(*common, *stop)[1])
        assert (answer["tokens"], answer["finish_reason"]) == (until, "stop"), stop
    text = parsed(run(*common, "--stop", 0)[1])["text"]
    code, out, _ = run("generate", PROMPT, "--model", folder, "--seed", 8, "--stop", text[9:12])
    assert (code, out) == (0, text[: text.index(text[9:12])] + "\n")


def test_a_stop_text_is_not_begun_like_a_prompt(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path)
    write_tokenizer(tmp_path, begin=True)
    code, _, err = run("generate", "x", "--model", tmp_path, "--stop", "e", "--max-new-tokens", 1)
    assert code == 0, err


def test_stop_is_by_default_the_models_own_end_and_takes_its_place(run: Run, folder: Path, tmp_path: Path) -> None:
    common = ("generate", PROMPT, "--json", "--seed", 8)
    tokens = parsed(run(*common, "--model", folder)[1])["tokens"]
    write_folder(tmp_path, {**LLAMA, "eos_token_id": tokens[9]})
    answer = parsed(run(*common, "--model", tmp_path)[1])
    assert answer["tokens"] == tokens[: tokens.index(tokens[9]) + 1]
    assert parsed(run(*common, "--model", tmp_path, "--stop", "<|begin|>")[1])["tokens"] == tokens


# --- JSONL ---


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), encoding="utf-8")
    return path


def test_jsonl_answers_each_line_in_order_with_its_own_options(
    run: Run, folder: Path, model: refspec.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = write_lines(
        tmp_path / "in.jsonl",
        {"prompt": PROMPT, "seed": 4, "id": "first", "labels": {"any": ["thing"]}},
        "",
        {"prompt": "größe", "temperature": 0, "max_new_tokens": 3, "top_k": None},
        {"prompt": [104, 105], "stop": [10, "e"], "gamma": "auto"},
        {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "Hi"}], "top_p": 0.5},
    )
    loads = count_loads(monkeypatch)
    common = ("generate", "--jsonl", lines, "--model", folder, "--ngram", "--top-k", 20, "--max-new-tokens", 12, "--seed", 1)
    code, out, err = run(*common)
    answers = [parsed(line) for line in out.splitlines()]
    assert (code, err, len(loads)) == (0, "", 1)
    assert [each["line"] for each in answers] == [1, 3, 4, 5]
    assert (answers[0]["id"], answers[0]["labels"]) == ("first", {"any": ["thing"]})
    assert [each["seed"] for each in answers] == [4, 1, 1, 1]

    settings: list[dict[str, Any]] = [
        {"seed": 4, "top_k": 20, "max_new_tokens": 12},
        {"seed": 1, "top_k": None, "max_new_tokens": 3, "temperature": 0},
        {"seed": 1, "top_k": 20, "max_new_tokens": 12, "gamma": "auto", "stop": (10, ord("e"))},
        {"seed": 1, "top_k": 20, "max_new_tokens": 12, "top_p": 0.5},
    ]
    chat = [TURN_ID, *b"system\nx", END_ID, 10, TURN_ID, *b"user\nHi", END_ID, 10, TURN_ID, *b"assistant\n"]
    prompts = [list(PROMPT.encode()), list("größe".encode()), [104, 105], chat]
    for answer, prompt, options in zip(answers, prompts, settings, strict=True):
        assert answer["prompt_tokens"] == prompt
        assert answer["tokens"] == list(refspec.generate(model, prompt, drafter=refspec.NgramDrafter(), **options).tokens)


def test_jsonl_lines_take_stop_and_chat_from_the_command_line(run: Run, folder: Path, tmp_path: Path) -> None:
    tokens = parsed(run("generate", "Hi", "--chat", "--model", folder, "--json", "--seed", 8)[1])["tokens"]
    lines = write_lines(tmp_path / "in.jsonl", {"prompt": "Hi"}, {"prompt": "Hi", "stop": None})
    common = ("--jsonl", lines, "--model", folder, "--seed", 8, "--chat", "--stop", tokens[3])
    first, second = map(parsed, run("generate", *common)[1].splitlines())
    assert first["prompt_tokens"] == [TURN_ID, *b"user\nHi", END_ID, *b"\n", TURN_ID, *b"assistant\n"]
    assert (first["tokens"], first["finish_reason"]) == (tokens[: tokens.index(tokens[3]) + 1], "stop")
    assert second["tokens"] == tokens  # null: the model's own end


def test_an_answer_says_how_it_was_made_whatever_a_label_is_called(
    run: Run, folder: Path, draft_folder: Path, tmp_path: Path
) -> None:
    labels = {"text": "mine", "line": 99, "finish_reason": "never"}
    lines = write_lines(tmp_path / "in.jsonl", {"prompt": "a", "max_new_tokens": 2, "id": 7, "labels": labels})
    for drafter, named in ((["--ngram"], "ngram"), (["--draft", draft_folder], str(draft_folder)), ([], None)):
        for rule in ("token", "block") if drafter else ("token",):
            verify = ["--verify", rule] if drafter else []
            answer = parsed(run("generate", "--jsonl", lines, "--model", folder, *drafter, *verify)[1])
            assert (answer["draft"], answer["verify"], answer["model"]) == (named, rule, "target")
            assert (answer["id"], answer["line"], answer["max_new_tokens"]) == (7, 1, 2)
            assert answer["labels"] == labels
            assert answer["text"] != "mine"
            assert answer["finish_reason"] != "never"


@pytest.mark.parametrize("drafter", ["--ngram", "--draft"])
def test_the_profile_is_the_one_bet_by(run: Run, draft_folder: Path, folder: Path, tmp_path: Path, drafter: str) -> None:
    """One in which drafting is free, and one in which nothing is worth its cost."""
    drafted = []
    for name, verify, draft in (("free", (1, 1, 1), 0), ("dear", (1, 9, 9), 9)):
        refspec.Profile(verify, draft).save(tmp_path / name)
        drafting = [drafter] if drafter == "--ngram" else [drafter, draft_folder]
        common = ("generate", "abcabcabc", "--model", folder, "--gamma", "auto", "--profile", tmp_path / name, "--json")
        rounds = parsed(run(*common, "--max-new-tokens", 12, "--temperature", 0, *drafting)[1])["rounds"]
        drafted.append(max(each["drafted"] for each in rounds))
    assert drafted == [2, 0]


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_a_stop_id_is_any_the_model_can_say(run: Run, tmp_path: Path, with_tokenizer: bool) -> None:
    folder = write_folder(tmp_path / "model", tokenizer=with_tokenizer)
    last = 258 if with_tokenizer else 263  # without a tokenizer, nothing is padding
    for stop, allowed in ((0, True), (last, True), (last + 1, False), (-1, False)):
        lines = write_lines(tmp_path / "in.jsonl", {"prompt": [1], "stop": stop, "max_new_tokens": 1})
        code, _, err = run("generate", "--jsonl", lines, "--model", folder)
        assert code == (0 if allowed else 2), stop
        assert allowed or f"stop is {stop}, which is no token id of model; they run from 0 to {last}" in err


@pytest.mark.parametrize("options", [(), ("--row-invariant",)])
def test_row_invariance_is_asked_of_the_model_only_where_it_is_asked_for(
    run: Run, folder: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(name: str, **given: Any) -> refspec.Model:
        asked.append(given)
        return refspec.load(name, **given)

    for module in (engine, drafts):
        monkeypatch.setattr(module, "load", load)
    assert run("generate", "x", "--model", folder, "--max-new-tokens", 1, *options)[0] == 0
    assert asked == [{"row_invariant": bool(options)}]


BAD_LINES = {
    '{"prompt": "a"': "not JSON",
    '{"prompt": "a", "temperature": NaN}': "NaN is not JSON",
    '{"prompt": "a", "id": 1e999}': "not JSON",
    '["a"]': "a list where an object is needed",
    "{}": 'exactly one of "prompt" and "messages"',
    '{"prompt": "a", "messages": []}': 'exactly one of "prompt" and "messages"',
    '{"prompt": ""}': "empty",
    '{"prompt": []}': "empty",
    '{"prompt": 3}': "prompt is 3",
    '{"prompt": [true]}': "prompt is [True]",
    '{"prompt": [300]}': "token id 300",
    '{"prompt": "\\ud800"}': "surrogate",
    '{"prompt": "a", "seed": 1.5}': "seed is 1.5; it is a whole number",
    '{"prompt": "a", "seed": null}': "seed is None; it is a whole number, at least 0",
    '{"prompt": "a", "gamma": true}': "gamma is True",
    '{"prompt": "a", "gamma": -1}': "gamma is -1",
    '{"prompt": "a", "gamma": "much"}': 'it is a whole number, at least 0, or "auto"',
    '{"prompt": "a", "top_p": "high"}': "top_p is 'high'; it is a number above 0 and at most 1",
    '{"prompt": "a", "top_p": 2}': "top_p is 2",
    '{"prompt": "a", "temprature": 2}': "'temprature' (did you mean temperature?)",
    '{"prompt": "a", "stop": ""}': "stop is ''",
    '{"prompt": "a", "stop": {"text": "a"}}': "stop is {'text': 'a'}, which is no token id",
    '{"prompt": "a", "stop": [1.5]}': "stop is 1.5, which is no token id",
    '{"prompt": "a", "model": "gpt2"}': '"model" is the same for all lines',
    '{"messages": [{"role": "user"}]}': "messages is",
    '{"messages": []}': "messages is []",
    json.dumps({"prompt": "a" * 257}): "257 tokens",
}


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_line_is_named_and_costs_no_other(run: Run, folder: Path, tmp_path: Path, bad: str) -> None:
    lines = write_lines(tmp_path / "in.jsonl", {"prompt": "a"}, bad, {"prompt": "b"})
    code, out, err = run("generate", "--jsonl", lines, "--model", folder, "--ngram", "--max-new-tokens", 3)
    assert code == 2
    assert [parsed(line)["line"] for line in out.splitlines()] == [1, 3]
    assert err.startswith(f"refspec: {lines}, line 2: ")
    assert BAD_LINES[bad] in err
    assert err.count("\n") == 1


def test_a_draft_that_fits_no_line_is_reported_once(run: Run, folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other")
    write_tokenizer(other, special=("<|a|>", "<|b|>", "<|c|>"))
    lines = write_lines(tmp_path / "in.jsonl", {"prompt": "a"}, {"prompt": "b"})
    assert_refused(run("generate", "--jsonl", lines, "--model", folder, "--draft", other), "draft map 6 tokens differently")


def test_a_model_without_a_tokenizer_answers_ids(run: Run, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ids", tokenizer=False)
    lines = write_lines(tmp_path / "in.jsonl", {"prompt": [1, 2]}, {"prompt": "text"})
    code, out, err = run("generate", "--jsonl", lines, "--model", folder, "--max-new-tokens", 3)
    answer = parsed(out)
    assert (code, answer["text"], len(answer["tokens"])) == (2, None, 3)
    assert "line 2: ids has no tokenizer.json" in err
    assert_refused(run("generate", "text", "--model", folder), "no tokenizer.json")


def test_a_batch_answers_in_order_what_each_line_gets_alone(run: Run, folder: Path, tmp_path: Path) -> None:
    """Lines of other lengths, seeds and temperatures; the bad ones are reported."""
    asked = [
        {"prompt": "a", "max_new_tokens": 9},
        {"prompt": "b", "max_new_tokens": 1, "id": "second"},
        {"prompt": ""},
        {"prompt": [1, 2], "seed": 5, "temperature": 0},
        {"prompt": "c", "seed": -1},
        {"prompt": "d", "top_p": 0.5},
    ]
    lines = write_lines(tmp_path / "in.jsonl", *asked)
    common = ("generate", "--jsonl", lines, "--model", folder, "--ngram", "--max-new-tokens", 4, "--row-invariant")

    def answers(*more: Any) -> tuple[int, list[tuple[Any, ...]], str]:
        code, out, err = run(*common, *more)
        found = [parsed(line) for line in out.splitlines()]
        return code, [(each["line"], each.get("id"), each["text"], each["tokens"], each["finish_reason"]) for each in found], err

    alone = answers()
    assert [line for line, *_ in alone[1]] == [1, 2, 4, 6]
    assert alone[0] == 2
    for n in (2, 3, 8):
        code, found, err = answers("--batch", n)
        assert (code, found) == alone[:2]
        assert sorted(err.splitlines()) == sorted(alone[2].splitlines())
    rounds = [parsed(line)["rounds"] for line in run(*common, "--batch", 8)[1].splitlines()]
    assert rounds[0][1]["pass_rows"] > rounds[0][-1]["pass_rows"] > 0  # the first line is the longest


def test_a_batch_needs_many_prompts_and_a_place(run: Run, folder: Path, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "in.jsonl", {"prompt": "a"})
    assert_refused(
        run("generate", "--jsonl", lines, "--model", folder, "--batch", 0), "--batch is 0; it is a whole number, at least"
    )
    assert_refused(run("generate", "a", "--model", folder, "--batch", 2), "--batch has no effect without --jsonl")


def test_ctrl_c_in_a_batch_shows_how_far_each_line_came(run: Run, folder: Path, fourth_round: Any, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "in.jsonl", *[{"prompt": "a", "max_new_tokens": 3}] * 4)
    fourth_round(KeyboardInterrupt(), 4)
    code, out, err = run("generate", "--jsonl", lines, "--model", folder, "--batch", 3)
    assert (code, err) == (130, "")
    found = [parsed(line) for line in out.splitlines()]
    assert [(each["line"], each["finish_reason"]) for each in found] == [(i, "interrupted") for i in (1, 2, 3)]
    assert sum(len(each["tokens"]) for each in found) in (3, 4)


def test_jsonl_answers_a_line_before_the_next_one_comes(folder: Path) -> None:
    with command("generate", "--jsonl", "-", "--model", folder, "--max-new-tokens", "2") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in (1, 2):
            process.stdin.write(b'{"prompt": "a"}\n')
            process.stdin.flush()
            assert parsed(process.stdout.readline().decode())["line"] == number
        process.stdin.close()
    assert process.returncode == 0


# --- mistakes ---


def assert_refused(result: tuple[int, str, str], reason: str) -> None:
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("refspec: ")
    assert err.count("\n") == 1
    assert reason in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["x", "--gamma", "-1", "--ngram"], "--gamma is -1"),
        (["x", "--gamma", "much", "--ngram"], "'much' is neither a whole number nor auto"),
        (["x", "--gamma", "auto", "--ngram", "--profile", "no/such/file"], "no/such/file: no such file"),
        (["x", "--ngram", "--profile", "no/such/file"], "give both or neither"),
        (["x", "--gamma", "4"], "--gamma has no effect without a drafter"),  # the default, but asked for
        (["x", "--verify=token"], "--verify has no effect without a drafter"),
        (["x", "--gamma", "auto", "--profile", "y"], "--gamma has no effect without a drafter"),
        (["x", "--temperature", "0", "--top-p", "0.9"], "--top-p has no effect at --temperature 0"),
        (["--jsonl", "x", "--json"], "--json has no effect beside --jsonl"),
        (["x", "--temperature", "-0.1"], "--temperature is -0.1"),
        (["x", "--temperature", "nan"], "--temperature is nan"),
        (["x", "--temperature", "inf"], "--temperature is inf"),
        (["x", "--top-k", "0"], "--top-k is 0; it is a whole number, at least 1, or left out to keep every token"),
        (["x", "--top-p", "0"], "--top-p is 0"),
        (["x", "--top-p", "1.01"], "--top-p is 1.01"),
        (["x", "--top-p", "nan"], "--top-p is nan"),
        (["x", "--min-p", "-1"], "--min-p is -1"),
        (["x", "--max-new-tokens", "-1"], "--max-new-tokens is -1"),
        (["x", "--seed", "-1"], "--seed is -1"),
        (["x", "--seed", "one"], "invalid int value: 'one'"),
        (["x", "--stop", "259"], "they run from 0 to 258"),  # padded: it could never be drawn
        (["x", "--stop", ""], "--stop is ''"),
        (["x", "--stop", "\udcff"], "--stop is '\\udcff', which holds a lone surrogate"),
        (["x", "--stop", "<|end|>\n"], "<|end|> is a special token, which is no text; give it alone"),
        (["x", "--verify", "hope"], "invalid choice: 'hope'"),
        (["x", "--ngram", "--verify", "blok"], "(did you mean block?)"),
        (["x", "--ngram", "--draft", "y"], "not allowed with argument"),
        (["x", "--draft", "no-such-draft"], "no-such-draft is neither a folder nor a known model"),
        (
            ["x", "--gam", "3"],
            "--gam is no option of refspec generate (did you mean --gamma?)",
        ),  # an abbreviation may mean something else tomorrow
        (["x", "y"], "unrecognized arguments: y; a prompt of several words needs quotes around it (refspec generate --help"),
        (["x", "--file", "y"], "PROMPT, --file and --jsonl"),
        (["-", "--jsonl", "-"], "PROMPT, --file and --jsonl"),
        (["--file", "no/such/file"], "no/such/file cannot be read (No such file or directory)"),
        (["--jsonl", "no/such/file"], "no/such/file cannot be read (No such file or directory)"),
        ([""], "the prompt is empty"),
        (["", "--chat"], "the prompt is empty"),
        (["x" * 257], "the prompt has 257 tokens and target a context of 256"),
        (["\udcff"], "lone surrogate"),  # what an argument that is not UTF-8 looks like
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run: Run, folder: Path, arguments: list[str], reason: str) -> None:
    assert_refused(run("generate", *arguments, "--model", folder), reason)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["speak"], "invalid choice: 'speak'"),
        (["generte", "x"], "(did you mean generate?)"),
        (["generate", "x", "--modle", "gpt2"], "--modle is no option of refspec generate (did you mean --model?)"),
        (["bench", "--gamma", "4", "--profile", "x"], "--profile has no effect without --gamma auto; give both or neither"),
        (["bench", "--max-new-tokens", "1"], "--max-new-tokens is 1; it is at least 2"),
        (["demo", "--gamma", "0"], "--gamma is 0; the demo drafts 1 to 159 tokens a round"),
        (["demo", "--gamma", "160"], "--gamma is 160; the demo drafts 1 to 159 tokens a round"),
        (["demo", "--seed", "-1"], "--seed is -1"),
        (["models", "x"], "unrecognized arguments: x (refspec models --help"),
        (["generate", "x"], "--model"),
        (["generate", "x", "--model", "gpt2"], "run: python -m weights_tools fetch gpt2"),
        (["generate", "x", "--model", "gpt3"], "gpt3 is neither a folder nor a known model"),
        (["generate", "x", "--model", "tiny-traget"], "known model (did you mean tiny-target?); known are tiny-target, "),
    ],
)
def test_a_mistake_before_there_is_a_model(run: Run, arguments: list[str], reason: str) -> None:
    assert_refused(run(*arguments), reason)


def test_a_misspelt_name_may_be_one_on_disk(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "home" / "models" / "acme--parrot")
    assert_refused(run("generate", "x", "--model", "acme/parot"), "did you mean acme/parrot?")


def test_a_line_speaks_of_its_own_names_and_a_prompt_may_look_like_an_option(run: Run, folder: Path, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "in.jsonl", {"prompt": "a", "top_p": 2})
    _, _, err = run("generate", "--jsonl", lines, "--model", folder)
    assert "line 1: top_p is 2; it is a number above 0 and at most 1, or None" in err
    assert run("generate", "--model", folder, "--max-new-tokens", 1, "--", "--gamma")[0] == 0


def test_chat_is_for_texts(run: Run, folder: Path, tmp_path: Path) -> None:
    lines = write_lines(
        tmp_path / "in.jsonl", {"messages": [{"role": "user", "content": "Hi"}]}, {"prompt": [1]}, {"prompt": "Hi"}
    )
    code, out, err = run("generate", "--jsonl", lines, "--model", folder, "--chat", "--max-new-tokens", 1)
    assert (code, parsed(out)["line"]) == (2, 3)
    assert [line.partition(": --chat ")[2][:13] for line in err.splitlines()] == ["has no effect"] * 2


def test_an_empty_prompt_is_refused_where_the_tokenizer_would_begin_a_text(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path)
    write_tokenizer(tmp_path, begin=True)
    assert_refused(run("generate", "", "--model", tmp_path), "the prompt is empty")


def test_a_damaged_folder_and_a_foreign_draft_are_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    broken = write_folder(tmp_path / "broken")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[:-1])
    assert_refused(run("generate", "x", "--model", broken), "is damaged")
    (broken / "config.json").unlink()
    assert_refused(run("generate", "x", "--model", broken), "has no config.json")
    other = write_folder(tmp_path / "other")
    write_tokenizer(other, special=("<|a|>", "<|b|>", "<|c|>"))
    assert_refused(run("generate", "x", "--model", folder, "--draft", other), "draft map 6 tokens differently")


def test_bytes_that_are_no_text_are_refused(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"caf\xe9")
    assert_refused(run("generate", "--model", folder), "standard input is not UTF-8 text")


def test_a_terminal_is_not_waited_for_without_being_asked(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", File(terminal=True))
    assert_refused(run("generate", "--model", folder), "no prompt")


def test_too_little_memory_is_one_line(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, **options: Any) -> refspec.Model:
        raise MemoryError

    for module in (engine, drafts):
        monkeypatch.setattr(module, "load", load)
    assert_refused(run("generate", "x", "--model", folder), "not enough memory")


def test_a_message_of_several_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    exits.complain("first\n  second")
    assert capsys.readouterr().err == "refspec: first second\n"


# --- interruptions: nothing is lost ---


@pytest.fixture
def fourth_round(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException, int], None]:
    """fourth_round(error, 4): the fourth verification of the process raises that."""

    def arrange(error: BaseException, number: int) -> None:
        calls = iter(range(1, 1000))
        real = RULES["token"]

        @wraps(real)
        def rule(*arguments: Any) -> Any:
            if next(calls) == number:
                raise error
            return real(*arguments)

        monkeypatch.setitem(RULES, "token", rule)

    return arrange


def test_ctrl_c_shows_what_there_is(run: Run, folder: Path, fourth_round: Any, model: refspec.Model) -> None:
    expected = refspec.generate(model, PROMPT, max_new_tokens=3)
    fourth_round(KeyboardInterrupt(), 4)
    code, out, err = run("generate", PROMPT, "--model", folder)
    assert (code, out) == (130, f"{expected.text}\n")
    assert err.startswith("3 tokens | ")
    assert err.endswith("finish reason: interrupted\n")
    assert err.count("\n") == 1


def test_ctrl_c_with_json_gives_the_object_so_far(run: Run, folder: Path, fourth_round: Any, model: refspec.Model) -> None:
    expected = refspec.generate(model, PROMPT, max_new_tokens=3)
    fourth_round(KeyboardInterrupt(), 4)
    code, out, err = run("generate", PROMPT, "--model", folder, "--json")
    answer = parsed(out)
    assert (code, err, answer["finish_reason"], answer["tokens"]) == (130, "", "interrupted", list(expected.tokens))
    assert len(answer["rounds"]) == 3


def test_ctrl_c_in_the_prefill_gives_an_object_without_tokens(run: Run, folder: Path, fourth_round: Any) -> None:
    fourth_round(KeyboardInterrupt(), 1)
    code, out, _ = run("generate", PROMPT, "--model", folder, "--json")
    assert (code, parsed(out)["finish_reason"], parsed(out)["tokens"]) == (130, "interrupted", [])


def test_ctrl_c_among_lines_ends_with_the_one_it_hit(run: Run, folder: Path, fourth_round: Any, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "in.jsonl", *[{"prompt": "a", "max_new_tokens": 3}] * 3)
    fourth_round(KeyboardInterrupt(), 5)
    code, out, err = run("generate", "--jsonl", lines, "--model", folder)
    answers = [parsed(line) for line in out.splitlines()]
    assert (code, err) == (130, "")
    assert [(each["line"], len(each["tokens"]), each["finish_reason"]) for each in answers] == [
        (1, 3, "length"),
        (2, 1, "interrupted"),
    ]


def test_ctrl_c_while_a_round_is_shown_does_not_lose_the_next(model: refspec.Model) -> None:
    """Interrupted after a round was made and before it was shown: it is shown at the end."""
    shown: list[Piece] = []

    class Late:
        def __init__(self, real: Any) -> None:
            self.real = real

        @property
        def output(self) -> Any:
            return self.real.output

        @property
        def pieces(self) -> Any:
            return self.real.pieces

        def __iter__(self) -> Iterator[Any]:
            for i, piece in enumerate(self.real):
                if i == 2:
                    raise KeyboardInterrupt
                yield piece

    output = generate.follow(Late(refspec.stream(model, PROMPT, max_new_tokens=9)), shown.append)  # type: ignore[arg-type]
    assert len(output.rounds) == 3
    assert tuple(piece.round for piece in shown) == output.rounds


def test_ctrl_c_while_loading_is_one_line(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, **options: Any) -> refspec.Model:
        raise KeyboardInterrupt

    for module in (engine, drafts):
        monkeypatch.setattr(module, "load", load)
    assert run("generate", "x", "--model", folder) == (130, "", "refspec: interrupted\n")


def test_an_error_in_the_middle_leaves_the_text_so_far(run: Run, folder: Path, fourth_round: Any, model: refspec.Model) -> None:
    expected = refspec.generate(model, PROMPT, max_new_tokens=3)
    fourth_round(BadProbabilities("the fourth row is no law"), 4)
    assert run("generate", PROMPT, "--model", folder) == (2, f"{expected.text}\n", "refspec: the fourth row is no law\n")


@contextmanager
def command(*arguments: object, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """refspec in a process of its own, its streams buffered on its own side only. It is killed rather than waited for."""
    program = [sys.executable, "-m", "refspec", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipe = subprocess.PIPE
    # A shell that starts something in the background lets it ignore SIGINT, and so everything below it: undo that.
    heed = None if os.name == "nt" else functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        program, stdin=pipe, stdout=stdout, stderr=pipe, bufsize=0, env=environment, preexec_fn=heed
    ) as process:
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        try:
            yield process
            process.wait()
        finally:
            watchdog.cancel()
            process.kill()


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """A command that generates for minutes."""
    folder = write_folder(tmp_path_factory.mktemp("endless"), {**LLAMA, "max_position_embeddings": 1 << 20})
    return ["generate", PROMPT, "--model", folder, "--max-new-tokens", 1 << 19, "--stop", "<|begin|>"]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT for another process on Windows")
def test_a_real_ctrl_c(endless: list[object]) -> None:
    with command(*endless) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert len(first + out) < io.DEFAULT_BUFFER_SIZE  # it streamed: the first byte came before a buffer was full
    assert (first + out).endswith(b"\n")
    assert re.fullmatch(rb"[1-9]\d* tokens \| .* \| finish reason: interrupted\n", err)


@pytest.mark.skipif(os.name == "nt", reason="pipes close differently on Windows")
def test_a_reader_that_leaves_is_no_error(endless: list[object]) -> None:
    with command(*endless) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a Linux device")
def test_a_full_disk_is_one_line(folder: Path) -> None:
    with (
        Path("/dev/full").open("wb") as full,
        command("generate", "x", "--model", folder, "--json", stdout=full.fileno()) as process,
    ):
        _, err = process.communicate()
    assert process.returncode == 2
    assert re.fullmatch(rb"refspec: .*No space left on device\n", err)


def test_row_invariant_is_the_modes_own_text(run: Run) -> None:
    """Rows that are bit-identical give one text, drafted or not."""
    options = ("--model", "tiny-target", "--temperature", 0, "--row-invariant", "--max-new-tokens", 40)
    texts = [run("generate", "ROMEO:", *options, *drafter)[1] for drafter in ((), ("--ngram",), ("--draft", "tiny-draft"))]
    assert len(set(texts)) == 1 < len(texts[0])


# --- models, demo, version, help ---


def test_models_lists_what_is_known_and_what_is_on_disk(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "models"
    code, out, _ = run("models")
    assert code == 0
    assert f"on disk, in {folder} (REFSPEC_HOME moves it): none" in out
    assert re.search(r"^  gpt2 +- +GPT-2", out, re.MULTILINE)

    for name, size in (("gpt2", 3_000_000), ("acme--tiny", 1_234_567), (".other.partial-1", 5)):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(bytes(size))
    _, out, _ = run("models")
    assert re.search(r"^  gpt2 +on disk +GPT-2", out, re.MULTILINE)
    assert re.search(r"^  distilgpt2 +- ", out, re.MULTILINE)
    assert re.search(rf"^  gpt2 +3\.0 MB  {re.escape(str(folder / 'gpt2'))}$", out, re.MULTILINE)
    assert re.search(rf"^  acme/tiny +1\.2 MB  {re.escape(str(folder / 'acme--tiny'))}$", out, re.MULTILINE)
    assert "partial" not in out


def test_demo_needs_nothing_and_shows_what_it_promises(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("refspec.cli.demo.RUNS", 2)
    code, painted, err = run("demo")
    out = without_colours(painted)
    assert (code, err) == (0, "")
    assert all(f"\033[{code}m" in painted for code in ("32", "35", "36", "2;9"))  # accepted, corrected, bonus, refused

    total, rounds = (
        int(re.findall(r"^(\d+) tokens took", out, re.MULTILINE)[0]),
        int(re.findall(r"^Rounds \d+ to \d+ of (\d+)", out, re.MULTILINE)[0]),
    )
    rows = re.findall(r"^ +(\d+) +(\d+) +(\d+)  ", out, re.MULTILINE)
    begin, end = map(int, re.findall(r"^Rounds (\d+) to (\d+) of", out, re.MULTILINE)[0])
    assert [int(number) for number, _, _ in rows] == list(range(begin, end + 1))
    accepted_a_round = sum(int(accepted) for _, _, accepted in rows) / len(rows)
    assert all(0 <= int(accepted) <= int(drafted) == 4 for _, drafted, accepted in rows)

    measured, predicted = map(float, re.findall(r"^acceptance rate +([\d.]+) +([\d.]+)", out, re.MULTILINE)[0])
    assert 0.5 < predicted < 1
    assert abs(measured - predicted) < 0.2  # some 130 tests of chance
    a_call, expected = map(float, re.findall(r"^tokens per target call +([\d.]+) +([\d.]+)", out, re.MULTILINE)[0])
    assert a_call == pytest.approx(total / rounds, abs=0.005)
    assert expected == pytest.approx((1 - predicted**5) / (1 - predicted), rel=0.05)  # from a rate rounded to 2 digits
    assert re.search(r"\d ms plainly and \d+ ms speculatively: [\d.]+ times", out)
    assert "`refspec prove`" in out
    assert accepted_a_round == pytest.approx(a_call - 1, abs=0.1)  # a window like the whole


def test_the_window_is_the_first_that_is_most_like_all() -> None:
    def rounds(*accepted: int) -> list[Round]:
        return [Round((0,) * 4, each, 0) for each in accepted]

    poor, fair, rich = [0] * 12, [1, 3] * 6, [4] * 12
    assert demo.typical(rounds(*poor, *fair, *rich)) == 12
    assert demo.typical(rounds(*fair, *fair)) == 0
    assert demo.typical(rounds(1, 2)) == 0


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_demo_fits_the_terminal_and_takes_gamma_and_seed(run: Run, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refspec.cli.demo.RUNS", 1)
    monkeypatch.setattr("refspec.cli.demo.NEW_TOKENS", 80)
    monkeypatch.setenv("COLUMNS", str(columns))
    out = run("demo", "--gamma", 12, "--seed", 2)[1]
    told = out[out.index("Two draws from") :]
    assert max(map(len, told.splitlines())) <= columns + max(0, 75 - columns)  # a row of the table takes up to 75
    assert max(map(len, told.splitlines())) > columns * 0.8  # wrapped where the terminal ends, and not before
    assert "12 tokens drafted a round" in out
    assert "with seed 2" in out
    assert {int(drafted) for drafted in re.findall(r"^ +\d+ +(\d+) +\d+  ", out, re.MULTILINE)} == {12}


def test_demo_says_the_same_text_every_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refspec.cli.demo.RUNS", 1)
    monkeypatch.setattr("refspec.cli.demo.NEW_TOKENS", 40)
    first, second = (re.sub(r"(?s)tokens took.*", "", run("demo")[1]) for _ in range(2))
    assert first == second


def test_the_table_tells_kept_from_refused_without_colours() -> None:
    rounds = (Round((1, 2, 3), 2, 4), Round((5, 6), 2, 7), Round((8,), 0, 9), Round((), 0, 1))
    lines = table(rounds, lambda ids: " ".join(map(str, ids)), uncoloured).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "round drafted accepted draft then",
        "1 3 2 1 2 | 3 4 (corrected)",
        "2 2 2 5 6 7 (bonus)",
        "3 1 0 | 8 9 (corrected)",
        "4 0 0 1",
    ]
    assert len({line.index(then) for line, then in zip(lines, ("then", "4 (", "7 (", "9 ("), strict=False)}) == 1  # aligned
    painted = table(rounds, lambda ids: " ".join(map(str, ids)), coloured)
    assert without_colours(painted).splitlines() == lines
    assert "\033[32m1 2\033[0m | \033[2;9m3\033[0m" in painted


def test_version_and_help(run: Run) -> None:
    assert run("--version") == (0, f"refspec {refspec.__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in ("generate", "models", "demo"))
    code, out, _ = run("generate", "--help")
    assert code == 0
    assert all(word in out for word in ("NO_COLOR", "standard error", "JSONL", "--min-p"))
    assert all("examples:\n  refspec" in run(name, "--help")[1] for name in ("generate", "prove", "bench", "demo"))


@pytest.mark.parametrize("name", ["generate", "prove"])
def test_help_explains_each_rule_on_one_line(run: Run, name: str) -> None:
    out = run(name, "--help")[1]
    for rule, real in RULES.items():
        exact = "exact" if is_exact(real) else "INEXACT"
        assert re.search(rf"^  {rule} +{exact} +\w.{{20,90}}$", out, re.MULTILINE), rule
    assert max(map(len, out.splitlines())) <= 120  # what is wrapped by hand


def test_without_a_command_there_is_help_and_a_code_that_stops_a_script(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err == run("--help")[1]
    monkeypatch.setattr(sys, "argv", ["refspec"])
    assert cli.main() == 2


@pytest.mark.real
def test_smollm2_says_where_france_keeps_its_capital(run: Run, smollm2_folder: Path) -> None:
    code, out, err = run(
        "generate", "The capital of France is", "--model", smollm2_folder, "--temperature", 0, "--max-new-tokens", 2, "--ngram"
    )
    assert (code, out) == (0, " Paris.\n")
    assert err.startswith("2 tokens")
