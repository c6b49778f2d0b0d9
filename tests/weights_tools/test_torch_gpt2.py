"""The GPT-2 with a backward pass against the one in NumPy, its dropout, and the losses taken from it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

import refspec  # noqa: E402
from weights_tools.corpus import Corpus, train_tokenizer  # noqa: E402
from weights_tools.model_folder import load_gpt2, save_gpt2  # noqa: E402
from weights_tools.torch_gpt2 import Dropout, Shape, TorchGPT2  # noqa: E402
from weights_tools.train import held_out_loss, token_losses  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("one_thread")]

# float32 has 24 bits: 6e-8 of a logit of size 10, and some hundred roundings on the way
FLOAT32 = 1e-4


def random_gpt2(shape: Shape, seed: int = 0, *, std: float = 0.3) -> TorchGPT2:
    """Every parameter random and large: at GPT-2's own initialisation the heads see much the same, and biases are 0."""
    torch.manual_seed(seed)
    model = TorchGPT2(shape)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval()


@torch.no_grad()
def test_the_saved_folder_means_the_same_to_refspec(tmp_path):
    """Order of q, k and v, of the heads, layout of every matrix, norms: NumPy's forward pass of the folder has these logits."""
    model = random_gpt2(Shape(vocab=261, context=12, layers=2, width=12, heads=3))
    save_gpt2(tmp_path, model, train_tokenizer("some words", 261))
    model.half().float()  # what the folder holds
    tokens = [3, 250, 0, 17, 17, 99, 260, 1, 2, 3, 4, 5]
    expected = refspec.load(tmp_path).logits(tokens)
    assert np.allclose(model(torch.tensor([tokens]))[0].numpy(), expected, rtol=0, atol=FLOAT32)
    assert torch.equal(load_gpt2(tmp_path)(torch.tensor([tokens])), model(torch.tensor([tokens])))
    config = refspec.load(tmp_path).config
    assert (config.vocab_size, config.context, config.layers, config.width, config.heads) == (261, 12, 2, 12, 3)


@torch.no_grad()
def test_sequences_of_a_batch_do_not_mix_and_nobody_looks_ahead():
    model = random_gpt2(Shape(vocab=11, context=8, layers=2, width=12, heads=3))
    tokens = torch.randint(0, 11, (3, 8), generator=torch.Generator().manual_seed(1))
    together = model(tokens)
    for row in range(3):
        for n in range(1, 9):
            assert torch.allclose(model(tokens[row : row + 1, :n])[0], together[row, :n], rtol=0, atol=FLOAT32)


@torch.no_grad()
@pytest.mark.parametrize("pieces", [(1, 1, 1, 1, 1, 1, 1, 1), (5, 2, 1), (2, 6)])
def test_a_cache_changes_nothing(pieces):
    model = random_gpt2(Shape(vocab=11, context=8, layers=2, width=12, heads=3))
    tokens, cache = torch.randint(0, 11, (2, 8), generator=torch.Generator().manual_seed(1)), model.new_cache()
    found = torch.cat([model(part, cache) for part in torch.split(tokens, pieces, dim=1)], dim=1)
    assert torch.allclose(found, model(tokens), rtol=0, atol=FLOAT32)
    assert cache.length == 8


def test_a_gpt2_starts_as_openai_started_it():
    """0.02 everywhere, but less by the root of the number of additions where a layer adds to the residual stream."""
    torch.manual_seed(0)
    for name, parameter in TorchGPT2(Shape(vocab=500, context=200, layers=8, width=64, heads=2)).named_parameters():
        if "ln_" in name:
            assert (parameter == name.endswith("weight")).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        else:
            expected = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02  # 4 = sqrt(2 * layers)
            # at least 4096 draws: the standard error of their deviation is 1.1 %
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
            assert abs(parameter.mean().item()) < 5 * expected / parameter.numel() ** 0.5, name  # five standard errors


def test_dropout_leaves_out_its_share_and_makes_up_for_it():
    torch.manual_seed(0)
    ones = torch.ones(100, 200)
    drop = Dropout(0.25, ones)
    first, second = drop(ones), drop(ones)
    assert set(first.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    # 20,000 coins: a standard error of 0.3 % of them
    assert (first == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(first, second)  # another offset at another place
    assert Dropout(0.0, ones)(ones) is ones


def test_dropout_is_at_every_place_in_training_and_nowhere_in_evaluation():
    """Embeddings of 100, an attention that adds 10, an MLP that adds 1: the sum tells which of the three were left out."""
    model = TorchGPT2(Shape(vocab=5, context=64, layers=1, width=64, heads=2), dropout=0.5)
    seen = []
    model.transformer.ln_f.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    block = model.transformer.h[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.transformer.wte.weight.fill_(100)
        block.attn.c_proj.bias.fill_(10)
        block.mlp.c_proj.bias.fill_(1)
        tokens = torch.zeros(1, 64, dtype=torch.int64)
        model.train()(tokens)
        model.eval()(tokens)
    in_training, in_evaluation = seen
    assert set(in_training.unique().tolist()) == {2.0 * (a + b + c) for a in (0, 100) for b in (0, 10) for c in (0, 1)}
    assert (in_evaluation == 111).all()


def test_a_loss_a_position():
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((2, 3, 5)), rng.integers(0, 5, (2, 3))
    found = token_losses(torch.tensor(logits), torch.tensor(targets)).numpy()
    for row in range(2):
        for at in range(3):
            law = np.exp(logits[row, at]) / np.exp(logits[row, at]).sum()
            assert found[row, at] == pytest.approx(-np.log(law[targets[row, at]]), rel=1e-12)  # roundings of doubles


@torch.no_grad()
def one_by_one(model: TorchGPT2, ids: np.ndarray, stride: int) -> float:
    """Each token from the first window that holds it; what no whole window holds, from one that ends with the text."""
    context, n, total = model.shape.context, len(ids), 0.0
    for at in range(1, n):
        starts = [start for start in range(0, n - context, stride) if start < at <= start + context]
        start = starts[0] if starts else max(0, n - 1 - context)
        logits = model(torch.tensor(ids[None, start:at]))[0, -1].double()
        total -= logits.log_softmax(-1)[ids[at]].item()
    return total / (n - 1)


@pytest.mark.parametrize("batch", [1, 2, 16])
@pytest.mark.parametrize(
    ("tokens", "stride"), [(41, None), (40, None), (39, None), (41, 4), (38, 3), (9, None), (8, 1), (5, None)]
)
def test_every_held_out_token_is_predicted_once_from_what_its_window_holds(tokens, stride, batch):
    model = random_gpt2(Shape(vocab=11, context=8, layers=1, width=8, heads=2))
    model.dropout = 0.5
    ids = np.random.default_rng(0).integers(0, 11, tokens)
    corpus = Corpus(np.zeros(2, np.int64), ids, 1)
    for training in (True, False):
        model.train(training)
        found = held_out_loss(model, corpus, batch=batch, stride=stride)
        assert model.training is training  # as it was
        model.eval()
        assert found == pytest.approx(one_by_one(model, ids, stride or 8), abs=FLOAT32)
