"""A draft that cannot work is told once, in one line that says that it is the draft, whatever it is asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import write_folder
from safetensors.numpy import load_file, save_file
from speculators import write_speculator
from test_eagle import write_head
from test_read_once import write_factored
from test_whose import write_drafts

import refspec
from refspec.cli.main import main
from refspec.errors import BrokenDrafter
from refspec.models.drafts import KINDS

OVERFLOWS: dict[str, tuple[Any, str]] = {
    "eagle": (write_head, "fc.weight"),
    "mlp": (lambda path: write_speculator(path, 32, 264), "speculator.proj.0.weight"),
    "factored": (write_factored, "speculator.out.weight"),
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "target")


def jsonl(path: Path, lines: int) -> Path:
    path.write_text("".join(json.dumps({"prompt": f"line {i}"}) + "\n" for i in range(lines)), encoding="utf-8")
    return path


def overflowing(kind: str, path: Path) -> Path:
    """Each weight is finite, and squares and products of them are not."""
    write, name = OVERFLOWS[kind]
    weights = write(path) / "model.safetensors"
    found = load_file(weights)
    save_file(found | {name: np.full_like(found[name], 3e38)}, weights)
    return path


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("kind", OVERFLOWS)
def test_an_overflow_is_the_heads(kind: str, temperature: float, target: Path, tmp_path: Path) -> None:
    """Without NumPy's warnings, which are errors here."""
    head = overflowing(kind, tmp_path / "head")
    cheap = refspec.Profile((1, 1.01, 1.02), 0, heads=0)
    for gamma in (2, "auto"):
        with pytest.raises(BrokenDrafter, match=r"the scores of the draft head .* hold NaN or infinity.*or leave it out"):
            refspec.generate(
                target, "abc", drafter=head, gamma=gamma, profile=cheap, temperature=temperature, max_new_tokens=9, stop=()
            )  # type: ignore[arg-type]


BAD = ["nothing in it", "of another size", "of another name", "damaged", "of another vocabulary", "overflows"]


@pytest.mark.parametrize("batch", ["1", "3"])
@pytest.mark.parametrize("bad", BAD)
def test_many_lines_end_once(bad: str, batch: str, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drafts = write_drafts(tmp_path / "drafts")
    draft = {
        "nothing in it": tmp_path / "empty",
        "of another size": write_speculator(tmp_path / "head", 16, 264),
        "of another name": write_speculator(tmp_path / "head", 32, 264, target="another"),
        "damaged": drafts["eagle"],
        "of another vocabulary": Path("tiny-draft"),
        "overflows": overflowing("mlp", tmp_path / "mlp"),
    }[bad]
    (tmp_path / "empty").mkdir()
    if bad == "damaged":
        (draft / "model.safetensors").write_bytes(b"12345678")
    lines = jsonl(tmp_path / "lines.jsonl", 4)
    code = main(["generate", "--model", str(target), "--draft", str(draft), "--jsonl", str(lines), "--batch", batch])
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1), said.err
    assert "line 1" not in said.err, "no line is to blame"


def test_what_is_wrong_with_a_line_is_still_its_own(target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = jsonl(tmp_path / "lines.jsonl", 3)
    lines.write_text('{"prompt": ""}\n' + lines.read_text(), encoding="utf-8")
    head = write_head(tmp_path / "head")
    assert main(["generate", "--model", str(target), "--draft", str(head), "--jsonl", str(lines), "--max-new-tokens", "5"]) == 2
    said = capsys.readouterr()
    assert (said.out.count("\n"), said.err.count("\n")) == (3, 1)
    assert "line 1: the prompt is empty" in said.err


@pytest.mark.parametrize("kind", KINDS)
def test_damage_says_what_to_do_about_a_draft_of_ones_own(kind: str, tmp_path: Path) -> None:
    """And not to fetch a model."""
    draft = write_drafts(tmp_path / "drafts")[kind]
    weights = draft / "model.safetensors"
    whole = weights.read_bytes()
    tensors = {name: each * np.float32(np.nan) if each.dtype == np.float32 else each for name, each in load_file(weights).items()}
    save_file(tensors, tmp_path / "nan.safetensors")
    model = refspec.load(write_folder(tmp_path / "plain" / "target", tokenizer=False))
    for damage in (whole[:-9], whole[:5], (tmp_path / "nan.safetensors").read_bytes()):
        if kind == "ngram-table" and damage == (tmp_path / "nan.safetensors").read_bytes():
            continue  # it has no floats
        weights.write_bytes(damage)
        with pytest.raises(refspec.RefspecError, match=r"train the head again|count (it|the table) again"):
            refspec.generate(model, (1, 2), drafter=draft, max_new_tokens=4)
