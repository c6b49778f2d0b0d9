"""Training and distillation: resumable after kill -9 at any moment, and saved so that transformers agrees."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

from safetensors.torch import load_file, save_file  # noqa: E402

import refspec  # noqa: E402
from refspec.models.home import find  # noqa: E402
from weights_tools import distill as distilling  # noqa: E402
from weights_tools import train as training  # noqa: E402
from weights_tools.__main__ import main  # noqa: E402
from weights_tools.corpus import encode, read_split  # noqa: E402
from weights_tools.evaluation import report  # noqa: E402
from weights_tools.model_folder import load_gpt2, load_tokenizer, require_same_vocabulary  # noqa: E402
from weights_tools.networks import draft_from_layers, load_network  # noqa: E402
from weights_tools.settings import DistillSettings, TrainSettings  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("one_thread")]

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = TrainSettings(steps=12, layers=2, width=16, heads=2, vocab=300, context=16, batch=4, warmup=2, evaluate_every=4)
ARGUMENTS = [f"--{name.replace('_', '-')}={getattr(SETTINGS, name)}" for name in vars(SETTINGS)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    words = np.random.default_rng(0).choice("the quick brown fox jumps over a lazy dog".split(), 3000)
    path.write_text(" ".join(words))
    return path


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    training.train(corpus, folder / "model", folder / "run", SETTINGS)
    return folder


def curve(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def same_weights(one: Path, other: Path) -> bool:
    left, right = load_gpt2(one).state_dict(), load_gpt2(other).state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


def test_a_run_stopped_and_resumed_is_the_same_run_bit_for_bit(corpus, trained, tmp_path, monkeypatch):
    steps = 0
    real = training.training_batch

    def dies_at_step_seven(*arguments, **options):
        nonlocal steps
        steps += 1
        if steps == 8:
            raise MemoryError("the process dies here, between checkpoints")
        return real(*arguments, **options)

    monkeypatch.setattr(training, "training_batch", dies_at_step_seven)
    with pytest.raises(MemoryError, match="between checkpoints"):
        training.train(corpus, tmp_path / "model", tmp_path / "run", SETTINGS, checkpoint_seconds=0)
    # as if the last checkpoints had not been written yet: the log is ahead, and must be cut back
    training.train(corpus, tmp_path / "model", tmp_path / "run", SETTINGS)
    assert curve(tmp_path / "run") == curve(trained / "run")
    assert same_weights(tmp_path / "model", trained / "model")


def test_kill_minus_nine_again_and_again_still_gives_the_same_curve(corpus, trained, tmp_path):
    command = [sys.executable, "-m", "weights_tools", "train", "--corpus", corpus, "--out", tmp_path / "model",
               "--run-folder", tmp_path / "run", "--checkpoint-seconds", "0", *ARGUMENTS]  # fmt: skip
    kills = 0
    for wait in (0.05, 0.1, 0.02):
        seen = checkpoint_time(tmp_path)
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and checkpoint_time(tmp_path) == seen:
            time.sleep(0.005)
        time.sleep(wait)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    if not kills:
        pytest.skip("the machine was so fast that the run ended before it could be killed")
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert curve(tmp_path / "run") == curve(trained / "run")
    assert same_weights(tmp_path / "model", trained / "model")


def checkpoint_time(folder: Path) -> float:
    path = folder / "run" / "checkpoint.pt"
    return path.stat().st_mtime_ns if path.exists() else 0


def test_ctrl_c_finishes_the_step_and_the_same_command_goes_on(corpus, trained, tmp_path, monkeypatch, capsys):
    command = ["train", f"--corpus={corpus}", f"--out={tmp_path / 'model'}", f"--run-folder={tmp_path / 'run'}", *ARGUMENTS]
    real = training.training_batch

    def interrupted_in_step_seven(ids, step, **options):
        if step == 7:
            signal.raise_signal(signal.SIGINT)
        return real(ids, step, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training, "training_batch", interrupted_in_step_seven)
        assert main(command) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "weights_tools: interrupted; the same command goes on from the last checkpoint"
    )
    assert torch.load(tmp_path / "run" / "checkpoint.pt")["progress"]["number"] == 8
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert main(command) == 0
    assert curve(tmp_path / "run") == curve(trained / "run")
    assert same_weights(tmp_path / "model", trained / "model")


def test_a_trained_model_is_trained_further_and_kept_where_nothing_is_better(corpus, trained, tmp_path, capsys):
    """Its shape and vocabulary are its own, whatever the settings say."""
    before = training.held_out_loss(load_gpt2(trained / "model"), encode(read_split(corpus), load_tokenizer(trained / "model")))
    common = ["train", f"--corpus={corpus}", f"--start={trained / 'model'}", "--steps=8", "--evaluate-every=4", "--batch=4"]
    assert main([*common, f"--out={tmp_path / 'better'}", "--lr=0.001", "--warmup=0"]) == 0
    rows = curve(tmp_path / "better.run")
    assert float(rows[-1]["held_out"]) < before
    assert not same_weights(tmp_path / "better", trained / "model")
    assert main([*common, f"--out={tmp_path / 'worse'}", "--lr=10", "--warmup=0"]) == 0
    assert f"best held-out loss {before:.4f}" in capsys.readouterr().out
    assert same_weights(tmp_path / "worse", trained / "model")
    assert refspec.load(tmp_path / "worse").config == refspec.load(trained / "model").config


def test_a_start_keeps_its_own_shape_and_its_padding(corpus, trained, tmp_path, capsys):
    common = ["train", f"--corpus={corpus}", f"--out={tmp_path / 'out'}", "--steps=1", "--batch=2"]
    for mistake, said in (
        (["--start=tiny-draft", "--layers=4"], "brings its own shape and vocabulary; leave out --layers"),
        (["--start="], ""),
        ([f"--start={tmp_path / 'out'}"], "out"),
    ):
        assert said in refusal(capsys, *common, *mistake)
    padded = tmp_path / "padded"
    shutil.copytree(trained / "model", padded)
    tensors = load_file(padded / "model.safetensors")
    name = next(name for name in tensors if name.endswith("wte.weight"))
    tensors[name] = torch.cat([tensors[name], torch.zeros(20, tensors[name].shape[1], dtype=tensors[name].dtype)])
    save_file(tensors, padded / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((padded / "config.json").read_text())
    (padded / "config.json").write_text(json.dumps(config | {"vocab_size": len(tensors[name])}))
    assert main([*common, f"--start={padded}"]) == 0
    assert refspec.load(tmp_path / "out").config.vocab_size == len(tensors[name])


def test_a_second_ctrl_c_stops_at_once(corpus, tmp_path, monkeypatch):
    def interrupted_twice(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "training_batch", interrupted_twice)
    assert main(["train", f"--corpus={corpus}", f"--out={tmp_path / 'model'}", *ARGUMENTS]) == 130
    assert torch.load(tmp_path / "model.run" / "checkpoint.pt")["progress"]["number"] == 0


def refusal(capsys, *arguments: object) -> str:
    """The one line that a mistake ends in."""
    assert main([str(each) for each in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_run_to_resume_must_be_this_one(corpus, trained, tmp_path, capsys):
    run, elsewhere = tmp_path / "run", shutil.copytree(trained / "run", tmp_path / "copy")
    train = ["train", "--corpus", corpus, "--out", tmp_path / "model", "--run-folder", run, *ARGUMENTS]
    assert f"has other out ({trained / 'model'}): give the same, or" in refusal(capsys, *train, "--run-folder", elsewhere)
    assert main([str(each) for each in train]) == 0
    capsys.readouterr()
    assert "other settings for dropout" in refusal(capsys, *train, "--dropout", "0.5")
    assert "has other vocabulary: give the same" in refusal(capsys, *train, "--tokenizer", "tiny-target")
    assert main([str(each) for each in train]) == 0  # it was at its end
    capsys.readouterr()
    (run / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes()[:5000])
    assert "checkpoint.pt is damaged, so that this run cannot go on; begin another with a new --out" in refusal(capsys, *train)
    torch.save([1], run / "checkpoint.pt")
    assert "is not of this model" in refusal(capsys, *train)
    (run / "checkpoint.pt").unlink()
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert f"holds config.json, and {run} no checkpoint.pt of a run that wrote it; give a new" in refusal(capsys, *train)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_fewer_steps_than_were_done_before_any_evaluation_are_refused(corpus, tmp_path, monkeypatch, capsys):
    train = ["train", f"--corpus={corpus}", f"--out={tmp_path / 'model'}", *ARGUMENTS]
    real = training.training_batch

    def interrupted_in_step_two(ids, step, **options):
        if step == 2:
            signal.raise_signal(signal.SIGINT)
        return real(ids, step, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training, "training_batch", interrupted_in_step_two)
        assert main(train) == 130
    capsys.readouterr()
    assert "at step 3 already" in refusal(capsys, *train, "--steps=3")


def test_a_text_too_short_is_refused(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("a few words, no more")
    assert "the corpus has 6 training and 2 held-out tokens; windows of 16 need 32 and 16" in refusal(
        capsys, "train", "--corpus", text, "--out", tmp_path / "model", *ARGUMENTS
    )
    assert "windows of 256 need 512 and 256" in refusal(
        capsys, "distill", "--target=tiny-target", "--draft=tiny-draft", "--corpus", text, "--out", tmp_path / "draft"
    )
    assert "windows of 256 need 512 and 256" in refusal(
        capsys, "evaluate", "--target=tiny-target", "--draft=tiny-draft", "--text-draft=tiny-draft", "--corpus", text
    )


def test_a_loss_that_explodes_is_one_line(corpus, tmp_path, capsys):
    line = refusal(capsys, "train", "--corpus", corpus, "--out", tmp_path / "model", *ARGUMENTS, "--lr", "1e30", "--warmup", "0")
    assert "lower --lr" in line


def test_what_no_machine_has_memory_for_is_one_line(corpus, tmp_path, capsys):
    line = refusal(capsys, "train", "--corpus", corpus, "--out", tmp_path / "model", *ARGUMENTS, "--width", 2**40)
    assert "not enough memory" in line


def test_a_pair_that_does_not_fit_is_refused(corpus, trained, tmp_path, capsys):
    model, out = trained / "model", tmp_path / "draft"
    files = ["distill", "--corpus", corpus, "--out", out]
    assert "has another vocabulary than" in refusal(capsys, *files, "--target=tiny-target", "--draft", model)
    assert "can see at most 16 tokens" in refusal(capsys, *files, "--target", model, "--draft", model, "--length=17")
    assert "--layers is for a target of the Llama family" in refusal(capsys, *files, "--target=tiny-target", "--layers=0")
    assert "has another vocabulary than" in refusal(
        capsys, "evaluate", "--corpus", corpus, "--target=tiny-target", "--draft=tiny-draft", "--text-draft", model
    )
    damaged = shutil.copytree(model, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"x" * 100)
    assert "model.safetensors is damaged" in refusal(capsys, *files, "--target", damaged, "--draft", damaged)
    (damaged / "tokenizer.json").write_bytes(b"{")
    assert "tokenizer.json cannot be read" in refusal(capsys, *files, "--target", damaged, "--draft", damaged)
    (damaged / "config.json").unlink()
    assert "has no config.json" in refusal(capsys, *files, "--target", damaged, "--draft", damaged)
    assert not out.exists()


def test_the_tiny_pair_goes_by_its_names(corpus, tmp_path, capsys):
    assert main(["distill", "--target=tiny-target", "--draft=tiny-draft", f"--corpus={corpus}", f"--out={tmp_path / 'draft'}",
                 "--rounds=1", "--sequences=2", "--length=8", "--batch=2", "--passes=1"]) == 0  # fmt: skip
    assert "acceptance at temperature 1" in capsys.readouterr().out
    assert load_gpt2(tmp_path / "draft").shape == load_gpt2(find("tiny-draft")).shape


def test_transformers_loads_the_folder_and_agrees(trained):
    transformers = pytest.importorskip("transformers", reason="the peer to agree with is not installed")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(trained / "model", dtype=torch.float32).eval()
    ours = load_gpt2(trained / "model").eval()
    tokens = torch.randint(0, ours.shape.vocab, (3, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(theirs(tokens).logits, ours(tokens), atol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "model")
    text = "the fox\n\n  naïve 🦊 \x00\x7f é"
    ids = tokenizer(text)["input_ids"]
    assert ids == load_tokenizer(trained / "model").encode(text).ids
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("change", [{"n_inner": 65}, {"layer_norm_epsilon": 1e-6}])
def test_a_gpt2_that_is_not_plain_is_refused(change, trained, tmp_path):
    other = shutil.copytree(trained / "model", tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"n_inner": 64}))
    assert same_weights(other, trained / "model")  # 64 is what is usual for a width of 16
    (other / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(refspec.RefspecError, match="is no plain GPT-2"):
        load_gpt2(other)


def test_the_same_words_with_other_ids_are_another_vocabulary(trained, tmp_path):
    other = shutil.copytree(trained / "model", tmp_path / "other")
    require_same_vocabulary(trained / "model", other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    ids["a"], ids["b"] = ids["b"], ids["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(refspec.RefspecError, match="has another vocabulary than"):
        require_same_vocabulary(trained / "model", other)


def test_a_gpt2_named_as_the_hub_has_it_loads(trained, tmp_path):
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(trained / "model", tmp_path / "other")
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(other / "model.safetensors").items()}
    save_file(tensors | {"h.0.attn.bias": torch.ones(16, 16).tril()}, other / "model.safetensors")
    assert same_weights(other, trained / "model")
    save_file(tensors | {"h.7.ln_1.weight": torch.ones(16)}, other / "model.safetensors")
    with pytest.raises(refspec.RefspecError, match="no use for"):
        load_gpt2(other)


def test_distillation_raises_acceptance_and_resumes_bit_for_bit(corpus, trained, tmp_path, monkeypatch):
    draft_settings = TrainSettings(**{**vars(SETTINGS), "layers": 1, "width": 8, "steps": 4})
    tokenizer = load_tokenizer(trained / "model")
    training.train(corpus, tmp_path / "draft", tmp_path / "draft.run", draft_settings, tokenizer=tokenizer)
    data = encode(read_split(corpus), tokenizer)
    settings = DistillSettings(rounds=6, sequences=8, length=16, batch=4, evaluate_every=2)

    def run(name: str) -> dict[str, float]:
        target, draft = load_network(trained / "model"), load_network(tmp_path / "draft")
        run = tmp_path / f"{name}.run"
        return distilling.distill(target, draft, data, tmp_path / name, run, settings, checkpoint_seconds=0)

    whole = run("whole")
    assert whole["after"] > whole["before"]
    table = report(corpus, trained / "model", tmp_path / "whole", tmp_path / "draft")
    assert "interpolated trigram" in table
    assert "| whole (distilled) |" in table

    real, calls = distilling.sampled_sequences, 0

    def dies_in_round_four(*arguments):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise MemoryError("in round four")
        return real(*arguments)

    monkeypatch.setattr(distilling, "sampled_sequences", dies_in_round_four)
    with pytest.raises(MemoryError, match="in round four"):
        run("halved")
    assert run("halved") == whole
    assert curve(tmp_path / "halved.run") == curve(tmp_path / "whole.run")
    assert same_weights(tmp_path / "halved", tmp_path / "whole")


@pytest.fixture(scope="module")
def llama(trained, tmp_path_factory) -> Path:
    transformers = pytest.importorskip("transformers", reason="Llama-family targets go through transformers")
    config = transformers.LlamaConfig(vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=4,
                                      num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True)  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer(trained / "model").save(str(folder / "tokenizer.json"))
    return folder


def test_a_llama_target_gives_a_draft_of_its_own_layers(corpus, llama, tmp_path):
    target, draft = load_network(llama), draft_from_layers(llama, [0, 3])
    data = encode(read_split(corpus), load_tokenizer(llama))
    settings = DistillSettings(rounds=4, sequences=4, length=12, batch=2, evaluate_every=2)
    result = distilling.distill(target, draft, data, tmp_path / "draft", tmp_path / "run", settings)
    assert result["after"] >= result["before"]
    again = load_network(tmp_path / "draft")
    assert again.module.config.num_hidden_layers == 2
    assert again.module.dtype == torch.float32
    assert refspec.load(tmp_path / "draft").config.layers == 2


def test_a_draft_is_its_targets_layers_in_the_order_given_between_the_same_embedding_and_head(llama, tmp_path):
    target = load_network(llama)
    tokens = torch.arange(24).view(2, 12)
    with torch.no_grad():
        assert torch.equal(draft_from_layers(llama, [0, 1, 2, 3]).logits(tokens), target.logits(tokens))
        draft = draft_from_layers(llama, [3, 1])
        whole = draft.logits(tokens)
        assert not torch.allclose(draft_from_layers(llama, [1, 3]).logits(tokens), whole, atol=1e-6)
        cache = draft.new_cache()  # its layers find their rows in a cache of two
        pieces = torch.cat([draft.logits(tokens[:, :5], cache), draft.logits(tokens[:, 5:], cache)], dim=1)
        assert torch.allclose(pieces, whole, atol=1e-5)  # float32
    for ours, theirs in ((0, 3), (1, 1)):
        left, right = draft.module.model.layers[ours].state_dict(), target.module.model.layers[theirs].state_dict()
        assert all(torch.equal(left[name], right[name]) for name in right)
    assert not draft.module.training
    frozen = {name for name, parameter in draft.module.named_parameters() if not parameter.requires_grad}
    assert frozen == {"model.embed_tokens.weight"}  # which is the head as well
    draft.save(tmp_path / "draft")
    assert torch.allclose(load_network(tmp_path / "draft").logits(tokens), whole, atol=1e-3)  # saved in float16


def test_an_untied_head_stays_as_it_is_too(llama, tmp_path):
    from transformers import AutoConfig, LlamaForCausalLM

    config = AutoConfig.from_pretrained(llama)
    config.tie_word_embeddings = False
    LlamaForCausalLM(config).save_pretrained(tmp_path / "untied")
    parameters = dict(draft_from_layers(tmp_path / "untied", [2]).module.named_parameters())
    frozen = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    assert frozen == {"model.embed_tokens.weight", "lm_head.weight"}


def test_saving_a_draft_does_not_round_the_one_that_learns(llama, tmp_path):
    draft = draft_from_layers(llama, [0])
    before = [parameter.clone() for parameter in draft.module.parameters()]
    draft.save(tmp_path / "draft")
    assert all(torch.equal(old, new) for old, new in zip(before, draft.module.parameters(), strict=True))


def test_the_last_logits_are_the_last_of_all(llama, trained):
    for folder in (llama, trained / "model"):
        network, tokens = load_network(folder), torch.arange(12).view(2, 6)
        with torch.no_grad():
            last, all_of_them = network.last_logits(tokens, network.new_cache()), network.logits(tokens)
        assert torch.allclose(last, all_of_them[:, -1], atol=1e-6)


@pytest.mark.parametrize("layers", [["4"], ["-1"], ["0", "0"]])
def test_layers_are_the_targets_own(layers, corpus, llama, tmp_path, capsys):
    line = refusal(capsys, "distill", "--target", llama, "--corpus", corpus, "--out", tmp_path / "draft", "--layers", *layers)
    assert f"layers is {' '.join(layers)}; they are different ones of the target's, 0 to 3" in line


def test_without_transformers_a_llama_says_what_to_install(corpus, llama, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)
    line = refusal(capsys, "distill", "--target", llama, "--corpus", corpus, "--out", tmp_path / "draft", "--layers", "0")
    assert line.endswith("needs transformers here: pip install '.[peers]'")


def test_a_llama_with_a_tensor_missing_or_of_another_type_is_refused(corpus, llama, trained, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(llama, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    files = ["distill", "--corpus", corpus, "--out", tmp_path / "draft", "--layers", "0"]
    assert "lacks the tensor model.norm.weight" in refusal(capsys, *files, "--target", other)
    assert "a GPT-2 is needed here" in refusal(
        capsys, "evaluate", "--corpus", corpus, "--target", llama, "--draft", trained / "model", "--text-draft", trained / "model"
    )
