"""The optimiser against its formulas, written again in NumPy, and the schedule against a table."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

from weights_tools.optimiser import Muon, descend, learning_rate, newton_schulz, optimisers  # noqa: E402
from weights_tools.torch_gpt2 import Shape, TorchGPT2  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("one_thread")]


def orthogonalised(matrix: np.ndarray, iterations: int = 5) -> np.ndarray:
    """The quintic of Jordan et al. applied to the singular values, which begin with a Frobenius norm of 1."""
    left, values, right = np.linalg.svd(np.float64(matrix), full_matrices=False)
    values /= np.sqrt((values**2).sum())
    for _ in range(iterations):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left * values @ right


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (5, 5), (1, 4)])
@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_newton_schulz_is_a_quintic_of_the_singular_values(shape, iterations):
    matrices = np.random.default_rng(0).standard_normal((3, *shape)) * [[[0.01]], [[1]], [[100]]]
    found = newton_schulz(torch.tensor(matrices), iterations=iterations).numpy()
    for matrix, result in zip(matrices, found, strict=True):
        # the iteration adds 1e-7 to the norm, so as not to divide by zero; here the least norm is about 0.02
        assert np.allclose(result, orthogonalised(matrix, iterations), rtol=0, atol=1e-4)
    assert np.array_equal(newton_schulz(torch.tensor(matrices)).numpy(), newton_schulz(torch.tensor(matrices), iterations=5))


def test_newton_schulz_makes_singular_values_near_one_and_keeps_zero():
    matrices = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    for result in (newton_schulz(matrices), newton_schulz(matrices.mT).mT):
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.6
        assert values.max() < 1.3
    assert (newton_schulz(torch.zeros(1, 2, 3)) == 0).all()


def muon_by_hand(weight: np.ndarray, gradients: list[np.ndarray], pieces: int, lr: float, decay: float) -> np.ndarray:
    """Nesterov's momentum as a moving average, each piece orthogonalised alone, and decay apart from the gradient."""
    weight, momentum = weight.copy(), np.zeros_like(weight)
    for gradient in gradients:
        momentum = 0.95 * momentum + 0.05 * gradient
        look_ahead = 0.95 * momentum + 0.05 * gradient
        parts = [orthogonalised(part) for part in np.split(look_ahead, pieces, axis=1)]
        scale = 0.2 * np.sqrt(max(parts[0].shape))  # arXiv 2502.16982, equation 4
        weight = weight * (1 - lr * decay) - lr * scale * np.hstack(parts)
    return weight


def test_three_steps_of_muon_by_hand():
    """Four parameters at once: two that share a shape, one of three matrices side by side, and one without a gradient."""
    rng, lr, decay = np.random.default_rng(0), 0.1, 0.3
    shapes, pieces = [(4, 6), (4, 6), (4, 12), (6, 4), (2, 2)], [1, 1, 3, 1, 1]
    start = [rng.standard_normal(shape) for shape in shapes]
    gradients = [[rng.standard_normal(shape) for shape in shapes] for _ in range(3)]
    parameters = [torch.nn.Parameter(torch.tensor(weight)) for weight in start]
    muon = Muon(parameters, pieces, lr=lr, weight_decay=decay)
    for step in gradients:
        for parameter, gradient in zip(parameters[:-1], step, strict=False):
            parameter.grad = torch.tensor(gradient)
        muon.step()
    for index, parameter in enumerate(parameters[:-1]):
        expected = muon_by_hand(start[index], [step[index] for step in gradients], pieces[index], lr, decay)
        assert np.allclose(parameter.detach().numpy(), expected, rtol=0, atol=1e-6)  # for the 1e-7 beside the norm
    assert np.array_equal(parameters[-1].detach().numpy(), start[-1])  # nothing to learn from: not even decayed
    with pytest.raises(ValueError, match="shorter"):
        Muon(parameters, pieces[:-1], lr=lr, weight_decay=decay)


def adamw_by_hand(weight: np.ndarray, gradients: list[np.ndarray], lr: float, decay: float) -> np.ndarray:
    weight, first, second = weight.copy(), np.zeros_like(weight), np.zeros_like(weight)
    for step, gradient in enumerate(gradients, 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        direction = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.95**step)) + 1e-8)
        weight = weight * (1 - lr * decay) - lr * direction
    return weight


def test_each_parameter_of_a_gpt2_gets_the_optimiser_that_is_meant_for_it():
    """Three steps of the pair on one layer; q, k and v are three matrices; embeddings decay, biases and norms do not."""
    torch.manual_seed(0)
    model = TorchGPT2(Shape(vocab=11, context=6, layers=1, width=4, heads=2)).double()
    named = dict(model.named_parameters())
    for parameter in named.values():
        torch.nn.init.normal_(parameter)
    frozen = named["transformer.h.0.mlp.c_fc.weight"].requires_grad_(False)
    start = {name: parameter.detach().numpy().copy() for name, parameter in named.items()}
    rng, lr, decay = np.random.default_rng(0), 0.05, 0.3
    gradients = {name: [rng.standard_normal(weight.shape) for _ in range(3)] for name, weight in start.items()}
    parts = optimisers(model, lr=lr, weight_decay=decay)
    assert {group["lr"] for part in parts for group in part.param_groups} == {lr}
    for step in range(3):
        for name, parameter in named.items():
            parameter.grad = torch.tensor(gradients[name][step])
        for part in parts:
            part.step()
    for name, parameter in named.items():
        if parameter is frozen:
            expected = start[name]
        elif "wte" in name or "wpe" in name:
            expected = adamw_by_hand(start[name], gradients[name], lr, decay)
        elif parameter.dim() == 1:
            expected = adamw_by_hand(start[name], gradients[name], lr, 0.0)
        else:
            expected = muon_by_hand(start[name], gradients[name], 3 if "c_attn" in name else 1, lr, decay)
        assert np.allclose(parameter.detach().numpy(), expected, rtol=0, atol=1e-6), name  # for the 1e-7 beside the norm


@pytest.mark.parametrize("name", ["embed_tokens", "lm_head"])
def test_the_embeddings_and_the_head_of_a_llama_are_no_matrices_for_muon(name):
    model = torch.nn.ModuleDict({name: torch.nn.Linear(3, 2, bias=False), "q_proj": torch.nn.Linear(3, 2, bias=False)})
    muon, adam = optimisers(model, lr=0.1, weight_decay=0.2)
    assert muon.param_groups[0]["params"] == [model["q_proj"].weight]
    (group,) = adam.param_groups
    assert group["params"] == [model[name].weight]
    assert group["weight_decay"] == 0.2


@pytest.mark.parametrize("slope", [0.1, 10.0])
def test_one_step_down_a_gradient_of_norm_at_most_one(slope):
    """Plain gradient descent on slope * (3 a + 4 b): a gradient of norm 5 * slope, over both parameters together."""
    module = torch.nn.ParameterDict({"a": torch.zeros(1), "b": torch.zeros(1)})
    parts = [torch.optim.SGD([module["a"]], lr=1.0), torch.optim.SGD([module["b"]], lr=1.0)]
    scale = min(5 * slope, 1.0) / 5
    for step in (1, 2):  # twice, for what the first step leaves behind
        descend((slope * (3 * module["a"] + 4 * module["b"])).sum(), module, parts)
        found = [module["a"].item(), module["b"].item()]
        assert found == pytest.approx([-3 * scale * step, -4 * scale * step], rel=1e-5)  # torch adds 1e-6 to the norm


@pytest.mark.parametrize(
    ("warmup", "decay", "rates"),
    [
        (0, 0.5, [8, 8, 8, 8, 8, 8, 6.4, 4.8, 3.2, 1.6]),
        (4, 0.5, [2, 4, 6, 8, 8, 8, 6.4, 4.8, 3.2, 1.6]),
        (1, 1.0, [8, 7.2, 6.4, 5.6, 4.8, 4, 3.2, 2.4, 1.6, 0.8]),
        (0, 0.1, [8] * 10),
        (2, 0.2, [4, 8, 8, 8, 8, 8, 8, 8, 8, 4]),
        (8, 1.0, [1, 2, 3, 4, 5, 6, 7, 8, 1.6, 0.8]),
    ],
)
def test_the_learning_rate_warms_up_holds_and_falls_to_a_last_step_above_zero(warmup, decay, rates):
    found = [learning_rate(step, peak=8.0, warmup=warmup, steps=10, decay=decay) for step in range(10)]
    assert found == pytest.approx(rates, rel=1e-12)  # roundings of doubles
