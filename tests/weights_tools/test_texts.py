"""A collection that somebody else touched: what `collect` would not have written is refused by its path, in one line."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import write_folder

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

from safetensors.torch import save_file  # noqa: E402

from refspec.errors import BadArgument, BadWeights  # noqa: E402
from refspec.models.tokenizer import Tokenizer  # noqa: E402
from weights_tools.__main__ import main  # noqa: E402
from weights_tools.collect import Collection, pick, read_prompts  # noqa: E402
from weights_tools.texts import drawable, name_of, numbered, read_text  # noqa: E402

pytestmark = pytest.mark.peers

VOCAB, WIDTH, N, FIRST = 259, 32, 30, 65
ABOUT = {"kind": "own", "temperature": "0.7", "answer_start": "24"}
TOKENS = torch.arange(FIRST, FIRST + N + 1, dtype=torch.int32)
FEATURES = torch.linspace(-2, 2, N * WIDTH).view(N, WIDTH).bfloat16()


def written(path: Path, about: dict[str, str] | None = ABOUT, **tensors: Any) -> Path:
    given = {"tokens": TOKENS, "features": FEATURES} | tensors
    save_file({name: each.contiguous() for name, each in given.items() if each is not None}, path, metadata=about)
    return path


def without(key: str) -> dict[str, str]:
    return {name: value for name, value in ABOUT.items() if name != key}


def damaged_features(value: float) -> Any:
    features = FEATURES.clone()
    features[3, 5] = value
    return features


DAMAGED: dict[str, dict[str, Any]] = {
    **{f"no {key}": {"about": without(key)} for key in ABOUT},
    "no metadata": {"about": None},
    **{f"answer_start {value}": {"about": ABOUT | {"answer_start": value}} for value in ("abc", "-1", "31", "1.5", "")},
    **{f"temperature {value}": {"about": ABOUT | {"temperature": value}} for value in ("abc", "-1", "nan", "inf", "")},
    "another kind": {"about": ABOUT | {"kind": "a\nb"}},
    "no tokens": {"tokens": None},
    "no features": {"features": None},
    "an id too large": {"tokens": TOKENS + (VOCAB - FIRST - N)},
    "an id below 0": {"tokens": TOKENS - FIRST - 1},
    "tokens that are no integers": {"tokens": TOKENS.float()},
    "tokens that are complex": {"tokens": TOKENS.to(torch.complex64)},
    "tokens in 2-D": {"tokens": TOKENS[None]},
    "a single number": {"tokens": TOKENS[0]},
    "no tokens at all": {"tokens": TOKENS[:0], "features": FEATURES[:0]},
    "one token without a feature": {"tokens": TOKENS[:1], "features": FEATURES[:0]},
    "fewer tokens than features": {"tokens": TOKENS[: N - 1]},
    "two tokens more than features": {"features": FEATURES[: N - 1]},
    "features of another width": {"features": FEATURES[:, :16]},
    "features in 3-D": {"features": FEATURES[None]},
    "features that are integers": {"features": FEATURES.int()},
    "NaN": {"features": damaged_features(float("nan"))},
    "infinite": {"features": damaged_features(float("-inf"))},
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_text_that_collect_would_not_have_written_is_refused_by_its_path(how: str, tmp_path: Path) -> None:
    path = written(tmp_path / "000003.safetensors", **DAMAGED[how])
    with pytest.raises(BadWeights) as caught:
        read_text(path, VOCAB, WIDTH)
    (line,) = str(caught.value).splitlines()
    assert re.fullmatch(rf"{re.escape(str(path))} is damaged \(.+\); delete it, and collect again", line)


@pytest.mark.parametrize("rows", [N, N + 1])
def test_one_that_it_did_write_is_read_as_it_is(rows: int, tmp_path: Path) -> None:
    path = written(tmp_path / "000003.safetensors", tokens=TOKENS[:rows])
    text, last = read_text(path, VOCAB, WIDTH), FIRST + rows - 1
    assert (text.answer, text.kind, text.temperature, text.number) == (24, "own", 0.7, 3)
    assert torch.equal(text.tokens, TOKENS[:rows])
    assert torch.equal(text.features, FEATURES)
    assert torch.equal(read_text(path, last + 1, WIDTH, with_features=False).tokens, TOKENS[:rows])
    with pytest.raises(BadWeights, match=f"ids from {FIRST} to {last}, and the target's are from 0 to {last - 1}"):
        read_text(path, last, WIDTH)


@pytest.mark.parametrize("name", ["000003 (copy)", "3", "0000003", "000003.old", "0x0003"])
def test_a_file_beside_the_texts_with_a_name_like_theirs(name: str, tmp_path: Path) -> None:
    for number in (3, 0, 1_000_000):
        written(tmp_path / f"{number:06d}.safetensors")
    (tmp_path / "notes.txt").touch()
    assert set(numbered(tmp_path)) == {0, 3, 1_000_000}
    written(tmp_path / f"{name}.safetensors")
    with pytest.raises(BadArgument, match=re.escape(f"{name}.safetensors is no text of this collection")):
        numbered(tmp_path)


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, list[str]]:
    """The commands that read texts, each with its own way to them, and a collection in `text` that suits them."""
    target, text = write_folder(tmp_path / "target"), tmp_path / "text"
    text.mkdir()
    (text / "collection.json").write_text('{"target": "target", "seed": 0, "prompts": 0}')
    for number in range(25):
        tokens = torch.cat([TOKENS[:24], TOKENS[24:] + number])
        written(text / f"{number:06d}.safetensors", ABOUT | {"temperature": "0.0"}, tokens=tokens)
    common = ["--target", str(target), "--text", str(text)]
    small = ["--texts", "2", "--question", "6", "--answer", "12", "--least", "2"]
    return {
        "table": ["table", *common, "--out", str(tmp_path / "table"), "--least", "1"],
        "train-head": ["train-head", *common, "--out", str(tmp_path / "head"), *"--steps 1 --words 64 --held-out 4".split()],
        "passages": ["passages", *common, "--out", str(tmp_path / "p"), *"--shortest 1 --longest 9 --least 2".split()],
        "collect": ["collect", "--target", common[1], "--out", str(text), "--tokens", "9", *small],
    }


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
def test_every_command_says_it_in_one_line(
    commands: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, link = tmp_path / "text", tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    for command in commands.values():
        assert main([*command, "--target", str(link)]) == 0  # whose name is not the target's
    assert json.loads((tmp_path / "head" / "config.json").read_text())["target"] == "target"
    assert json.loads((tmp_path / "table" / "config.json").read_text())["vocab_size"] == VOCAB
    for folder in ("table", "head"):
        for path in (tmp_path / folder).iterdir():
            assert path.stat().st_mode == (text / "collection.json").stat().st_mode
    shutil.rmtree(tmp_path / "head")
    shutil.rmtree(tmp_path / "head.run")
    capsys.readouterr()
    cases: list[Callable[[Path], object]] = [
        lambda path: written(path, None),
        lambda path: written(path, tokens=TOKENS + 5000),
        lambda path: path.write_bytes(b""),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.rmdir(), path.symlink_to("nowhere")),
    ]
    for damage in cases:
        damage(text / "000003.safetensors")
        for command in commands.values():
            assert main(command) == 2
            line = capsys.readouterr().err.splitlines()[-1]
            assert line.startswith("weights_tools: ")
            assert str(text / "000003.safetensors") in line


def test_a_head_goes_on_only_with_its_own_texts_and_target_and_to_its_own_folder(
    commands: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = commands["train-head"]
    assert main(command) == 0
    more = shutil.copytree(tmp_path / "text", tmp_path / "more")
    assert main([*command, "--text", str(more)]) == 0  # the same, wherever they lie
    kept = {path: path.read_bytes() for path in [*(tmp_path / "head").iterdir(), *(tmp_path / "head.run").iterdir()]}

    def refused(*more: str) -> str:
        capsys.readouterr()
        assert main([*command, *more]) == 2
        assert {path: path.read_bytes() for path in kept} == kept
        return capsys.readouterr().err.splitlines()[-1]

    written(more / "000025.safetensors", tokens=TOKENS + 1)
    said = f"learned from other texts: give just those, or train its head further on these, with --start {tmp_path / 'head'} and"
    assert said in refused("--text", str(more))
    (more / "000025.safetensors").unlink()
    written(more / "000024.safetensors", tokens=TOKENS + 1)
    assert said in refused("--text", str(more))
    run = ["--run-folder", str(tmp_path / "head.run")]
    assert f"has other out ({tmp_path / 'head'}): give the same" in refused("--out", str(tmp_path / "other"), *run)
    assert not (tmp_path / "other").exists()
    other = shutil.copytree(tmp_path / "target", tmp_path / "namesake")
    (more / "collection.json").write_text('{"target": "namesake"}')
    assert said in refused("--target", str(other), "--text", str(more))
    shutil.copy(tmp_path / "text" / "000024.safetensors", more)
    assert "has other target (target): give the same" in refused("--target", str(other), "--text", str(more))
    (tmp_path / "head" / "model.safetensors").rename(tmp_path / "aside")
    del kept[tmp_path / "head" / "model.safetensors"]
    assert f"{tmp_path / 'head'} no longer holds the weights" in refused()


def test_what_pads_a_vocabulary_is_not_drawn(tmp_path: Path) -> None:
    tokenizer = Tokenizer(write_folder(tmp_path / "target"))
    assert (drawable(tokenizer, 264), drawable(tokenizer, 258), drawable(None, 264)) == (259, 258, 264)
    logits = torch.zeros(2, 264)
    logits[:, 259:] = 50.0
    for temperature in (0.0, 1.0):
        picked = pick(logits[:, : drawable(tokenizer, 264)], torch.full((2,), temperature), torch.tensor([0.1, 0.9999]))
        assert picked.max() < 259


def test_a_target_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.mkdir()
    monkeypatch.chdir(target)
    assert {name_of(Path(each)) for each in (".", "../target", target, f"{target}/")} == {"target"}


def test_a_collection_goes_on_with_its_own_prompts(tmp_path: Path) -> None:
    made_of = {"target": "target", "seed": 0, "prompts": 2, "prompts_sha256": "1"}
    Collection(tmp_path / "text", made_of)
    Collection(tmp_path / "text", made_of)
    for other, said in (
        ({"prompts_sha256": "2"}, "prompts"),
        ({"prompts": 3, "prompts_sha256": "2"}, "prompts"),
        ({"seed": 1}, "seed"),
    ):
        with pytest.raises(BadArgument, match=f"was collected with another {said}; use the same, or another folder"):
            Collection(tmp_path / "text", made_of | other)
    old = tmp_path / "text" / "collection.json"
    old.write_text('{"target": "target", "seed": 0, "prompts": 2}')
    Collection(tmp_path / "text", made_of)
    with pytest.raises(BadArgument, match="another prompts; use"):
        Collection(tmp_path / "text", made_of | {"prompts": 3})


@pytest.mark.parametrize(("prompt", "said"), [("[1, 2]", "the prompt is ids"), ('"a\\ud800b"', "the prompt is no text")])
def test_a_prompt_that_cannot_be_asked_is_refused_with_its_line(prompt: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'{{"category": "a", "prompt": "fine"}}\n{{"category": "a", "prompt": {prompt}}}\n')
    with pytest.raises(BadArgument, match=rf"line 2.*{said}"):
        read_prompts(path)
