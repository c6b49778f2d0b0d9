"""The MLP speculator against a PyTorch module written from the equations of arXiv 2404.19124, in another arrangement.

torch computes its own GELU and norms, its modules hold every step's weights, and all chains go through it at once.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from speculators import network, tensors, write_speculator

from refspec.transformer.mlp_speculator import load_mlp_speculator, read_speculator_config

pytestmark = pytest.mark.peers

CASES: dict[str, dict[str, Any]] = {
    "own weights": {"n_predict": 4},
    "tied and scaled": {"tie_weights": True, "scale_input": True, "n_predict": 5, "inner_dim": 48},
    "as wide as the target": {"inner_dim": 0, "scale_input": True},
    "frequent tokens only": {"ids": list(range(0, 97, 3))},
}
WIDTH, VOCAB = 32, 97


def torch_scores(folder: Path, features: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """features [b, d], tokens [b, n] -> scores [b, n, w], in float64"""
    torch = pytest.importorskip("torch", reason="torch is in the optional extra `peers`")
    from torch import nn

    config, weights = read_speculator_config(folder), {name: torch.tensor(each) for name, each in tensors(folder).items()}

    class Step(nn.Module):
        def __init__(self, i: int) -> None:
            super().__init__()
            own = 0 if config.tied else i
            projection = min(i, 1) if config.tied else i
            self.table = nn.Embedding.from_pretrained(weights[f"emb.{own}.weight"].double())
            self.register_buffer("w", weights[f"proj.{projection}.weight"].double())
            self.register_buffer("gain", weights[f"ln.{own}.weight"].double())
            self.register_buffer("shift", weights[f"ln.{own}.bias"].double())
            self.register_buffer("out", weights[f"head.{own}.weight"].double())

        def forward(self, h: Any, token: Any) -> Any:
            kept = 2 ** (-1 / (2 * config.n_predict))
            mixed = kept * nn.functional.linear(h, self.w) + ((1 - kept**2) * config.inner / 2) ** 0.5 * self.table(token)
            normed = nn.functional.rms_norm(mixed, (config.inner,), weight=self.gain, eps=1e-6) + self.shift
            return nn.functional.gelu(normed)

    h, found = torch.tensor(features).double(), []
    if config.scale_input:
        h = nn.functional.rms_norm(h, (config.width,), eps=1e-6) * 0.5**0.5
    for i in range(config.n_predict):
        step = Step(i)
        h = step(h, torch.tensor(tokens[:, i]))
        found.append(h @ step.out.T)
    scores: np.ndarray = torch.stack(found, 1).numpy()
    return scores


@pytest.mark.parametrize("case", CASES)
# Some hundred roundings of numbers below 10, each 1e-16 of it in float64, 6e-8 in float32.
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-4)], ids=["float64", "float32"])
def test_scores_of_chains(case: str, dtype: Any, tolerance: float, tmp_path: Path) -> None:
    folder = write_speculator(tmp_path, WIDTH, VOCAB, **CASES[case])
    speculator = load_mlp_speculator(folder, network(WIDTH, VOCAB, dtype))
    random = np.random.default_rng(0)
    features = random.standard_normal((50, WIDTH)).astype(dtype)
    tokens = random.integers(0, VOCAB, (50, speculator.n_predict))
    theirs = torch_scores(folder, features, tokens)
    state = speculator.start(features)
    for i in range(speculator.n_predict):
        state, scores = speculator.step(i, state, tokens[:, i])
        assert np.abs(scores - theirs[:, i]).max() < tolerance
        assert np.abs(theirs[:, i]).max() > 1
