"""torch under exact answers: each idiom in which engines draw has the law that it has when it draws, and all else is refused."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawing import by, require_law

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


def scripted() -> Any:
    return torch.rand(1) < 0.25


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
    "searchsorted": lambda: int(torch.searchsorted(P.cumsum(-1), torch.rand(1, 1), right=True)),
    "searchsorted of a number": lambda: int(torch.searchsorted(P[0].cumsum(-1), torch.rand(1).item())),
    "bucketize": lambda: int(torch.bucketize(torch.rand(1), P[0].cumsum(-1))),
    "count of cumsum < u": lambda: int((P.cumsum(-1) <= torch.rand(1, 1)).sum(dim=-1)),
    "a loop": lambda: (lambda u: next(i for i, step in enumerate(P[0].cumsum(-1)) if u < step))(torch.rand(())),
    "NumPy's searchsorted": lambda: int(np.searchsorted(P[0].cumsum(-1).numpy(), torch.rand(1).item())),
    "multinomial into": lambda: torch.multinomial(P[0], 1, out=torch.empty(1, dtype=torch.long)).item(),
    "multinomial, half": lambda: torch.multinomial(input=P.half(), num_samples=1).item(),
    "aten.multinomial": lambda: torch.ops.aten.multinomial(P, 1).item(),
    "sorted and gathered": lambda: (lambda top: top[1].gather(-1, torch.multinomial(top[0], 1)).item())(P.sort(descending=True)),
    "Categorical of logits": lambda: int(torch.distributions.Categorical(logits=LOGITS).sample((2,))[1]),
    "OneHotCategorical": lambda: int(torch.distributions.OneHotCategorical(P).sample().argmax()),
    "distributions.Gumbel": lambda: int((LOGITS + torch.distributions.Gumbel(0, 1).sample((4,))).argmax()),
    "distributions.Exponential": lambda: int((P / torch.distributions.Exponential(torch.tensor(1.0)).sample((4,))).argmax()),
    "distributions.Uniform": lambda: int(torch.searchsorted(P[0].cumsum(-1), torch.distributions.Uniform(0, 1).sample((1,)))),
    "probs * 1 / exponential": lambda: int((P * torch.zeros(4).exponential_().reciprocal()).argmax()),
    "exponential / probs": lambda: int((torch.empty(4).exponential_() / P).argmin()),
    "topk": lambda: torch.topk(LOGITS - torch.log(-torch.log(torch.rand(4))), 1).indices.item(),
    "max": lambda: (P / torch.empty(4).exponential_()).max(-1)[1].item(),
    "sort": lambda: (P / torch.empty(4).exponential_()).sort(descending=True).indices[0, 0].item(),
    "argsort": lambda: (P / torch.empty(4).exponential_()).argsort(descending=True)[0, 0].item(),
    "Gumbel, masked": lambda: int(
        (torch.zeros(4) + LOGITS - torch.log(-torch.log(torch.rand(4)))).masked_fill(P == 0, -torch.inf).argmax()
    ),
    "Gumbel, where": lambda: int(torch.where(P > 0, LOGITS - torch.log(-torch.log(torch.rand(4))), -torch.inf).argmax()),
    "Gumbel, log1p, alpha": lambda: int(torch.sub(LOGITS, torch.log(-torch.log1p(-torch.rand(4))), alpha=1).argmax()),
    "Gumbel, half": lambda: int((LOGITS.half() - (-torch.rand(4).half().log()).log()).argmax()),
    "Gumbel, log_softmax": lambda: int(
        (LOGITS.log_softmax(-1) - (-torch.rand(1, 4).clamp_(1e-10, 1 - 1e-7).log()).log()).argmax()
    ),
    "NumPy's argmax": lambda: int(np.argmax((P / torch.empty(4).exponential_()).numpy())),
}
QUARTER = {True: 0.25, False: 0.75}
PAIRS = {(0, 1): 0.25, (0, 2): 0.25, (1, 0): 1 / 6, (2, 0): 1 / 6, (1, 2): 1 / 12, (2, 1): 1 / 12}
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
    "an item": (lambda: torch.rand(1).item() < 0.25, QUARTER),
    "an item on the right": (lambda: bool(torch.tensor([0.25]) > torch.rand(1).item()), QUARTER),
    "an item on the left": (lambda: bool((torch.rand(1).item() * torch.tensor(0.5) < torch.tensor(0.125)).item()), QUARTER),
    "p / q - u": (lambda: bool(torch.tensor(0.25) - torch.rand(1) > 0), QUARTER),
    "exponential": (lambda: bool(torch.empty(1).exponential_() > torch.tensor(4.0).log()), QUARTER),
    "an array": (lambda: bool((torch.rand(1).cpu().numpy() < 0.25)[0]), QUARTER),
    "half": (lambda: bool(torch.rand(1, dtype=torch.float16).bfloat16() < 0.25), QUARTER),
    "of keywords": (
        lambda: bool(torch.rand(size=(1,), generator=torch.Generator(), device="cpu", dtype=torch.float64) < 0.25),
        QUARTER,
    ),
    "like, of keywords": (lambda: bool(torch.rand_like(input=P[0, :1], dtype=torch.float32) < 0.25), QUARTER),
    "into": (lambda: bool(torch.rand(1, out=torch.empty(1)) < 0.25), QUARTER),
    "aten.rand": (lambda: bool(torch.ops.aten.rand([1]) < 0.25), QUARTER),
    "cat": (lambda: bool(torch.cat([torch.zeros(1), torch.rand(1)])[1] < 0.25), QUARTER),
    "stack, flip, roll": (lambda: bool(torch.stack([torch.rand(2), torch.rand(2)]).flip(0).roll(1, 0)[0, 1] < 0.25), QUARTER),
    "where": (lambda: bool(torch.where(torch.tensor([True]), torch.rand(1), torch.ones(1)) < 0.25), QUARTER),
    "masked_fill": (lambda: bool(torch.rand(2).masked_fill(torch.tensor([True, False]), 0.0)[1] < 0.25), QUARTER),
    "not nan": (lambda: (lambda u: bool((u < 0.25) & ~torch.isnan(u)))(torch.rand(1)), QUARTER),
    "long of 4 u": (lambda: int((torch.rand(1) * 4).long()) == 0, QUARTER),
    "int of 4 u": (lambda: int(torch.rand(1) * 4) == 0, QUARTER),
    "floor of 4 u": (lambda: bool((torch.rand(1) * 4).floor() == 0), QUARTER),
    "the same u twice": (lambda: (lambda u: bool(u < 0.5) and bool(u / 0.5 < 0.5))(torch.rand(1)), QUARTER),
    "two entries of a batch": (
        lambda: tuple((torch.rand(2, 1) < torch.tensor([[0.25], [0.5]])).flatten().tolist()),
        {(a, b): (0.25 if a else 0.75) * 0.5 for a in (True, False) for b in (True, False)},
    ),
    "batch of races": (
        lambda: tuple((P[:, :2] / torch.empty(2, 2).exponential_()).argmax(-1).tolist()),
        {(a, b): (4, 3)[a] * (4, 3)[b] / 49 for a in (0, 1) for b in (0, 1)},
    ),
    "top two": (
        lambda: tuple((torch.tensor([0.5, 0.25, 0.25]).log() - (-torch.rand(3).log()).log()).topk(2).indices.tolist()),
        PAIRS,
    ),
    "bernoulli of p": (lambda: bool(torch.bernoulli(torch.zeros(1), 0.25)), QUARTER),
    "bernoulli of p, by name": (lambda: bool(torch.zeros(1).bernoulli(p=0.25)), QUARTER),
    "bernoulli_": (lambda: bool(torch.ones(1).bernoulli_(torch.tensor([0.25]))), QUARTER),
    "aten.bernoulli": (lambda: bool(torch.ops.aten.bernoulli(torch.zeros(1), 0.25)), QUARTER),
    "distributions.Bernoulli": (lambda: bool(torch.distributions.Bernoulli(0.25).sample()), QUARTER),
    "after manual_seed": (lambda: (torch.manual_seed(0), bool(torch.rand(1) < 0.25))[1], QUARTER),
    # views share their entries, whoever writes
    "a view is scaled": (lambda: (lambda u: (u.view(-1)[1:].mul_(4), bool(u[0, 1] < 1))[1])(torch.rand(1, 2)), QUARTER),
    "what is viewed is scaled": (
        lambda: (lambda u, v: (u.mul_(4), bool(v < 1))[1])(*(lambda u: (u, u[1]))(torch.rand(2))),
        QUARTER,
    ),
    "a copy is scaled": (lambda: (lambda u: (u.clone().mul_(4), bool(u < 0.25))[1])(torch.rand(1)), QUARTER),
    "an entry is set": (lambda: (lambda t: (t.__setitem__(0, torch.rand(())), bool(t[0] < 0.25))[1])(torch.zeros(2)), QUARTER),
    "a part is drawn": (
        lambda: (lambda t: (t[1:].uniform_(), bool(t[1] < 0.25) and t[0].item() == 0)[1])(torch.zeros(2)),
        QUARTER,
    ),
    "a part is drawn again": (lambda: (lambda u: (u[:1].uniform_(), bool(u[0] < 0.25))[1])(torch.rand(2)), QUARTER),
    "copied in": (lambda: bool(torch.zeros(2, 1).copy_(torch.rand(1))[1] < 0.25), QUARTER),
    "a list": (lambda: tuple(u < t for u, t in zip(torch.rand(3).tolist(), (0.25, 2, 0.5), strict=True)), THREE),
    "an entry": (lambda: bool(torch.rand(2, 2)[1, 0] > 0.75), QUARTER),
    "bernoulli": (lambda: tuple(torch.bernoulli(torch.tensor([0.25, 1, 0.5])).bool().tolist()), THREE),
    "one after another": (lambda: int(accepted(torch.rand(3)).cumprod(0).sum()), {0: 0.75, 2: 0.125, 3: 0.125}),
    "two without replacement": (
        lambda: tuple(torch.multinomial(torch.tensor([0.5, 0.25, 0.25]), 2).tolist()),
        PAIRS,
    ),
    "two with replacement": (
        lambda: tuple(torch.multinomial(torch.tensor([0.5, 0.5]), 2, replacement=True).tolist()),
        {(a, b): 0.25 for a in (0, 1) for b in (0, 1)},
    ),
}
CASES = {name: (program, {i: float(p) for i, p in enumerate(P[0]) if p}) for name, program in TOKENS.items()} | TESTS


def under(program: Callable[[], Any]) -> Callable[[Any], Any]:
    from refspec.conformance.torch_draws import drawing_from

    return by(drawing_from, program)


@pytest.mark.parametrize("name", CASES)
def test_an_idiom_has_its_law(name: str) -> None:
    program, expected = CASES[name]
    require_law(under(program), expected, within=1e-3 if name.endswith("half") else 1e-6)  # rows and logarithms in float32


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
        lambda: torch.rand(2).cumsum(0),
        lambda: torch.rand(2).sort(),
        lambda: torch.rand(2).max(),
        lambda: torch.rand(2).sum(),
        lambda: torch.rand(1) == 0.5,
        lambda: torch.softmax(torch.rand(2), 0),
        lambda: torch.rand(2).clamp(min=0.1),
        lambda: torch.rand(2).argmax(),
        lambda: str(torch.rand(2)),
        lambda: torch.rand(2) < torch.rand(2),
        lambda: torch.rand(1) ** 2,
        lambda: 1 / torch.rand(1),
        lambda: torch.rand(1).exp(),
        lambda: torch.rand(1).lt_(0.5),
        lambda: torch.rand(2) @ torch.ones(2),
        lambda: torch.nn.functional.pad(torch.rand(1), (1, 0)),
        lambda: torch.empty(1).exponential_().floor(),
        lambda: P[0][torch.rand(2)],
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


@pytest.mark.parametrize(
    "program",
    [
        lambda: (lambda buffer, part: buffer.uniform_())(*(lambda buffer: (buffer, buffer[:1]))(torch.empty(2))),
        lambda: (lambda array: torch.from_numpy(array).uniform_())(np.zeros(1, np.float32)),
    ],
)
def test_memory_that_others_read_is_not_drawn_into(program: Any) -> None:
    with pytest.raises(BadArgument, match="another tensor or array shares"):
        answered_law(under(program))


@pytest.mark.parametrize(
    "program",
    [
        lambda: bool(torch.nn.functional.dropout(torch.ones(1), 0.5, training=True)),
        lambda: bool(torch.nn.Dropout().train()(torch.ones(1))),
        lambda: bool(torch.jit.script(scripted)()),
        lambda: torch.nn.init.uniform_(torch.empty(1)),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_what_torch_draws_unseen_has_no_law(program: Any) -> None:
    with pytest.raises(BadArgument, match="where nobody sees it"):
        answered_law(under(program))
