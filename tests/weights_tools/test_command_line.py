"""What the command line answers without PyTorch: help, and every mistake that can be seen before anything is computed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from refspec.errors import BadArgument
from weights_tools.__main__ import main, parser
from weights_tools.corpus import Corpus, encode, read_split, train_tokenizer
from weights_tools.settings import (
    MEANING,
    CollectSettings,
    DistillSettings,
    HeadSettings,
    PassageSettings,
    TableSettings,
    TrainSettings,
)

COMMANDS = ("fetch", "inspect", "train", "distill", "evaluate")
DISTILL = ["distill", "--target=tiny-target", "--draft=tiny-draft", "--corpus=text.txt", "--out=out"]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a mistake ends in, whether argparse sees it or we do."""
    try:
        code = main(arguments)
    except SystemExit as left:
        code = left.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("weights_tools: ")
    return line


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


def test_help_and_inspect_import_no_heavy_library() -> None:
    program = f"""
import sys
for heavy in ("torch", "transformers", "matplotlib", "gguf", "huggingface_hub"):
    sys.modules[heavy] = None  # importing it now fails
from weights_tools.__main__ import main
for arguments in [["--help"], *([command, "--help"] for command in {COMMANDS})]:
    try:
        main(arguments)
    except SystemExit as left:
        assert left.code == 0
assert main(["inspect", "tiny-target"]) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_is_and_ends_with_examples_that_parse(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert f"    {command} " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    examples = [shlex.split(line) for line in lines[lines.index("example:" if "example:" in lines else "examples:") + 1 :]]
    for words in examples:
        assert words[:4] == ["python", "-m", "weights_tools", command]
        parser().parse_args(words[3:])
    assert examples


def test_settings_have_one_meaning_each_and_become_options() -> None:
    kinds = (TrainSettings, DistillSettings, CollectSettings, PassageSettings, HeadSettings, TableSettings)
    named = {name for kind in kinds for name in vars(kind())} | {"threads", "checkpoint_seconds"}
    assert MEANING.keys() == named
    options = parser().parse_args([*DISTILL, "--weight-decay=0.5", "--loss=kl", "--rounds=7"])
    assert (options.weight_decay, options.loss, options.rounds, options.batch) == (0.5, "kl", 7, DistillSettings().batch)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--steps=0", "steps is 0; it is at least 1"),
        ("--batch=-1", "batch is -1; it is at least 1"),
        ("--context=0", "context is 0; it is at least 1"),
        ("--vocab=256", "vocab is 256; it is at least 257"),
        ("--heads=7", "heads is 7, which does not divide a width of 160"),
        ("--dropout=1", "dropout is 1.0; it is at least 0 and below 1"),
        ("--dropout=-0.1", "dropout is -0.1; it is at least 0 and below 1"),
        ("--dropout=nan", "dropout is nan; it is at least 0 and below 1"),
        ("--lr=0", "lr is 0.0; it is above 0"),
        ("--lr=inf", "lr is inf; it is above 0"),
        ("--decay=0", "decay is 0.0; it is above 0 and at most 1"),
        ("--patience=0", "patience is 0; it is at least 1"),
        ("--seed=-1", "seed is -1; it is from 0 to 4294967295"),
        ("--threads=0", "threads is 0; it is from 1 to 1024"),
        ("--checkpoint-seconds=-1", "checkpoint_seconds is -1.0; it is at least 0"),
        ("--steps=many", "argument --steps: invalid int value: 'many'"),
        ("--stepz=5", "unrecognized arguments: --stepz=5"),
        ("--tokenizer=none", "none is neither a folder nor a known model; known are tiny-target"),
        ("--tokenizer=gpt2", "run: python -m weights_tools fetch gpt2"),
    ],
)
def test_a_bad_setting_of_training(option: str, says: str, capsys: pytest.CaptureFixture[str], without_torch: None) -> None:
    assert says in refusal(capsys, "train", "--corpus=text.txt", "--out=out", option)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rounds=0"], "rounds is 0; it is at least 1"),
        (["--length=7"], "length is 7; it is at least 8"),
        (["--draft-share=1.5"], "draft_share is 1.5; it is from 0 to 1"),
        (["--loss=l2"], "loss is l2; it is tvd, kl or reverse-kl"),
        (["--target=none"], "none is neither a folder nor a known model"),
        (["--draft=nowhere/at/all"], "nowhere/at/all is neither a folder nor a known model"),
        (["--layers", "0"], "argument --layers: not allowed with argument --draft"),
        (["--layers", "x"], "argument --layers: invalid int value: 'x'"),
    ],
)
def test_a_bad_setting_of_distillation(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str], without_torch: None
) -> None:
    assert says in refusal(capsys, *DISTILL, *options)


def test_options_that_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the following arguments are required: --corpus, --out" in refusal(capsys, "train")
    assert "one of the arguments --draft --layers is required" in refusal(capsys, *DISTILL[:2], *DISTILL[3:])
    assert "invalid choice: 'distil'" in refusal(capsys, "distil")


@pytest.mark.parametrize("command", [["train", "--corpus=text.txt", "--out=out"], DISTILL])
def test_without_pytorch_it_says_what_to_install(
    command: list[str], capsys: pytest.CaptureFixture[str], without_torch: None
) -> None:
    assert refusal(capsys, *command).endswith("pip install '.[train]'")


def test_a_folder_to_write_is_no_file_and_not_what_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, model = tmp_path / "file", tmp_path / "model"
    file.touch()
    model.mkdir()
    for options in ([f"--out={file}"], [f"--out={model}", f"--run-folder={file}"]):
        assert f"is {file}, which is no folder; give a folder to write to" in refusal(
            capsys, "train", "--corpus=text.txt", *options
        )
    for role, said in (("--target", "the target"), ("--draft", "the draft to start from")):
        line = refusal(capsys, *DISTILL, f"{role}={model}", f"--out={model}")
        assert f"which is {said}; give another folder" in line


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read (No such file"),
        (b"", "is empty"),
        (b"caf\xe9", "is not UTF-8 text (unexpected end of data at byte 3)"),
    ],
)
def test_a_corpus_that_is_no_text(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadArgument, match=re.escape(says)):
        read_split(path)
    with pytest.raises(BadArgument, match="is no regular file"):
        read_split(tmp_path)


def test_a_corpus_holds_windows_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("0123456789" * 10)
    corpus: Corpus = encode(read_split(path), train_tokenizer("none of these", 257))
    corpus.must_hold(10)
    with pytest.raises(BadArgument, match="90 training and 10 held-out tokens; windows of 11 need 22 and 11"):
        corpus.must_hold(11)
