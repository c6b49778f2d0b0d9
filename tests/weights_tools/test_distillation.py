"""Who writes, who learns, from what and by which measure: distillation with networks that are tables of the last token."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

from safetensors.numpy import load_file, save_file  # noqa: E402

from weights_tools import distill as distilling  # noqa: E402
from weights_tools.acceptance import (  # noqa: E402
    acceptance,
    continue_by_sampling,
    overlap,
    random_prompts,
    target_contexts,
    text_contexts,
)
from weights_tools.corpus import Corpus, encode, read_split, train_tokenizer  # noqa: E402
from weights_tools.distill import distill, divergence, learn_from, sampled_sequences  # noqa: E402
from weights_tools.evaluation import report  # noqa: E402
from weights_tools.model_folder import load_gpt2, save_gpt2  # noqa: E402
from weights_tools.networks import load_network  # noqa: E402
from weights_tools.settings import DistillSettings  # noqa: E402
from weights_tools.torch_gpt2 import Shape, TorchGPT2  # noqa: E402
from weights_tools.train import held_out_loss  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("one_thread")]

LAWS = {"kl": lambda p, q: (p * np.log(p / q)).sum(-1), "reverse-kl": lambda p, q: (q * np.log(q / p)).sum(-1),
        "tvd": lambda p, q: np.abs(p - q).sum(-1) / 2}  # fmt: skip


class Table:
    """A network whose law depends on the last token alone: logits table[last] + bias. Muon learns the one, AdamW the other."""

    context = 64

    def __init__(self, table: Any, *, dropout: float = 0.0) -> None:
        table = torch.tensor(table)
        self.module = torch.nn.ParameterDict({"table": table, "bias": torch.zeros_like(table[0])})
        self.dropout = torch.nn.Dropout(dropout)
        self.module.dropout = self.dropout
        self.read: list[Any] = []

    def logits(self, tokens: Any, cache: Any = None) -> Any:
        self.read.append(tokens)
        return self.dropout(self.module["table"][tokens] + self.module["bias"])

    def last_logits(self, tokens: Any, cache: Any) -> Any:
        return self.logits(tokens, cache)[:, -1]

    def new_cache(self) -> None:
        return None

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        save_file({"table": self.table()}, folder / "model.safetensors")

    def table(self) -> np.ndarray:
        return (self.module["table"] + self.module["bias"]).detach().numpy()

    def law(self) -> np.ndarray:
        return softmax(self.table())


def saved(folder: Path) -> np.ndarray:
    return load_file(folder / "model.safetensors")["table"]


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def always(token: int, v: int = 5) -> Table:
    return Table(np.log(np.full((v, v), 1e-30) + np.eye(v)[token]))


def random_table(seed: int, v: int = 5) -> Table:
    return Table(np.random.default_rng(seed).standard_normal((v, v)))


@pytest.mark.parametrize("kind", LAWS)
def test_the_divergences_by_their_formulas(kind):
    """p = (1/2, 1/2) and q = (9/10, 1/10): the three, and the three with p and q exchanged, are six different numbers but tvd."""
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    by_hand = {"kl": math.log(5 / 3), "reverse-kl": 0.9 * math.log(1.8) + 0.1 * math.log(0.2), "tvd": 0.4}
    assert divergence(torch.tensor(p).log(), torch.tensor(q).log(), kind).item() == pytest.approx(by_hand[kind], rel=1e-12)
    rng = np.random.default_rng(0)
    target, draft = 3 * rng.standard_normal((2, 4, 6, 9))
    found = divergence(torch.tensor(target), torch.tensor(draft), kind).numpy()
    assert found.shape == (4, 6)
    assert np.allclose(found, LAWS[kind](softmax(target), softmax(draft)), rtol=1e-10, atol=0)  # roundings of doubles
    assert np.allclose(divergence(torch.tensor(target), torch.tensor(target), kind), 0, atol=1e-12)


def test_the_total_variation_is_one_minus_the_chance_of_acceptance():
    left, right = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(divergence(left, right, "tvd"), 1 - overlap(left.softmax(-1), right.softmax(-1)))
    p, q = torch.tensor([[0.5, 0.3, 0.2], [1, 0, 0]]), torch.tensor([[0.2, 0.2, 0.6], [0, 0.5, 0.5]])
    assert overlap(p, q).tolist() == pytest.approx([0.6, 0])  # float32


def test_acceptance_is_the_mean_over_positions_whatever_the_batch():
    target, draft = random_table(1), random_table(2)
    sequences = torch.randint(0, 5, (5, 7), generator=torch.Generator().manual_seed(0))
    rates = np.minimum(target.law(), draft.law()).sum(-1)[sequences.numpy()]  # [5, 7]
    for batch in (1, 2, 5, 8):
        for skip in (0, 3, 6):
            found = acceptance(target, draft, sequences, skip=skip, batch=batch)
            assert found == pytest.approx(rates[:, skip:].mean(), rel=1e-12)  # roundings of doubles
    assert acceptance(target, draft, sequences) == acceptance(draft, target, sequences) == pytest.approx(rates.mean())


def test_sampling_continues_each_prompt_to_the_length_by_the_last_token_written():
    """A network that counts: after x comes x + 1."""
    counter = Table(np.log(np.roll(np.eye(7), 1, axis=1) + 1e-30))
    prompts = torch.tensor([[5, 0], [1, 3]])
    written = continue_by_sampling(counter, prompts, 6, torch.Generator().manual_seed(0))
    assert written.tolist() == [[5, 0, 1, 2, 3, 4], [1, 3, 4, 5, 6, 0]]
    assert continue_by_sampling(counter, prompts, 2, torch.Generator()).tolist() == prompts.tolist()


def test_what_is_sampled_has_the_networks_law_at_temperature_1():
    table = Table(np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2]]))
    prompts = torch.arange(3).repeat_interleave(4000)[:, None]
    drawn = continue_by_sampling(table, prompts, 2, torch.Generator().manual_seed(0))[:, 1].view(3, 4000)
    for row, law in zip(drawn, table.law(), strict=True):
        # five standard errors of a share in 4000 draws
        assert np.allclose(torch.bincount(row, minlength=3) / 4000, law, rtol=0, atol=5 * (0.25 / 4000) ** 0.5)


@torch.no_grad()
def test_a_gpt2_samples_with_its_cache_what_it_would_without(tmp_path):
    network = small_gpt2(tmp_path / "model", 0)
    prompts = torch.tensor([[3, 250, 9], [17, 17, 0]])
    tokens, generator = prompts, torch.Generator().manual_seed(4)
    while tokens.shape[1] < 12:
        law = network.logits(tokens)[:, -1].softmax(-1)
        tokens = torch.cat([tokens, torch.multinomial(law, 1, generator=generator)], dim=1)
    assert torch.equal(continue_by_sampling(network, prompts, 12, torch.Generator().manual_seed(4)), tokens)


def test_prompts_are_pieces_of_the_text_from_anywhere_in_it():
    ids = np.arange(40, 60)
    prompts = random_prompts(ids, 300, 4, np.random.default_rng(0))
    assert prompts.shape == (300, 4)
    assert (prompts - prompts[:, :1] == torch.arange(4)).all()
    assert set(prompts[:, 0].tolist()) == set(range(40, 56))
    assert torch.equal(random_prompts(ids, 300, 4, np.random.default_rng(0)), prompts)


def test_windows_of_the_held_out_text_are_spread_evenly_from_end_to_end():
    assert text_contexts(np.arange(21), count=5, length=5).tolist() == [list(range(s, s + 5)) for s in (0, 4, 8, 12, 16)]


def test_contexts_begin_with_held_out_text_and_go_on_as_the_target_writes():
    held_out = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    options = {"count": 40, "prompt": 3, "length": 8}
    contexts = target_contexts(always(4), held_out, **options, seed=5)
    assert contexts.shape == (40, 8)
    assert (contexts[:, 3:] == 4).all()
    assert {tuple(row[:3].tolist()) for row in contexts} == {(0, 1, 2), (1, 2, 0), (2, 0, 1)}
    even = Table(np.zeros((5, 5)))
    assert torch.equal(target_contexts(even, held_out, **options, seed=5), target_contexts(even, held_out, **options, seed=5))
    other = target_contexts(even, held_out, **options, seed=6)
    assert not torch.equal(target_contexts(even, held_out, **options, seed=5)[:, 3:], other[:, 3:])
    assert not torch.equal(contexts[:, :3], other[:, :3])


@pytest.mark.parametrize(("share", "by_draft"), [(0.0, 0), (0.25, 2), (0.5, 4), (0.7, 6), (1.0, 8)])
def test_the_draft_writes_its_share_and_the_target_the_rest(share, by_draft):
    """The text is all 0, the draft writes nothing but 1 and the target nothing but 2."""
    settings = DistillSettings(sequences=8, length=12, draft_share=share)
    lengths = set()
    for number in range(60):
        written = sampled_sequences(always(2), always(1), np.zeros(30, np.int64), settings, number)
        prompt = int((written[0] == 0).sum())
        lengths.add(prompt)
        rows = [[0] * prompt + [1] * (12 - prompt)] * by_draft + [[0] * prompt + [2] * (12 - prompt)] * (8 - by_draft)
        assert written.tolist() == rows
    assert lengths == {1, 2, 3, 4, 5}  # any below half the length; in 60 rounds none is missing


def test_what_a_round_reads_depends_on_its_number_and_the_seed_alone():
    ids, even = np.random.default_rng(0).integers(0, 5, 90), Table(np.zeros((5, 5)))

    def written(number: int, seed: int) -> list[list[int]]:
        return sampled_sequences(even, even, ids, DistillSettings(sequences=4, length=16, seed=seed), number).tolist()

    assert written(3, 1) == written(3, 1)
    assert len({str(written(number, seed)) for number in range(4) for seed in range(4)}) == 16
    endings = {str([row[8:] for row in written(number, seed)]) for number in range(4) for seed in range(4)}
    assert len(endings) == 16  # not only the prompts differ


@pytest.mark.parametrize("kind", LAWS)
def test_the_draft_alone_steps_down_the_gradient_of_its_divergence_from_the_target(kind):
    """One step of plain descent at rate 1, against central differences of the formula in NumPy."""
    target, draft = random_table(1), random_table(2)
    start, law = draft.table(), target.law()
    sequences = torch.randint(0, 5, (3, 6), generator=torch.Generator().manual_seed(0))
    settings = DistillSettings(passes=1, batch=3, loss=kind)

    def loss(table: np.ndarray) -> float:
        return LAWS[kind](law[sequences], softmax(table)[sequences]).mean()

    expected = np.zeros_like(start)
    for index in np.ndindex(start.shape):
        step = np.zeros_like(start)
        step[index] = 1e-5
        expected[index] = (loss(start + step) - loss(start - step)) / 2e-5
    assert np.linalg.norm(expected) < 1  # nothing is clipped
    found = learn_from(sequences, target, draft, [torch.optim.SGD(draft.module.parameters(), lr=1.0)], settings, 0)
    # the target's logits are kept in half precision, 11 bits: 5e-4 of a logit of about 1
    assert found == pytest.approx(loss(start), abs=2e-3)
    assert np.allclose(start - draft.module["table"].detach().numpy(), expected, rtol=0, atol=1e-3)
    assert np.array_equal(target.law(), law)
    assert target.module["table"].grad is None


def test_each_pass_reads_every_sequence_once_in_another_order_and_the_target_reads_them_once():
    target, draft = random_table(1), random_table(1)  # the same: wherever the two are compared at one position, nothing differs
    sequences = torch.tensor([[row] * 4 for row in range(5)])
    settings = DistillSettings(passes=3, batch=2, loss="kl")
    idle = [torch.optim.SGD(draft.module.parameters(), lr=0.0)]
    assert learn_from(sequences, target, draft, idle, settings, 0) < 1e-5  # of half precision, squared
    assert torch.equal(torch.cat(target.read), sequences)
    assert [len(rows) for rows in draft.read] == [2, 2, 1] * 3
    passes = [torch.cat(draft.read[index : index + 3])[:, 0].tolist() for index in (0, 3, 6)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in passes)
    assert len({tuple(order) for order in passes}) > 1
    again, other = random_table(1), random_table(1)
    torch.manual_seed(99)  # which must not matter
    learn_from(sequences, target, again, idle, settings, 0)
    learn_from(sequences, target, other, idle, settings, 1)
    assert torch.equal(torch.cat(again.read), torch.cat(draft.read))
    assert not torch.equal(torch.cat(other.read), torch.cat(draft.read))  # another round, another order


def test_the_loss_of_a_round_is_the_mean_of_its_batches():
    target, draft = random_table(1), random_table(2)
    sequences = torch.tensor([[row] * 4 for row in range(5)])
    idle = [torch.optim.SGD(draft.module.parameters(), lr=0.0)]
    found = learn_from(sequences, target, draft, idle, DistillSettings(passes=2, batch=1), 0)
    assert found == pytest.approx(LAWS["tvd"](target.law(), draft.law()).mean(), abs=1e-3)  # half precision


def table_corpus() -> Corpus:
    rng = np.random.default_rng(0)
    return Corpus(rng.integers(0, 5, 300), rng.integers(0, 5, 80), 80)


def test_distilling_reports_acceptance_before_and_after_and_the_folder_holds_the_best_draft(tmp_path):
    """The draft has the shape of the target's table, so it can learn it whole; dropout, were it on, would be in the way."""
    target, draft, corpus = random_table(1), random_table(2), table_corpus()
    start, draft = draft, Table(draft.table(), dropout=0.5)
    draft.module.train()
    settings = DistillSettings(rounds=12, sequences=8, length=16, batch=4, evaluate_every=3, lr=0.05)
    rates = distill(target, draft, corpus, tmp_path / "out", tmp_path / "run", settings)
    written = target_contexts(target, corpus.held_out, count=32, prompt=2, length=16, seed=settings.seed)
    text = text_contexts(corpus.held_out, count=32, length=16)
    best = Table(saved(tmp_path / "out"))
    assert not draft.module.training
    for name, who in (("before", start), ("after", best)):
        assert rates[name] == acceptance(target, who, written, skip=2, batch=4)
        assert rates[f"{name}_text"] == acceptance(target, who, text, batch=4)
    assert rates["before"] < 0.8
    assert rates["after"] > 0.8
    assert np.array_equal(target.law(), random_table(1).law())


def test_the_best_round_is_the_best_on_what_the_target_writes(tmp_path, monkeypatch):
    """Scripted rates: the second look is the best on what the target writes, the third on held-out text."""
    on_written, on_text = iter([0.5, 0.6, 0.4]), iter([0.5, 0.4, 0.9])
    monkeypatch.setattr(distilling, "acceptance", lambda *_, skip=0, batch: next(on_written if skip else on_text))
    settings = DistillSettings(rounds=2, sequences=4, length=16, batch=4, evaluate_every=1)
    rates = distill(random_table(1), random_table(2), table_corpus(), tmp_path / "out", tmp_path / "run", settings)
    assert rates == {"before": 0.5, "before_text": 0.5, "after": 0.6, "after_text": 0.4}


def test_a_draft_that_only_gets_worse_is_kept_as_it_was(tmp_path):
    target, draft = random_table(1), random_table(1)
    start = draft.table()
    settings = DistillSettings(rounds=4, sequences=4, length=16, batch=4, evaluate_every=1, lr=5.0, warmup=0)
    rates = distill(target, draft, table_corpus(), tmp_path / "out", tmp_path / "run", settings)
    assert (rates["before"], rates["after"]) == (pytest.approx(1), rates["before"])
    assert np.array_equal(saved(tmp_path / "out"), start)
    assert not np.array_equal(draft.table(), start)


def test_a_run_that_goes_on_keeps_the_best_it_had(tmp_path):
    """The second call begins with the draft as it was before the first one, and learns nothing more."""
    settings = DistillSettings(rounds=4, sequences=8, length=16, batch=4, evaluate_every=2, lr=0.05)
    runs = []
    for _ in range(2):
        runs.append(distill(random_table(1), random_table(2), table_corpus(), tmp_path / "out", tmp_path / "run", settings))
        runs.append(saved(tmp_path / "out").tolist())
    assert runs[:2] == runs[2:]
    assert runs[0]["after"] > runs[0]["before"]


def small_gpt2(folder: Path, seed: int, context: int = 16) -> Any:
    torch.manual_seed(seed)
    model = TorchGPT2(Shape(vocab=257, context=context, layers=1, width=8, heads=2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    save_gpt2(folder, model, train_tokenizer("x", 257))
    return load_network(folder)


@pytest.mark.parametrize(("context", "prompt"), [(16, 2), (4, 1)])
def test_the_report_has_each_figure_in_its_row_and_column(context, prompt, tmp_path):
    """Three random models, so that no two figures are the same; each is computed again and looked for where it belongs."""
    (tmp_path / "text.txt").write_text("The quick brown fox, naïve as ever. " * 30, encoding="utf-8")
    names = ("target", "draft", "text-draft")
    networks = {name: small_gpt2(tmp_path / name, seed, context) for seed, name in enumerate(names)}
    lines = report(tmp_path / "text.txt", *(tmp_path / name for name in names)).splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    rows = {cells[0]: cells[1:] for cells in table}
    corpus = encode(read_split(tmp_path / "text.txt"), train_tokenizer("x", 257))
    tokens, size = len(corpus.held_out) - 1, len(read_split(tmp_path / "text.txt")[1].encode())
    assert tokens == size  # no merges: a token is a byte
    trained = f"{len(corpus.train) - 1:,}"
    assert lines[0] == f"Vocabulary 257; {trained} training and {tokens} held-out tokens ({size} bytes, 1.000 bytes a token)."
    for name in names:
        model = load_gpt2(tmp_path / name)
        whole, half = held_out_loss(model, corpus), held_out_loss(model, corpus, stride=context // 2)
        assert whole != half
        parameters = 257 * 8 + context * 8 + 8 * 24 + 24 + 8 * 8 + 8 + 8 * 32 + 32 + 32 * 8 + 8 + 3 * 16
        figures = [f"{parameters:,}", f"{whole:.4f}", f"{whole / math.log(2):.4f}", f"{half / math.log(2):.4f}"]
        assert rows[name] == figures
    trigram = float(rows["interpolated trigram, same tokens"][1])
    assert trigram < 1  # the text repeats itself
    assert float(rows["interpolated trigram, same tokens"][2]) == pytest.approx(trigram / math.log(2), abs=1e-4)  # four digits
    assert rows["nanoGPT README, characters"][2] == "2.1203"  # 1.4697 / ln 2
    target = networks["target"]
    written = target_contexts(target, corpus.held_out, count=64, prompt=prompt, length=context, seed=1234)
    text = text_contexts(corpus.held_out, count=64, length=context)
    for label, name in (("text only", "text-draft"), ("distilled", "draft")):
        rates = [acceptance(target, networks[name], written, skip=prompt), acceptance(target, networks[name], text)]
        assert rows[f"{name} ({label})"] == [f"{rate:.4f}" for rate in rates]
