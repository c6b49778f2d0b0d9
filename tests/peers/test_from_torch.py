"""PyTorch drives the loop: the same law as ours on the same weights, caches that go back, and answers that are none refused.

torch and transformers are imported inside the functions: they take seconds, and the ordinary run only collects this file.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder

import refspec
from refspec.errors import BadArgument, BadProbabilities, CacheRange, ContextExceeded, VocabularyMismatch
from refspec.proof.exact import law, total_variation
from refspec.proof.interval import IntervalChance, float_bound

pytestmark = pytest.mark.peers

FAMILIES = {"gpt2": GPT2, "llama": LLAMA}
# Logits of size 1 go through some hundred float32 roundings (6e-8 each), in another order there; a probability is at most 1.
LAW = 1e-6
# Rows of one context differ by the order of additions in the pass: tens of float64 roundings (1e-16) of numbers near 1.
ROUNDING = 1e-12


@pytest.fixture(autouse=True)
def _peers() -> None:
    pytest.importorskip("torch", reason="torch is in the optional extra `peers`")
    pytest.importorskip("transformers", reason="transformers is in the optional extra `peers`")


def peer(folder: Path, dtype: str = "float32") -> Any:
    """What transformers makes of a folder, in evaluation mode."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))


@pytest.fixture
def folder(tmp_path: Path, config: dict[str, Any]) -> Path:
    return write_folder(tmp_path / "target", config, tokenizer=False)


@pytest.fixture
def draft_folder(tmp_path: Path, config: dict[str, Any]) -> Path:
    return write_folder(tmp_path / "draft", config, seed=1, tokenizer=False)


def table(*rows: list[float]) -> Any:
    """A module without a cache: the distribution after a token is its row, whatever came before."""
    import torch

    class Table(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = torch.nn.Parameter(torch.tensor(rows, dtype=torch.float64).log())

        def forward(self, ids: Any) -> Any:
            return self.rows[ids]

    return Table().eval()


def text_of(size: int, vocab_size: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(int(each) for each in np.random.default_rng(seed).integers(0, vocab_size, size))


# ---- the same law


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_the_law_is_ours_on_the_same_weights(folder: Path) -> None:
    model = peer(folder)
    ours, theirs = refspec.load(folder), refspec.from_torch(model)
    assert (theirs.vocab_size, theirs.context, theirs.end_tokens) == (ours.vocab_size, ours.context, ours.end_tokens)
    assert theirs.name == type(model).__name__
    text = text_of(20, ours.vocab_size)
    for options in ({}, {"temperature": 0.7, "top_k": 5}, {"top_p": 0.9}):
        expected, found = (each.language_model(**options).probs(text, last=20) for each in (ours, theirs))
        assert found.dtype == np.float64
        assert np.abs(found - expected).max() < LAW
    assert np.abs(theirs.logits(text) - ours.logits(text)).max() < 1e-4  # as in test_transformers.py


@pytest.mark.parametrize("verify", [refspec.verify.token, refspec.verify.block, refspec.verify.coupled])
@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_the_same_texts_from_the_same_chance_as_target_and_draft(folder: Path, draft_folder: Path, verify: Any) -> None:
    """A row is off by at most 1e-6 (LAW), and no uniform of this seed lies that close to where a token changes."""
    ours = [refspec.load(each, dtype=np.float64) for each in (folder, draft_folder)]
    theirs = [refspec.from_torch(peer(each, "float64")) for each in (folder, draft_folder)]

    def rounds(target: refspec.Model, draft: refspec.Model) -> Any:
        options: Any = {"gamma": 3, "max_new_tokens": 20, "verify": verify}
        return refspec.speculative(target, draft, (1, 2, 3), chance=refspec.Seeded(0), **options).rounds

    expected = rounds(*ours)
    assert sum(each.accepted < each.drafted for each in expected) > 1  # something was rejected, and rolled back
    for target in (ours[0], theirs[0]):
        for draft in (ours[1], theirs[1]):
            assert rounds(target, draft) == expected


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_greedy_texts_are_equal(folder: Path, draft_folder: Path) -> None:
    target, draft = (refspec.from_torch(peer(each, "float64")) for each in (folder, draft_folder))
    greedy = target.language_model(temperature=0)
    expected = refspec.autoregressive(greedy, (1, 2, 3), max_new_tokens=20, chance=refspec.Seeded(0))
    for drafter in (draft, refspec.NgramDrafter(), target):
        out = refspec.generate(target, (1, 2, 3), drafter=drafter, temperature=0, max_new_tokens=20, stop=())
        assert out.tokens == expected
    assert out.stats.acceptance_rate == 1  # the target as its own draft


def test_the_law_of_the_loop_by_enumeration() -> None:
    """Not exact, as PyTorch's rows are floats: within what their rounding explains."""
    rows, guesses = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]], [[0.2, 0.2, 0.6], [0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]
    target, draft = refspec.from_torch(table(*rows)), refspec.from_torch(table(*guesses))

    def program(chance: refspec.Chance) -> tuple[int, ...]:
        return refspec.speculative(target, draft, (0,), gamma=2, max_new_tokens=3, chance=chance).tokens

    found = law(program, chance=IntervalChance)
    expected = {
        (a, b, c): Fraction(rows[0][a]) * Fraction(rows[a][b]) * Fraction(rows[b][c])
        for a in range(3)
        for b in range(3)
        for c in range(3)
    }
    assert len(found) == 27
    assert total_variation(found, expected) < float_bound(3, draws=15) + Fraction(ROUNDING)

    wrong = {(a, b, c): Fraction(guesses[0][a]) * Fraction(guesses[a][b]) * Fraction(guesses[b][c]) for a, b, c in expected}
    assert total_variation(found, wrong) > 0.1  # the draft's law is another


# ---- caches


def sliding() -> Any:
    """A random model each of whose layers sees four tokens back, of a family that refspec does not run."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    sizes = {key: value for key, value in LLAMA.items() if key not in ("model_type", "rope_theta")}
    return MistralForCausalLM(MistralConfig(**sizes, sliding_window=4)).double().eval()


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("config", [GPT2, LLAMA, None], ids=["gpt2", "llama", "sliding"])
def test_after_any_rejections_rows_are_those_of_a_fresh_cache(config: Any, cache: bool, tmp_path: Path) -> None:
    made = sliding() if config is None else peer(write_folder(tmp_path / "model", config, tokenizer=False), "float64")
    model = refspec.from_torch(made, cache=cache)
    asking, random = model.language_model(), np.random.default_rng(0)
    text = text_of(12, model.vocab_size)
    for i in range(12):
        kept = int(random.integers(0, len(text)))
        text = text[:kept] + text_of(int(random.integers(1, 6)), model.vocab_size, seed=i + 1)
        last = int(random.integers(1, len(text) + 1))
        fresh = model.language_model().probs(text, last)
        # transformers norms and rotates in float32 where it likes: see test_transformers.py
        assert np.abs(asking.probs(text, last) - fresh).max() < LAW
        assert asking.cache.length == len(text)


@pytest.mark.parametrize("config", [GPT2], ids=["gpt2"])
def test_only_new_tokens_are_fed_and_only_looked_at_rows_come_back(folder: Path) -> None:
    model = peer(folder)
    fed: list[tuple[int, int]] = []

    def watch(_: Any, given: Any, options: Any, out: Any) -> None:
        fed.append((given[0].shape[1], out.logits.shape[1]))

    model.register_forward_hook(watch, with_kwargs=True)
    asking = refspec.from_torch(model).language_model()
    fed.clear()
    asking.probs((1, 2, 3, 4, 5), last=2)
    asking.probs((1, 2, 3, 6), last=1)
    assert fed == [(5, 2), (1, 1)]


@pytest.mark.parametrize("config", [LLAMA], ids=["llama"])
def test_a_pass_that_breaks_off_leaves_nothing_behind(folder: Path) -> None:
    model = peer(folder, "float64")
    asking = refspec.from_torch(model).language_model()
    expected = asking.probs((1, 2, 3, 4), last=4)
    asking.probs((1, 2))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = model.model.layers[-1].register_forward_pre_hook(stop)  # the layers before have written their keys
    with pytest.raises(KeyboardInterrupt):
        asking.probs((1, 2, 3, 4), last=2)
    handle.remove()
    assert np.abs(asking.probs((1, 2, 3, 4), last=4) - expected).max() < LAW


@pytest.mark.parametrize("config", [GPT2], ids=["gpt2"])
def test_a_cache_rolls_back_within_what_it_holds(folder: Path) -> None:
    asking = refspec.from_torch(peer(folder)).language_model()
    asking.probs((1, 2, 3))
    for length in (-1, 4):
        with pytest.raises(CacheRange, match=f"rollback to {length} of a cache with 3 tokens"):
            asking.cache.rollback(length)


# ---- what is known, and what is refused


@pytest.mark.parametrize("config", [GPT2], ids=["gpt2"])
def test_padding_is_cut(folder: Path) -> None:
    model = peer(folder)
    size = model.config.vocab_size
    whole, cut = refspec.from_torch(model), refspec.from_torch(model, vocab_size=size - 3)
    rows = cut.probs((1, 2, 3), last=3)
    assert rows.shape == (3, size - 3)
    rest = whole.probs((1, 2, 3), last=3)[:, :-3]
    assert np.abs(rows - rest / rest.sum(axis=-1, keepdims=True)).max() < 1e-12
    with pytest.raises(BadArgument, match="token id"):
        cut.probs((size - 1,))
    with pytest.raises(VocabularyMismatch, match="choose a draft"):
        refspec.speculative(whole, cut, (1,), gamma=2, max_new_tokens=4, chance=refspec.Seeded(0))


def test_a_folder_brings_the_words(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "words", GPT2)
    from transformers import AutoModelForCausalLM

    ours, theirs = refspec.load(folder), refspec.from_torch(AutoModelForCausalLM.from_pretrained(folder), folder=folder)
    assert (theirs.token_map, theirs.name, theirs.vocab_size) == (ours.token_map, "words", ours.vocab_size)
    texts = [refspec.generate(each, "abc", max_new_tokens=8, temperature=0).text for each in (ours, theirs)]
    assert texts[0] == texts[1] != ""


@pytest.mark.parametrize("config", [GPT2], ids=["gpt2"])
def test_the_context_ends_a_text(folder: Path) -> None:
    import torch

    model = refspec.from_torch(peer(folder))
    with pytest.raises(ContextExceeded):
        model.probs((0,) * (model.context + 1))
    short = refspec.from_torch(torch.nn.Embedding(5, 5).eval(), context=4)  # the smallest model: ids to rows
    assert refspec.generate(short, (1, 2), max_new_tokens=9).finish_reason == "context"


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("config", [LLAMA], ids=["llama"])
def test_half_precision_is_widened(folder: Path, kind: str) -> None:
    rows = refspec.from_torch(peer(folder, kind)).probs((1, 2, 3), last=2)
    assert rows.dtype == np.float64
    assert np.abs(rows.sum(axis=-1) - 1).max() < 1e-12


def wrong_outputs() -> dict[str, tuple[Callable[[Any], Any], str]]:
    import torch

    return {
        "last row alone": (lambda ids: torch.zeros(1, 1, 7), r"shape \[1, 1, 7\] for ids of shape \[1, 2\]; .* \[1, 2, v\]"),
        "no batch axis": (lambda ids: torch.zeros(2, 7), r"shape \[2, 7\]"),
        "ids": (lambda ids: ids, r"has to return logits, a tensor of floats"),
        "an array": (lambda ids: np.zeros((1, 2, 7)), r"returned float64 \[1, 2, 7\]"),
        "nothing": (lambda ids: None, r"returned None"),
    }


def test_wrong_outputs_are_refused_in_one_line() -> None:
    import torch

    for model, said in wrong_outputs().values():
        with pytest.raises(BadArgument, match=said):
            refspec.from_torch(model)
    with pytest.raises(BadArgument, match=r"call model.eval\(\) first"):
        refspec.from_torch(torch.nn.Embedding(5, 5))
    with pytest.raises(BadArgument, match="the model is 'gpt2'; give a PyTorch module"):
        refspec.from_torch("gpt2")
    with pytest.raises(BadArgument, match="vocab_size is 6"):
        refspec.from_torch(torch.nn.Embedding(5, 5).eval(), vocab_size=6)
    overflowing = refspec.from_torch(lambda ids: torch.full((1, ids.shape[1], 5), torch.inf))
    with pytest.raises(BadProbabilities, match=r"any context\) hold NaN or infinity"):
        overflowing.probs((1, 2))


def small(forward: Callable[..., Any]) -> Any:
    """A causal module, as people write them; forward(it, logits) is what it makes of its logits."""
    import torch

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.state = torch.nn.Embedding(7, 8), torch.nn.GRU(8, 8, batch_first=True)
            self.dropout, self.head, self.kept = torch.nn.Dropout(0.3), torch.nn.Linear(8, 7), None

        def logits(self, ids: Any) -> Any:
            return self.head(self.dropout(self.state(self.embedding(ids))[0]))

        def forward(self, ids: Any) -> Any:
            return forward(self, ids)

    return Small().eval()


def remembering(it: Any, ids: Any) -> Any:
    states, it.kept = it.state(it.embedding(ids), it.kept)
    return it.head(states)


def looking_ahead(it: Any, ids: Any) -> Any:
    return it.logits(ids) + it.head(it.embedding(ids).mean(dim=1, keepdim=True))


def drawing(it: Any, ids: Any) -> Any:
    import torch

    return it.logits(ids) + torch.randn(1, ids.shape[1], 7)


def failing(it: Any, ids: Any) -> Any:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


NO_LAW: dict[str, tuple[Callable[..., Any], str]] = {
    "a state of its own": (remembering, "other logits when it is asked again"),
    "later tokens": (looking_ahead, "other logits when it is asked again, or when more tokens follow"),
    "luck": (drawing, "other logits when it is asked again"),
    "an error": (failing, "cannot be asked: RuntimeError.*mat1 and mat2.* has to map ids"),
}


@pytest.mark.parametrize("what", NO_LAW)
def test_rows_that_are_no_function_of_their_text_are_refused(what: str) -> None:
    forward, said = NO_LAW[what]
    with pytest.raises(BadArgument, match=said):
        refspec.from_torch(small(forward))


def test_one_module_in_training_mode_is_enough() -> None:
    model = small(lambda it, ids: it.logits(ids))
    model.dropout.train()
    with pytest.raises(BadArgument, match=r"call model.eval\(\) first"):
        refspec.from_torch(model)


def test_a_vocabulary_that_changes_is_refused() -> None:
    model = refspec.from_torch(small(lambda it, ids: it.logits(ids)[..., : 7 - (ids.shape[1] > 3)]))
    with pytest.raises(BadArgument, match="returned logits for 6 ids, and for 7 before"):
        model.probs((1, 2, 3, 4))


@pytest.mark.parametrize("wrap", [lambda x: (x, None), lambda x: [x], lambda x: {"loss": None, "logits": x}])
def test_logits_may_come_with_other_things(wrap: Callable[[Any], Any]) -> None:
    plain, wrapped = (
        refspec.from_torch(small(f)) for f in (lambda it, ids: it.logits(ids), lambda it, ids: wrap(it.logits(ids)))
    )
    assert np.array_equal(plain.probs((1, 2, 3), last=3), wrapped.probs((1, 2, 3), last=3))


def test_minus_infinity_forbids_a_token() -> None:
    import torch

    forbidden = torch.tensor([0, 0, -torch.inf, 0, 0, 0, 0])
    free, bound = (refspec.from_torch(small(lambda it, ids, more=more: it.logits(ids) + more)) for more in (0, forbidden))
    for temperature in (0, 0.01, 1):
        rows = bound.language_model(temperature=temperature).probs((1, 2, 3), last=2)
        assert (rows[:, 2] == 0).all()
    rest = np.delete(free.probs((1, 2, 3)), 2)
    assert np.abs(np.delete(rows[-1], 2) - rest / rest.sum()).max() < ROUNDING


def test_what_a_model_keeps_is_not_written_to() -> None:
    import torch

    rows = torch.arange(12.0).reshape(1, 3, 4)
    refspec.from_torch(lambda ids: rows[:, : ids.shape[1]]).logits((1, 2))[:] = 7
    assert torch.equal(rows, torch.arange(12.0).reshape(1, 3, 4))


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "6"])
@pytest.mark.parametrize("name", ["context", "vocab_size"])
def test_sizes_are_whole_numbers(name: str, wrong: Any) -> None:
    with pytest.raises(BadArgument, match=f"{name} is {wrong!r}; it is a whole number, at least 1"):
        refspec.from_torch(small(lambda it, ids: it.logits(ids)), **{name: wrong})


@pytest.mark.parametrize("config", [GPT2], ids=["gpt2"])
def test_the_bench_takes_it(folder: Path, draft_folder: Path) -> None:
    from refspec.bench.race import ours, race

    target, draft = (refspec.from_torch(peer(each, "float64")) for each in (folder, draft_folder))
    settings = {"temperature": 0, "max_new_tokens": 6, "stop": ()}
    ways = {"plain": ours(target, lambda: None, settings), "speculative": ours(target, lambda: draft, settings)}
    found = race([(1, 2), (3,)], ways, times=1, seed=0, label="prompts")
    assert [each.tokens for each in found["plain"]] == [each.tokens for each in found["speculative"]]


@pytest.mark.parametrize("config", [GPT2], ids=["gpt2"])
def test_many_texts_are_those_of_each_alone(folder: Path, draft_folder: Path) -> None:
    """A text has a cache of its own and a pass of its own, so that its rows are what they are alone."""
    target, draft = (refspec.from_torch(peer(each, "float64")) for each in (folder, draft_folder))
    prompts, options = [(1, 2), (3,), (4, 5, 6)], {"drafter": draft, "max_new_tokens": 8}
    found = refspec.generate_batch(target, prompts, max_batch=2, **options)
    alone = [refspec.generate(target, prompt, seed=i, **options) for i, prompt in enumerate(prompts)]
    assert [each.tokens for each in found] == [each.tokens for each in alone]


def test_a_state_that_cannot_go_back_is_read_anew() -> None:
    """Mamba says of itself that it has a state, and gets no cache."""
    import torch
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    made = MambaForCausalLM(MambaConfig(vocab_size=20, hidden_size=16, num_hidden_layers=2, state_size=4)).double().eval()
    asking = refspec.from_torch(made).language_model()
    assert "without a cache" in repr(asking.network)
    asking.probs((1, 2, 3, 4))
    fresh = refspec.from_torch(made).language_model().probs((1, 2, 7), last=2)
    assert np.abs(asking.probs((1, 2, 7), last=2) - fresh).max() < LAW


def test_a_cache_that_does_not_go_back_is_done_without() -> None:
    """LFM2 keeps the inputs of its convolutions in a cache that transformers builds from its configuration, and says no word."""
    import torch
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(0)
    sizes = {key: value for key, value in LLAMA.items() if key not in ("model_type", "rope_theta", "num_hidden_layers")}
    config = Lfm2Config(**sizes, num_hidden_layers=2, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False)
    model = refspec.from_torch(Lfm2ForCausalLM(config).double().eval())
    asking = model.language_model()
    assert "without a cache" in repr(asking.network)
    asking.probs((1, 2, 3, 4))
    assert np.abs(asking.probs((1, 2, 7), last=2) - model.language_model().probs((1, 2, 7), last=2)).max() < LAW


def test_a_model_that_sees_both_sides_is_refused() -> None:
    """BERT with a language model's head, of which nobody said that it decodes."""
    from transformers import BertConfig, BertLMHeadModel

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50}
    assert (
        refspec.from_torch(BertLMHeadModel(BertConfig(**sizes, is_decoder=True, initializer_range=0.5)).eval()).vocab_size == 50
    )
    with pytest.raises(BadArgument, match="or when more tokens follow"):
        refspec.from_torch(BertLMHeadModel(BertConfig(**sizes, initializer_range=0.5)).eval())


@pytest.mark.parametrize("config", [LLAMA], ids=["llama"])
def test_the_program_of_the_page_runs(folder: Path, draft_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "pytorch.md").read_text(encoding="utf-8")
    program = "\n".join(line[4:] for line in page.splitlines() if line.startswith("    ") or not line.strip()).strip()
    for name, real in (("path/to/target", folder), ("path/to/draft", draft_folder)):
        assert name in program
        program = program.replace(name, str(real))
    exec(program, {})
    assert capsys.readouterr().out.startswith("(")
