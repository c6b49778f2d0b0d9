"""The MLP speculator against the paper's recurrence written down again, and the folders that are refused."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants.planting import patched
from speculators import change, network, tensors, write_speculator

from refspec.arrays import Array
from refspec.errors import BadConfig, BadWeights, RefspecError, UnsupportedModel
from refspec.transformer import mlp_speculator
from refspec.transformer.mlp_speculator import load_mlp_speculator, read_speculator_config

WIDTH, VOCAB = 20, 13
CASES: dict[str, dict[str, Any]] = {
    "as granite-20b-code's": {},
    "tied and scaled, as granite-34b-code's": {"tie_weights": True, "scale_input": True},
    "scaled": {"scale_input": True},
    "tied": {"tie_weights": True, "n_predict": 5},
    "as wide as the target": {"inner_dim": 0},
    "one step": {"n_predict": 1},
    "two tied steps": {"tie_weights": True, "n_predict": 2},
    "frequent tokens only": {"ids": [0, 3, 4, 11]},
    "names without a prefix": {"prefix": ""},
}


def expected(folder: Path, feature: Array, tokens: list[int]) -> list[Array]:
    """scores [w] after each token, number by number in Python's floats."""
    config, weights = read_speculator_config(folder), tensors(folder)
    n, inner = config.n_predict, config.inner
    a = 0.5 ** (1 / (2 * n))
    state = feature.tolist()

    def scaled(x: list[float]) -> list[float]:
        root = math.sqrt(sum(each * each for each in x) / len(x) + 1e-6)
        return [each / root for each in x]

    if config.scale_input:
        state = [each / math.sqrt(2) for each in scaled(state)]
    found = []
    for i, token in enumerate(tokens):
        step, later = (0, min(i, 1)) if config.tied else (i, i)
        projected = weights[f"proj.{later}.weight"].astype(float) @ state
        embedded = weights[f"emb.{step}.weight"][token].astype(float)
        summed = [a * x + math.sqrt((1 - a * a) * inner / 2) * y for x, y in zip(projected, embedded, strict=True)]
        normed = [
            x * float(weight) + float(bias)
            for x, weight, bias in zip(scaled(summed), weights[f"ln.{step}.weight"], weights[f"ln.{step}.bias"], strict=True)
        ]
        state = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in normed]
        found.append(weights[f"head.{step}.weight"].astype(float) @ state)
    return found


def furthest(module: ModuleType, folder: Path, dtype: Any, size: float) -> float:
    """From the scores above, over chains from features of this size; as a share of the largest score."""
    speculator = module.load_mlp_speculator(folder, network(WIDTH, VOCAB, dtype))
    random = np.random.default_rng(1)
    feature = (size * random.standard_normal(WIDTH)).astype(dtype)
    tokens = random.integers(0, VOCAB, speculator.n_predict).tolist()
    state, off, largest = speculator.start(feature[None]), 0.0, 0.0
    for i, scores in enumerate(expected(folder, feature, tokens)):
        state, found = speculator.step(i, state, np.array(tokens[i : i + 1]))
        assert found.dtype == state.dtype == dtype
        off, largest = max(off, float(np.abs(found[0] - scores).max())), max(largest, float(np.abs(scores).max()))
    return off / largest


@pytest.mark.parametrize("case", CASES)
# Some hundred roundings of numbers as large as the scores, each 1e-16 of them in float64 and 6e-8 in float32.
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("size", [4, 1e-3])  # a feature so small that the eps of its norm shows
def test_the_recurrence(case: str, dtype: Any, tolerance: float, size: float, tmp_path: Path) -> None:
    folder = write_speculator(tmp_path, WIDTH, VOCAB, **CASES[case])
    assert furthest(mlp_speculator, folder, dtype, size) < tolerance


WRONG: dict[str, tuple[str, str]] = {
    "a state weight that falls with n": ("0.5 ** (0.5 / self.n_predict)", "0.5 ** (0.5 * self.n_predict)"),
    "a state weight of no root": ("0.5 ** (0.5 / self.n_predict)", "0.5 ** (1 / self.n_predict)"),
    "a state weight of the guess": ("0.5 ** (0.5 / self.n_predict)", "0.5 ** (0.5 / (i + 1))"),
    "an embedding without its weight": ("dtype(embedding_weight)", "dtype(1)"),
    "an embedding weight without the width": ("* self.config.inner / 2)", ")"),
    "an embedding weight of the whole width": ("* self.config.inner / 2)", "* self.config.inner)"),
    "a norm without its bias": ("rms_norm(x, weight, EPS) + bias", "rms_norm(x, weight, EPS)"),
    "a norm that takes the mean off": ("rms_norm(x, weight, EPS)", "rms_norm(x - x.mean(axis=-1, keepdims=True), weight, EPS)"),
    "PyTorch's eps": ("EPS = 1e-6", "EPS = 1e-5"),
    "the tanh form of GELU": ("import exact_gelu, rms_norm", "import gelu as exact_gelu, rms_norm"),
    "a state before its GELU": ("state = exact_gelu(rms_norm(x, weight, EPS) + bias)", "state = rms_norm(x, weight, EPS) + bias"),
    "scores from the state before": ("return state, step.head(state)", "return state, step.head(x)"),
    "a scaled input without its root": (" / feature.dtype.type(math.sqrt(2))", ""),
    "an input that is never scaled": ("if not self.config.scale_input", "if True"),
    "an input that is always scaled": ("if not self.config.scale_input", "if False"),
    "the first embedding for all steps": ('"emb.{}.weight", i, v, inner', '"emb.{}.weight", 0, v, inner'),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_formula_is_noticed(what: str, tmp_path: Path) -> None:
    """Negative control: a thousand times the tolerance, on one of the cases, or a file that is not used up."""
    wrong = patched("refspec.transformer.mlp_speculator", WRONG[what])
    off = 0.0
    for case, more in CASES.items():
        folder = write_speculator(tmp_path / case, WIDTH, VOCAB, **more)
        try:
            off = max(off, *(furthest(wrong, folder, np.float64, size) for size in (4, 1e-3)))
        except BadWeights:
            off = np.inf
    assert off > 1e-10


def test_several_rows_at_once_are_each_alone(tmp_path: Path) -> None:
    speculator = load_mlp_speculator(write_speculator(tmp_path, WIDTH, VOCAB, scale_input=True), network(WIDTH, VOCAB))
    features, tokens = np.random.default_rng(0).standard_normal((4, WIDTH)), np.array([1, 5, 0, 12])
    _, together = speculator.step(0, speculator.start(features), tokens)
    for row in range(4):
        _, alone = speculator.step(0, speculator.start(features[row : row + 1]), tokens[row : row + 1])
        assert np.abs(alone[0] - together[row]).max() < 1e-12  # the same sums in another order, in float64


# ---- folders that are refused


def refused(folder: Path, kind: type[RefspecError], *named: str, **of_target: int) -> None:
    with pytest.raises(kind) as caught:
        load_mlp_speculator(folder, network(**{"width": WIDTH, "vocab_size": VOCAB} | of_target))
    assert type(caught.value) is kind
    assert all(each in str(caught.value) for each in named), caught.value
    assert str(caught.value).isprintable()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_speculator(tmp_path / "head", WIDTH, VOCAB)


def test_a_head_for_another_target(folder: Path) -> None:
    refused(folder, BadConfig, "draft head for another target", "emb_dim is 20", "is 24", width=24)
    refused(folder, BadConfig, "draft head for another target", "vocab_size is 13", "is 14", vocab_size=14)


@pytest.mark.parametrize("name", [f"{part}.1.{kind}" for part, kind in
    [("emb", "weight"), ("proj", "weight"), ("head", "weight"), ("ln", "weight"), ("ln", "bias")]])  # fmt: skip
def test_a_tensor_that_is_missing_misshaped_or_not_finite(name: str, folder: Path) -> None:
    good = tensors(folder)[name]
    refused(change(folder, weights={f"speculator.{name}": None}), BadWeights, "lacks the tensor", name)
    refused(change(folder, weights={f"speculator.{name}": good[:-1].copy()}), BadWeights, name, "shape")
    refused(change(folder, weights={f"speculator.{name}": good * np.float32("nan")}), BadWeights, name, "NaN")


def test_a_tensor_that_nobody_reads(folder: Path) -> None:
    refused(change(folder, weights={"speculator.emb.3.weight": np.zeros((VOCAB, 24), np.float32)}), BadWeights, "emb.3.weight")
    change(folder, weights={"speculator.emb.3.weight": None, "speculator.ids": np.arange(4, dtype=np.int32)})
    refused(folder, BadWeights, "speculator.ids")  # ids without the key that says so


def test_copies_of_tied_weights_must_be_copies(tmp_path: Path) -> None:
    folder = write_speculator(tmp_path, WIDTH, VOCAB, tie_weights=True)
    stored = tensors(folder)
    copies = {f"speculator.{part}.2.weight": stored[f"{part}.{first}.weight"] for part, first in (("emb", 0), ("proj", 1))}
    load_mlp_speculator(change(folder, weights=dict(copies)), network(WIDTH, VOCAB))
    for name, copy in copies.items():
        refused(change(folder, weights={**copies, name: copy + 1}), BadWeights, "ties", name)


@pytest.mark.parametrize("ids", [[0, 3, 3, 5], [3, 0, 4, 5], [-1, 0, 1, 2], [0, 1, 2, 13], [0, 1, 2]], ids=str)
def test_ids_that_are_none(ids: list[int], tmp_path: Path) -> None:
    folder = write_speculator(tmp_path, WIDTH, VOCAB, ids=[0, 1, 2, 3])
    load_mlp_speculator(folder, network(WIDTH, VOCAB))
    refused(change(folder, weights={"speculator.ids": np.array(ids, np.int32)}), BadWeights, "speculator.ids")
    refused(change(folder, weights={"speculator.ids": np.arange(4.0)}), BadWeights, "speculator.ids")
    refused(change(folder, weights={"speculator.ids": None}), BadWeights, "speculator.ids")


@pytest.mark.parametrize("key", ["emb_dim", "vocab_size", "n_predict", "inner_dim"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "24", [24], 10**20], ids=str)
def test_a_size_that_is_none(key: str, value: Any, folder: Path) -> None:
    refused(change(folder, {key: value}), BadConfig, key, repr(value))


@pytest.mark.parametrize("key", ["tie_weights", "scale_input"])
def test_a_switch_that_is_none(key: str, folder: Path) -> None:
    refused(change(folder, {key: 1}), BadConfig, key, "1")


def test_what_is_not_implemented_is_named(folder: Path) -> None:
    refused(change(folder, {"model_type": "medusa"}), UnsupportedModel, "model_type", "medusa")
    change(folder, {"model_type": "mlp_speculator"})
    refused(change(folder, {"num_lookahead_tokens": 2}), UnsupportedModel, "num_lookahead_tokens is 2", "n_predict")
    change(folder, {"num_lookahead_tokens": 3, "tie_emb": True, "architectures": ["Other"]})
    refused(folder, UnsupportedModel, "architectures is ['Other']", "tie_emb is True")


KEYS = """emb_dim hidden_size inner_dim n_predict vocab_size tie_weights scale_input architectures draft_vocab_size
num_lookahead_tokens model_type""".split()
VALUES = st.none() | st.booleans() | st.integers(-3, 40) | st.floats(allow_nan=False) | st.text(max_size=3) | st.just([None])


@given(key=st.sampled_from(KEYS), value=VALUES)
@settings(max_examples=60)
def test_no_value_of_any_key_ends_in_another_exception(key: str, value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write_speculator(tmp_path_factory.getbasetemp() / "strange", WIDTH, VOCAB)
    change(folder, {key: value})
    message = "loaded"
    try:
        load_mlp_speculator(folder, network(WIDTH, VOCAB))
    except RefspecError as error:
        message = str(error)
    assert message.isprintable()
