"""Training and distillation: resumable after kill -9 at any moment, and saved so that transformers agrees."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

from weights_tools import distill as distilling  # noqa: E402
from weights_tools import train as training  # noqa: E402
from weights_tools.acceptance import continue_by_sampling, overlap  # noqa: E402
from weights_tools.corpus import encode, read_split, train_tokenizer, training_batch, trigram_loss  # noqa: E402
from weights_tools.evaluation import report  # noqa: E402
from weights_tools.model_folder import load_gpt2, load_tokenizer  # noqa: E402
from weights_tools.networks import load_network  # noqa: E402
from weights_tools.optimiser import newton_schulz  # noqa: E402
from weights_tools.torch_gpt2 import Shape, TorchGPT2  # noqa: E402

pytestmark = pytest.mark.peers

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = training.Settings(steps=12, layers=2, width=16, heads=2, vocab=300, context=16, batch=4, warmup=2, evaluate_every=4)
ARGUMENTS = [f"--{name.replace('_', '-')}={getattr(SETTINGS, name)}" for name in SETTINGS.__dataclass_fields__]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
    with pytest.raises(MemoryError):
        training.train(corpus, tmp_path / "model", tmp_path / "run", SETTINGS, checkpoint_seconds=0)
    # as if the last checkpoints had not been written yet: the log is ahead, and must be cut back
    training.train(corpus, tmp_path / "model", tmp_path / "run", SETTINGS)
    assert curve(tmp_path / "run") == curve(trained / "run")
    assert same_weights(tmp_path / "model", trained / "model")


def test_kill_minus_nine_again_and_again_still_gives_the_same_curve(corpus, trained, tmp_path):
    command = [sys.executable, "-m", "weights_tools.train", "--corpus", corpus, "--out", tmp_path / "model",
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


def test_a_resumed_run_refuses_other_settings(corpus, trained):
    other = training.Settings(**{**vars(SETTINGS), "dropout": 0.5})
    with pytest.raises(ValueError, match="dropout"):
        training.train(corpus, trained / "model", trained / "run", other)


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


def test_the_vocabulary_is_lossless_on_any_text(corpus):
    tokenizer = train_tokenizer(read_split(corpus)[0], 300)
    text = "".join(chr(code) for code in range(1, 0x800)) + "漢字🦊 \r\n\t  end "
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_cached_and_uncached_logits_agree():
    torch.manual_seed(0)
    model = TorchGPT2(Shape(vocab=11, context=12, layers=2, width=8, heads=2)).eval()
    tokens, cache = torch.randint(0, 11, (2, 12)), model.new_cache()
    with torch.no_grad():
        pieces = torch.cat([model(tokens[:, :5], cache), model(tokens[:, 5:9], cache), model(tokens[:, 9:], cache)], dim=1)
        assert torch.allclose(pieces, model(tokens), atol=1e-5)


def test_every_held_out_token_is_counted_once(corpus, trained):
    model = load_gpt2(trained / "model").eval()
    data = encode(corpus, load_tokenizer(trained / "model"))
    ids, total = torch.from_numpy(data.held_out), 0.0
    for start in range(0, len(ids) - 1, 16):
        until = min(start + 16, len(ids) - 1)
        begin = max(0, until - 16)  # the last window is whole and ends where the text ends
        window = ids[None, begin : until + 1]
        with torch.no_grad():
            total += float(training.token_losses(model(window[:, :-1]), window[:, 1:])[0, start - begin :].sum())
    assert training.held_out_loss(model, data) == pytest.approx(total / (len(ids) - 1), abs=1e-5)
    assert training.held_out_loss(model, data, stride=5) == pytest.approx(total / (len(ids) - 1), rel=0.05)


def test_an_epoch_visits_every_window_once():
    ids = np.arange(1000)
    batches = torch.cat([training_batch(ids, step, batch=3, context=10, seed=1) for step in range(98 // 3)])
    starts = batches[:, 0].tolist()
    assert len(set(starts)) == len(starts)
    assert len({start % 10 for start in starts}) == 1


def test_the_trigram_is_a_law():
    rng = np.random.default_rng(0)
    train, context = rng.integers(0, 7, 500), [1, 2, 3]
    losses = [trigram_loss(train, np.array([*context, last])) * 3 for last in range(7)]
    shared = trigram_loss(train, np.array(context)) * 2
    # a vocabulary of 7: the floor's uniform law is over the ids that occur, here all of them
    assert sum(np.exp(shared - loss) for loss in losses) == pytest.approx(1)


def test_newton_schulz_makes_singular_values_near_one():
    matrices = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    for result in (newton_schulz(matrices), newton_schulz(matrices.mT).mT):
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.6
        assert values.max() < 1.3


@pytest.mark.parametrize("kind", ["kl", "reverse-kl", "tvd"])
def test_divergences_vanish_at_equality_and_tvd_is_one_minus_acceptance(kind):
    left, right = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(distilling.divergence(left, left, kind), torch.zeros(5), atol=1e-6)
    assert (distilling.divergence(left, right, kind) > 0).all()
    if kind == "tvd":
        assert torch.allclose(distilling.divergence(left, right, kind), 1 - overlap(left.softmax(-1), right.softmax(-1)))


def test_sampling_draws_from_the_networks_law(trained):
    network = load_network(trained / "model")
    prompts = torch.full((4000, 1), 5)
    drawn = continue_by_sampling(network, prompts, 2, torch.Generator().manual_seed(0))[:, 1]
    with torch.no_grad():
        law = network.logits(prompts[:1])[0, -1].softmax(-1)
    share = torch.bincount(drawn, minlength=len(law)) / len(drawn)
    assert float((share - law).abs().max()) < 5 * float((law.max() / len(drawn)) ** 0.5)


def test_distillation_raises_acceptance_and_resumes_bit_for_bit(corpus, trained, tmp_path, monkeypatch):
    draft_settings = training.Settings(**{**vars(SETTINGS), "layers": 1, "width": 8, "steps": 4})
    tokenizer = load_tokenizer(trained / "model")
    training.train(corpus, tmp_path / "draft", tmp_path / "draft.run", draft_settings, tokenizer=tokenizer)
    settings = distilling.Settings(rounds=6, sequences=8, length=16, batch=4, evaluate_every=2)

    def run(name: str) -> dict[str, float]:
        target, draft = load_network(trained / "model"), load_network(tmp_path / "draft")
        return distilling.distill(target, draft, corpus, trained / "model", tmp_path / name, tmp_path / f"{name}.run",
                                  settings, checkpoint_seconds=0)  # fmt: skip

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
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(distilling, "sampled_sequences", dies_in_round_four)
    with pytest.raises(MemoryError):
        run("halved")
    assert run("halved") == whole
    assert curve(tmp_path / "halved.run") == curve(tmp_path / "whole.run")
    assert same_weights(tmp_path / "halved", tmp_path / "whole")


def test_a_llama_target_gives_a_draft_of_its_own_layers(corpus, trained, tmp_path):
    transformers = pytest.importorskip("transformers", reason="Llama-family targets go through transformers")
    config = transformers.LlamaConfig(vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=4,
                                      num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True)  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path / "llama"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer(trained / "model").save(str(folder / "tokenizer.json"))
    from weights_tools.networks import draft_from_layers

    target, draft = load_network(folder), draft_from_layers(folder, [0, 3])
    settings = distilling.Settings(rounds=4, sequences=4, length=12, batch=2, evaluate_every=2)
    result = distilling.distill(target, draft, corpus, folder, tmp_path / "draft", tmp_path / "run", settings)
    assert result["after"] >= result["before"]
    again = load_network(tmp_path / "draft")
    assert again.module.config.num_hidden_layers == 2
    assert (tmp_path / "draft" / "tokenizer.json").is_file()
