"""torch under exact answers: each idiom in which engines draw has the law that it has when it draws, and all else is refused."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from refspec.conformance.answered import answered_law
from refspec.conformance.taped import TapedGenerator
from refspec.errors import BadArgument

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="torch is in the optional extra `peers`")

P = torch.tensor([[0.5, 0.375, 0.125, 0.0]])
LOGITS = P.log()


def drawn_into(tensor: Any) -> Any:
    tensor.exponential_(1, generator=torch.Generator())
    return tensor


def accepted(u: Any) -> Any:
    return u <= torch.tensor([0.25, 2.0, 0.5])


# What an engine writes, and the law of what comes: first of drawing a token of P, then of tests.
TOKENS: dict[str, Callable[[], Any]] = {
    "multinomial": lambda: torch.multinomial(P, 1).item(),
    "multinomial of weights": lambda: torch.multinomial(P[0] * 3, num_samples=1, generator=torch.Generator()).item(),
    "Categorical": lambda: torch.distributions.Categorical(probs=P).sample().item(),
    "probs / exponential": lambda: int((P / torch.empty_like(P).exponential_(1)).argmax(dim=-1)),
    "probs.div_(exponential)": lambda: int(P.clone().div_(drawn_into(torch.empty_like(P))).argmax(dim=-1, keepdim=True)),
    "Gumbel": lambda: int((LOGITS - torch.log(-torch.log(torch.rand_like(LOGITS)))).argmax(-1)),
    "Gumbel with epsilons": lambda: int((LOGITS - ((torch.rand(1, 4) + 1e-10).log().neg() + 1e-10).log()).argmax()),
    "Gumbel of an exponential": lambda: int((LOGITS - torch.empty(1, 4).exponential_().log_()).argmax(-1)),
    "log(u) / p": lambda: int((torch.rand(1, 4).clamp(min=1e-12).log() / P).argmax()),
    "cumsum > u": lambda: int((P.cumsum(-1) > torch.rand(1)).long().argmax()),
    "searchsorted": lambda: int(torch.searchsorted(P.cumsum(-1), torch.rand(1, 1))),
}
THREE = {(a, True, c): (0.25 if a else 0.75) * 0.5 for a in (True, False) for c in (True, False)}
TESTS: dict[str, tuple[Callable[[], Any], dict[Any, float]]] = {
    "rand": (lambda: tuple(accepted(torch.rand(3)).tolist()), THREE),
    "rand_like": (lambda: tuple(accepted(torch.rand_like(torch.zeros(3))).tolist()), THREE),
    "uniform_": (lambda: tuple(accepted(torch.empty(3).uniform_()).tolist()), THREE),
    "uniform_ of other bounds": (lambda: tuple(accepted((torch.empty(3).uniform_(1, 3) - 1) / 2).tolist()), THREE),
    "1 - u": (lambda: tuple((torch.tensor([0.75, -1, 0.5]) <= 1 - torch.rand(3)).tolist()), THREE),
    "u * q < p": (
        lambda: tuple((torch.rand(3) * torch.tensor([0.5, 0.5, 0.5]) < torch.tensor([0.125, 1, 0.25])).tolist()),
        THREE,
    ),
    "log u": (lambda: tuple((torch.rand(3).log() < torch.tensor([0.25, 2, 0.5]).log()).tolist()), THREE),
    "moved about": (lambda: tuple(accepted(torch.rand(2, 3)[None].float().reshape(3, 2).T[0].clone()).tolist()), THREE),
    "an item": (lambda: torch.rand(1).item() < 0.25, {True: 0.25, False: 0.75}),
    "a list": (lambda: tuple(u < t for u, t in zip(torch.rand(3).tolist(), (0.25, 2, 0.5), strict=True)), THREE),
    "an entry": (lambda: bool(torch.rand(2, 2)[1, 0] > 0.75), {True: 0.25, False: 0.75}),
    "bernoulli": (lambda: tuple(torch.bernoulli(torch.tensor([0.25, 1, 0.5])).bool().tolist()), THREE),
    "one after another": (lambda: int(accepted(torch.rand(3)).cumprod(0).sum()), {0: 0.75, 2: 0.125, 3: 0.125}),
    "two without replacement": (
        lambda: tuple(torch.multinomial(torch.tensor([0.5, 0.25, 0.25]), 2).tolist()),
        {(0, 1): 0.25, (0, 2): 0.25, (1, 0): 1 / 6, (2, 0): 1 / 6, (1, 2): 1 / 12, (2, 1): 1 / 12},
    ),
    "two with replacement": (
        lambda: tuple(torch.multinomial(torch.tensor([0.5, 0.5]), 2, replacement=True).tolist()),
        {(a, b): 0.25 for a in (0, 1) for b in (0, 1)},
    ),
}
CASES = {name: (program, {i: float(p) for i, p in enumerate(P[0]) if p}) for name, program in TOKENS.items()} | TESTS


def under(program: Callable[[], Any]) -> Callable[[Any], Any]:
    from refspec.conformance.torch_draws import drawing_from

    def drawn(generator: Any) -> Any:
        with drawing_from(generator):
            return program()

    return drawn


@pytest.mark.parametrize("name", CASES)
def test_an_idiom_has_its_law(name: str) -> None:
    program, expected = CASES[name]
    found = answered_law(under(program))
    assert set(found) == set(expected)
    for outcome, share in found.items():
        assert abs(float(share) - expected[outcome]) < 1e-6  # float32 rows and logarithms


@pytest.mark.parametrize("name", CASES)
def test_the_same_idiom_draws_as_its_law_says(name: str) -> None:
    """From a NumPy Generator: ordinary tensors."""
    program, expected = CASES[name]
    random = np.random.default_rng(0)
    seen = Counter(under(program)(random) for _ in range(1000))
    assert set(seen) <= set(expected)
    for outcome, share in expected.items():  # five standard deviations: 1e-6 for each of a hundred outcomes
        assert abs(seen[outcome] / 1000 - share) < 5 * (share * (1 - share) / 1000) ** 0.5 + 1e-9


@pytest.mark.parametrize(
    "program",
    [
        lambda: torch.randn(2),
        lambda: torch.randint(3, (1,)),
        lambda: torch.randperm(3),
        lambda: torch.empty(2).normal_(),
        lambda: torch.nn.functional.gumbel_softmax(LOGITS),
    ],
)
def test_other_draws_are_named(program: Any) -> None:
    with pytest.raises(BadArgument, match=r"drew with torch's (randn|randint|randperm|normal_|gumbel_softmax)"):
        answered_law(under(program))


@pytest.mark.parametrize(
    "program",
    [
        lambda: float(torch.rand(1)),
        lambda: bool(torch.rand(1)),
        lambda: torch.rand(1).numpy(),
        lambda: torch.rand(2).cumsum(0),
        lambda: torch.rand(2).sort(),
        lambda: torch.rand(2).max(),
        lambda: torch.rand(2).sum(),
        lambda: torch.rand(1) == 0.5,
        lambda: torch.where(torch.ones(1, dtype=torch.bool), torch.rand(1), torch.rand(1)),
        lambda: torch.zeros(2).copy_(torch.rand(2)),
        lambda: torch.zeros(2)[0].uniform_(),
        lambda: torch.softmax(torch.rand(2), 0),
        lambda: torch.rand(2).clamp(min=0.1),
        lambda: torch.rand(2).argmax(),
        lambda: torch.cat([torch.rand(2), torch.rand(2)]),
        lambda: str(torch.rand(2)),
    ],
)
def test_an_undrawn_tensor_is_good_for_nothing_else(program: Any) -> None:
    with pytest.raises((BadArgument, TypeError)):
        answered_law(under(program))


def test_torch_raises_what_it_raises() -> None:
    with pytest.raises(RuntimeError, match="probability tensor contains"):
        answered_law(under(lambda: torch.multinomial(torch.tensor([float("nan"), 1.0]), 1)))


def test_a_tape_is_read_in_order() -> None:
    """And a uniform next to 1 stays below it in float32."""
    tape = TapedGenerator([0.25, 1 - 2**-40, 0.75, 0.125])
    found = under(lambda: (torch.rand(2).tolist(), torch.multinomial(torch.tensor([0.5, 0.5]), 1).item(), torch.rand(1).item()))(
        tape
    )
    assert found == ([0.25, 1 - 2**-24], 1, 0.125)


def test_torchs_own_generator_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    answered_law(under(lambda: torch.multinomial(P, 1).item()))
    assert torch.equal(torch.rand(2), expected)
