"""An MLP speculator in training: its unrolled guesses are those of the chains that refspec runs from the folder it writes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from speculators import network

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

from refspec.errors import BadArgument  # noqa: E402
from refspec.transformer.mlp_speculator import load_mlp_speculator  # noqa: E402
from weights_tools.mlp_head import Mlp, write_factored, write_mlp  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("one_thread")]

WIDTH, VOCAB, N = 16, 40, 12


def target() -> Any:
    """As much of a target as a head looks at: embedding, head, and the weights of the last norm."""
    generator = torch.Generator().manual_seed(0)
    embedding, head = (torch.randn(VOCAB, WIDTH, generator=generator) for _ in range(2))
    norm = SimpleNamespace(weight=1 + torch.rand(WIDTH, generator=generator))
    return SimpleNamespace(embedding=embedding, head=head, model=SimpleNamespace(norm=norm))


def trained(n_predict: int) -> Mlp:
    """Every parameter away from where it starts."""
    torch.manual_seed(1)
    module = Mlp(WIDTH, n_predict)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def inputs() -> tuple[Any, Any]:
    """tokens [2, n + 1], features [2, n, d]"""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, VOCAB, (2, N + 1), generator=generator)
    return tokens, torch.randn(2, N, WIDTH, generator=generator)


@pytest.mark.parametrize("n_predict", [1, 2, 4])
@pytest.mark.parametrize("words", [VOCAB, 7])
@pytest.mark.parametrize("factored", [False, True], ids=["", "factored"])
def test_rows_of_training_are_the_guesses_of_chains(factored: bool, n_predict: int, words: int, tmp_path: Path) -> None:
    """float32 on both sides, twenty or so roundings of numbers below 100."""
    ours, module, ids = target(), trained(n_predict), torch.arange(0, VOCAB, -(-VOCAB // words))[:words]
    if factored:
        write_factored(tmp_path, module, ids, "target", VOCAB, dtype=torch.float32)
    else:
        write_mlp(tmp_path, module, ids, "target", ours.embedding, ours.head, dtype=torch.float32)
    as_arrays = {"embedding": ours.embedding.double().numpy(), "rows_of_head": ours.head.double().numpy().__getitem__}
    speculator = load_mlp_speculator(tmp_path, network(WIDTH, VOCAB, tied=False, **as_arrays))
    assert speculator.n_predict == n_predict
    tokens, features = inputs()
    with torch.no_grad():
        stand_ins = module.unrolled(ours.embedding[tokens[:, 1:]], features, n_predict)
        unrolled = [(each @ ours.head.T).numpy() for each in stand_ins]
    for text in range(2):
        for start in range(N - n_predict + 1):
            state = speculator.start(features[text, start][None].double().numpy())
            for depth in range(n_predict):
                state, scores = speculator.step(depth, state, tokens[text, start + 1 + depth][None].numpy())
                there = unrolled[depth][text, start + depth]
                assert np.abs(scores[0] - there[ids]).max() < 1e-3
                if speculator.any_token:
                    assert np.abs(speculator.scores_of(state, np.arange(VOCAB))[0] - there).max() < 1e-3
    assert speculator.any_token is factored


def test_it_starts_as_the_linear_guess() -> None:
    """In direction, which decides on the token; how long a stand-in is, is the norm's business."""
    ours, module = target(), Mlp(WIDTH)
    fc = torch.randn(WIDTH, 2 * WIDTH, generator=torch.Generator().manual_seed(3))
    module.start_from(ours, fc)
    tokens, features = inputs()
    embedded = ours.embedding[tokens[:, 1:]]
    with torch.no_grad():
        found = module.unrolled(embedded, features, 2)
    first = torch.cat([embedded, features], dim=-1) @ fc.T
    second = torch.cat([embedded[:, 1:], found[0][:, :-1]], dim=-1) @ fc.T
    # float32, whose cosine of what is parallel is 1 up to some roundings of 6e-8
    assert (torch.cosine_similarity(found[0], first, dim=-1) > 1 - 1e-5).all()
    assert (torch.cosine_similarity(found[1][:, 1:], second, dim=-1) > 1 - 1e-5).all()
    size = ours.model.norm.weight.square().mean().sqrt()
    assert torch.allclose(found[0].square().mean(-1).sqrt(), size.expand(2, N), rtol=1e-3)  # as large as features are


def test_it_learns() -> None:
    """Features that are a nonlinear function of the last: the loss of the second guess falls below that of the linear start."""
    from weights_tools.optimiser import descend, optimisers

    ours, module = target(), Mlp(WIDTH)
    tokens, features = inputs()
    truth = torch.tanh(3 * torch.roll(features, -1, dims=1))
    module.start_from(ours, torch.randn(WIDTH, 2 * WIDTH, generator=torch.Generator().manual_seed(4)))
    parts = optimisers(module, lr=0.01, weight_decay=0.0)
    losses = []
    for _ in range(40):
        stand_ins = module.unrolled(ours.embedding[tokens[:, 1:]], features, 2)
        law = (truth @ ours.head.T).softmax(-1)[:, 1:]
        loss = -(law * (stand_ins[1] @ ours.head.T).log_softmax(-1)[:, 1:]).sum(-1).mean()
        losses.append(loss.item())
        descend(loss, module, parts)
    assert losses[-1] < 0.5 * losses[0]


def test_more_guesses_than_it_is_for() -> None:
    tokens, features = inputs()
    with pytest.raises(BadArgument, match="depths is 3, and this speculator guesses 2 tokens in a row"):
        Mlp(WIDTH, 2).unrolled(target().embedding[tokens[:, 1:]], features, 3)
