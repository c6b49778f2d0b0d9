"""From nothing to a head: the target writes, a head learns, and what was trained in PyTorch is what NumPy runs."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from folders import write_folder
from safetensors import safe_open

import refspec
from refspec.errors import BadArgument
from refspec.models.eagle_drafter import eagle_drafter

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402

SMALL = ["--texts", "6", "--question", "6", "--answer", "12", "--least", "2"]


def tools(*arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weights_tools", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def started(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "weights_tools", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target of random weights, with a tokenizer that chats, and with rows that only pad its vocabulary: 264 and not 259."""
    return write_folder(tmp_path_factory.mktemp("heads") / "target")


@pytest.fixture(scope="module")
def text(folder: Path) -> Path:
    done = tools("collect", "--target", folder, "--out", folder.parent / "text", "--tokens", 900, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "own prompts, temperature 0:" in done.stdout
    return folder.parent / "text"


def test_the_text_is_the_targets_own(folder: Path, text: Path) -> None:
    """A greedy answer is what refspec itself continues the prompt with, and the features are what refspec keeps of it."""
    model = refspec.load(folder)
    checked = 0
    for path in sorted(text.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            about, tokens = file.metadata(), tuple(file.get_tensor("tokens").tolist())
            features = file.get_tensor("features").float().numpy()
        assert max(tokens) < 259
        start = int(about["answer_start"])
        lm = model.language_model()
        lm.features(())
        lm.probs(tokens)
        kept = lm.features(tokens)[: len(features)]
        # bfloat16 has 8 bits: 2 layers of rounding
        assert np.abs(features - kept).max() < 0.1 * np.abs(kept).max()
        if float(about["temperature"]) == 0:
            logits = model.logits(tokens)[:, :259][start - 1 : len(tokens) - 1]
            behind = logits.max(axis=1) - logits[np.arange(len(logits)), list(tokens[start:])]
            assert (behind < 0.1 * np.abs(logits).max()).all()  # the likeliest token, but for that rounding
            checked += len(behind)
    assert checked > 50


def test_a_collection_goes_on_where_it_was_killed(folder: Path, tmp_path: Path) -> None:
    process = started("collect", "--target", folder, "--out", tmp_path, "--tokens", "100000", *SMALL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*.safetensors"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.kill()
    process.wait()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("[0-9]*.safetensors")}
    assert len(before) >= 5
    answered = sum(map(tokens_of_answer, tmp_path.glob("[0-9]*.safetensors")))
    done = tools("collect", "--target", folder, "--out", tmp_path, "--tokens", answered + 60, *SMALL)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())
    assert not list(tmp_path.glob("*.part"))
    assert sum(map(tokens_of_answer, tmp_path.glob("[0-9]*.safetensors"))) >= answered + 60
    other = tools("collect", "--target", folder, "--out", tmp_path, "--tokens", 10, "--seed", 5, *SMALL)
    assert (other.returncode, other.stdout) == (2, "")
    assert "was collected with another seed; use the same, or another folder" in other.stderr


def tokens_of_answer(path: Path) -> int:
    with safe_open(path, "pt") as file:
        return file.get_slice("tokens").get_shape()[0] - int(file.metadata()["answer_start"])


HEAD = (
    "--steps 6 --words 200 --depths 3 --batch 200 --held-out 4 --evaluate-every 3 --warmup 1 --bfloat16 0 --checkpoint-seconds 0"
).split()


@pytest.mark.parametrize("kind", ["eagle", "mlp"])
def test_a_head_is_trained_from_the_text_and_drafts(folder: Path, text: Path, tmp_path: Path, kind: str) -> None:
    command = ["train-head", "--target", folder, "--text", text, *HEAD, "--kind", kind]
    done = tools(*command, "--out", tmp_path / "head")
    assert done.returncode == 0, done.stderr
    assert "tokens_a_call" in done.stdout
    options = {"max_new_tokens": 30, "temperature": 0.0, "stop": ()}
    model = refspec.load(folder, row_invariant=True)
    out = refspec.generate(model, [40, 41, 42], drafter=tmp_path / "head", gamma=3, **options)
    assert out.tokens == refspec.generate(model, [40, 41, 42], **options).tokens
    assert sum(each.drafted for each in out.rounds) > 10
    again = tools(*command, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "head" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_training_goes_on_bit_for_bit(folder: Path, text: Path, tmp_path: Path) -> None:
    """Killed behind the third step, and started again."""
    whole = tools("train-head", "--target", folder, "--text", text, "--out", tmp_path / "whole", *HEAD)
    assert whole.returncode == 0, whole.stderr
    command = ["train-head", "--target", folder, "--text", text, "--out", tmp_path / "killed", *HEAD]
    process = started(*command)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed.run" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert tools(*command).returncode == 0
    states = [torch.load(tmp_path / f"{name}.run" / "checkpoint.pt", weights_only=True)["model"] for name in ("whole", "killed")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("kind", ["eagle", "mlp"])
def test_a_head_is_trained_further(folder: Path, text: Path, tmp_path: Path, kind: str) -> None:
    """It begins with what the first training is worth, and with that of no other target, kind or number of guesses."""
    command = ["train-head", "--target", folder, "--text", text, *HEAD, "--kind", kind]
    assert tools(*command, "--out", tmp_path / "first").returncode == 0
    done = tools(*command, "--start", tmp_path / "first", "--out", tmp_path / "second")
    assert done.returncode == 0, done.stderr
    names = ("acceptance", "acceptance_2", "acceptance_3", "tokens_a_call")
    best = json.loads(done.stdout.splitlines()[0].removeprefix("before training: ").replace("'", '"'))
    with (tmp_path / "first.run" / "log.csv").open(newline="") as file:
        rows = [[float(row[name]) for name in names] for row in csv.DictReader(file)]
    # weights are kept in float16, which can turn a guess or two over
    assert min(max(abs(best[name] - value) for name, value in zip(names, row, strict=True)) for row in rows) < 0.05
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "first", other)
    (other / "config.json").write_text((other / "config.json").read_text().replace('"target"', '"stranger"', 1))
    other_kind = ["--kind", "mlp" if kind == "eagle" else "eagle"]
    wrong: list[tuple[Path, list[str]]] = [(other, []), (folder, []), (tmp_path / "first", other_kind)]
    for start, more in wrong + [(tmp_path / "first", ["--depths", "2"])] * (kind == "mlp"):
        refused = tools(*command, "--start", start, "--out", tmp_path / "x", *more)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert re.search(
            r"is an (EAGLE head|MLP speculator of \d guesses \(--depths\)) for target, as train-head", refused.stderr
        )
    trained = (tmp_path / "second.run" / "checkpoint.pt").read_bytes()
    shutil.copytree(tmp_path / "first", other, dirs_exist_ok=True)
    tensors = load_file(other / "model.safetensors")
    doubled = {name: each * 2 if each.is_floating_point() else each for name, each in tensors.items()}
    save_file(doubled, other / "model.safetensors")
    refused = tools(*command, "--start", other, "--out", tmp_path / "second")
    assert "the run to resume has other weights to start from: give the same, or begin another" in refused.stderr
    assert (tmp_path / "second.run" / "checkpoint.pt").read_bytes() == trained
    refused = tools(*command, "--start", tmp_path / "first", "--out", tmp_path / "first")
    assert "which is the head to start from; give another folder" in refused.stderr


def test_what_can_be_said_is_frequent_or_in_the_text_so_far() -> None:
    from weights_tools.train_head import first_places, sayable

    ids, tokens = torch.tensor([2, 5, 9]), torch.tensor([7, 2, 7, 4, 9, 4, 1])
    said = sayable(ids, tokens)
    assert said[:3].tolist() == [2, 5, 9]
    since = first_places(said, 3, tokens)
    for end in range(1, len(tokens) + 1):
        assert set(said[since < end].tolist()) == {2, 5, 9, *tokens[:end].tolist()}


@pytest.mark.parametrize("depths", [1, 3])
def test_what_is_trained_is_what_is_run(folder: Path, text: Path, tmp_path: Path, depths: int) -> None:
    """The stand-ins of all depths at once, with the text's own tokens, are those of a chain that drafted these tokens."""
    from refspec.transformer.cache import KVCache
    from weights_tools.heads import Eagle
    from weights_tools.torch_llama import plain_llama_config

    done = tools("train-head", "--target", folder, "--text", text, "--out", tmp_path / "head", *HEAD)
    assert done.returncode == 0, done.stderr
    model = refspec.load(folder, dtype=np.float64)
    lm, tokens = model.language_model(), tuple(np.random.default_rng(0).integers(0, 259, 20).tolist())
    lm.features(())
    lm.probs(tokens)
    features = lm.features(tokens)
    drafter = eagle_drafter(tmp_path / "head", lm)
    module = Eagle(plain_llama_config(folder)).double()
    module.load_state_dict(
        {name: each.double() for name, each in load_file(tmp_path / "head" / "model.safetensors").items() if name != "ids"}
    )
    embedding = torch.tensor(np.array(model.network.embedding))  # type: ignore[union-attr]
    with torch.no_grad():
        unrolled = module.unrolled(embedding[list(tokens[1:])][None], torch.tensor(features[:-1])[None], depths)
    for start in (0, 4, 11):  # a chain that begins behind tokens[: start + 2]
        cache: KVCache = drafter.head.new_cache()
        stand_in = drafter.head.stand_in(np.array(tokens[1 : start + 2]), features[: start + 1], cache)
        for s in range(depths):
            # angles in float32 in training
            assert np.abs(unrolled[s][0, start + s].numpy() - stand_in[0]).max() < 1e-4
            stand_in = drafter.head.stand_in(np.array(tokens[start + s + 2 : start + s + 3]), stand_in, cache)


def test_passages_are_the_targets_own_answers(folder: Path, text: Path, tmp_path: Path) -> None:
    command = ["passages", "--target", folder, "--text", text, "--passages", "5", "--shortest", "20", "--longest", "90"]
    done = tools(*command, "--out", tmp_path / "long.jsonl", "--least", "1")
    assert done.returncode == 0, done.stderr
    prompts = [json.loads(line)["prompt"] for line in (tmp_path / "long.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(prompts) == 5
    tokenizer, answers = refspec.load(folder).tokenizer, []
    for path in text.glob("0*.safetensors"):
        with safe_open(path, "np") as file:
            answers.append(
                tokenizer.decode(file.get_tensor("tokens")[int(file.metadata()["answer_start"]) : -1].tolist()).strip()
            )
    assert all(sum(answer in prompt for answer in answers if len(answer) > 3) >= 1 for prompt in prompts)
    short = ["--tokens", 20, "--texts", 6, "--answer", 12, "--least", 2, "--prompts", tmp_path / "long.jsonl"]
    out = tools("collect", "--target", folder, "--out", tmp_path / "more", *short, "--question", 100)
    assert out.returncode == 0, out.stderr
    assert "prompt prompts" in out.stdout
    refused = tools(*command, "--out", tmp_path / "no.jsonl", "--least", "999")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "no answer has 999 tokens" in refused.stderr


def test_a_table_is_counted_from_the_text(folder: Path, text: Path, tmp_path: Path) -> None:
    done = tools("table", "--target", folder, "--text", text, "--out", tmp_path / "table")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "table" / "config.json").read_text())["target"] == "target"
    out = refspec.generate(refspec.load(folder), [40, 41], drafter=tmp_path / "table", max_new_tokens=20, temperature=0)
    assert sum(each.drafted for each in out.rounds) > 0


def test_a_collection_that_keeps_nothing_ends(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weights_tools import collect
    from weights_tools.settings import CollectSettings

    monkeypatch.setattr(collect, "HOPELESS", 1)
    settings = CollectSettings(tokens=10_000, texts=50, question=6, answer=12, least=12)
    with pytest.raises(BadArgument, match="least is 12, and the last 1 answers had fewer tokens"):
        collect.collect(folder, tmp_path / "short", settings)


def test_what_cannot_be_is_refused_in_one_line(folder: Path, text: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    training = ["train-head", "--target", folder, "--text", text]
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    torn = tmp_path / "torn"
    shutil.copytree(text, torn)
    next(iter(sorted(torn.glob("0*.safetensors")))).write_bytes(b"12")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "collection.json").write_text('{"target": "another"}')
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "collection.json").write_text('{"target": "target"}')
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(2 * '{"category": "long", "prompt": "far too long for a question of six tokens"}\n')
    collecting = ["collect", "--target", folder, "--out", tmp_path / "y", "--tokens", "100", *SMALL]
    asked = {
        "which holds config.json, and no table": ["table", "--target", folder, "--text", text, "--out", mine],
        "is damaged": ["table", "--target", folder, "--text", torn, "--out", tmp_path / "x"],
        "holds text of another, and the target is target": [
            "table",
            "--target",
            folder,
            "--text",
            stranger,
            "--out",
            tmp_path / "x",
        ],
        "is no collection": ["table", "--target", folder, "--text", tmp_path, "--out", tmp_path / "x"],
        "is no model of the Llama family": ["collect", "--target", "tiny-target", "--out", tmp_path / "x"],
        "which holds notes.txt, and no collection": ["collect", "--target", folder, "--out", tmp_path / "full", *SMALL],
        "tokens is 0; it is at least 1": ["collect", "--target", folder, "--out", tmp_path / "x", "--tokens", "0"],
        "0 texts, and at least 20 are needed": ["train-head", "--target", folder, "--text", empty, "--out", tmp_path / "x"],
        "kind is eagel; it is eagle": [*training, "--out", tmp_path / "x", "--kind", "eagel"],
        "none came more than": ["table", "--target", folder, "--text", text, "--out", tmp_path / "x", "--least", "99999"],
        "none of the 2 prompts is as short": [*collecting, "--prompts", prompts],
        "no texts; `collect` some first": ["table", "--target", folder, "--text", empty, "--out", tmp_path / "x"],
    }
    for message, arguments in asked.items():
        done = tools(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert message in done.stderr
