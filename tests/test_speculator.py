"""Drafting from a target's features: the law stays the target's, whatever the head says; and which folders of heads are taken."""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import BIGCODE, GPT2, LLAMA, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from speculators import change, write_speculator

import refspec
from refspec.arrays import Array
from refspec.cli.main import main
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument, BadConfig, BadWeights, RefspecError, UnsupportedModel
from refspec.models.sampling import Sampling
from refspec.models.speculator import SpeculatorDrafter, speculator_drafter
from refspec.transformer.mlp_speculator import load_mlp_speculator

# ---- the law, over fractions: a table for a head, which reads a table for a state

STATES = 4
V = 3


class Known:
    """A target by a table, whose feature at a token is a number from 0 to 3 that depends on all the text up to it."""

    def __init__(self, table: refspec.TableLM, unread: int) -> None:
        self.table = table
        self.vocab_size = table.vocab_size
        self.unread = unread  # of texts up to this length nothing is known: the target has had no pass

    def features(self, tokens: Tokens) -> Array:
        rows = [sum((i + 1) * (token + 1) for i, token in enumerate(tokens[:end])) % STATES for end in range(1, len(tokens))]
        return np.array(rows if len(tokens) > self.unread else [], dtype=object).reshape(-1, 1)


class TableHead:
    """rows[i][state]: what the i-th guess is drawn by, of the tokens `ids`. A state is a number, and so is a feature.

    any_token: it scores the others by the state too.
    """

    def __init__(self, rows: list[list[list[Fraction]]], ids: list[int] | None, any_token: bool = False) -> None:
        self.rows = rows
        self.any_token = any_token
        self.n_predict = len(rows)
        self.ids = None if ids is None else np.array(ids)
        self.share = 0.0

    def start(self, feature: Array) -> Array:
        return feature

    def step(self, i: int, state: Array, tokens: Array) -> tuple[Array, Array]:
        after = (2 * state[0, 0] + tokens[0] + i) % STATES
        return np.array([[after]], dtype=object), np.array([self.rows[i][after]], dtype=object)

    def scores_of(self, state: Array, tokens: Array) -> Array:
        return np.array([[Fraction(1 + state[0, 0], 2 + token) for token in tokens.tolist()]], dtype=object)


def as_they_are(rows: Array) -> Array:
    return rows


def shares(rows: Array) -> Array:
    return rows / rows.sum(axis=1, keepdims=True)


def weights(size: int) -> st.SearchStrategy[list[Fraction]]:
    """A law with zeros in it."""
    parts = st.lists(st.integers(0, 3), min_size=size, max_size=size).filter(any)
    return parts.map(lambda each: [Fraction(part, sum(each)) for part in each])


@st.composite
def heads(draw: st.DrawFn) -> TableHead:
    ids = draw(st.sampled_from([None, [0, 1], [0, 2], [1]]))
    size = V if ids is None else len(ids)
    return TableHead(
        [[draw(weights(size)) for _ in range(STATES)] for _ in range(draw(st.integers(1, 3)))], ids, draw(st.booleans())
    )


tables = st.dictionaries(st.tuples() | st.tuples(st.integers(0, 2)), weights(V), min_size=1, max_size=4).map(
    lambda rows: refspec.TableLM({(): [Fraction(1, 3)] * 3, **rows})
)
PROMPT = (0, 1)


def plain_law(table: refspec.TableLM, length: int) -> dict[Tokens, Fraction]:
    return refspec.law(lambda chance: refspec.autoregressive(table, PROMPT, max_new_tokens=length, chance=chance))


@pytest.mark.parametrize("rule", ["token", "block", "sample-match"])
@given(table=tables, head=heads(), gamma=st.integers(0, 4), unread=st.sampled_from([0, 2, 3]))
@settings(max_examples=25, deadline=None)
def test_whole_texts_have_the_targets_law(rule: str, table: refspec.TableLM, head: TableHead, gamma: int, unread: int) -> None:
    drafter = SpeculatorDrafter(head, Known(table, unread), shares)
    asked: dict[str, Any] = {"gamma": gamma, "max_new_tokens": 3, "verify": refspec.verify.RULES[rule]}
    assert refspec.sequence_law(table, drafter, PROMPT, **asked) == plain_law(table, 3)


class OneStepBehind(SpeculatorDrafter):
    """Shows each token with the law of the guess before it."""

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        draft = super().propose(tokens, gamma, chance)
        return draft if draft.probs is None else Draft(draft.tokens, draft.probs[[0, *range(len(draft.tokens) - 1)]])


def test_a_draft_shown_with_another_law_would_be_noticed() -> None:
    table = refspec.TableLM({(): [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]})
    row = [Fraction(1, 6), Fraction(1, 3), Fraction(1, 2)]
    head = TableHead([[row] * STATES, [row[::-1]] * STATES], None)
    for kind, right in ((SpeculatorDrafter, True), (OneStepBehind, False)):
        drafter = kind(head, Known(table, 0), as_they_are)
        assert (refspec.sequence_law(table, drafter, PROMPT, gamma=2, max_new_tokens=3) == plain_law(table, 3)) is right


# ---- how many tokens, from how many draws, by which law


def folder_and_target(tmp_path: Path, config: dict[str, Any] = LLAMA, **more: Any) -> tuple[Path, refspec.Model]:
    target = refspec.load(write_folder(tmp_path / "target", config))
    head = write_speculator(tmp_path / "head", target.config.width, target.config.vocab_size, **more)
    return head, target


def features_of(target: refspec.Model, tokens: Tokens) -> Array:
    """[n, d]: what the head sees, by a pass whose head hands on what it sees."""
    network = replace(target.network, head=as_they_are)
    return network.forward(np.array(tokens), network.new_cache(), last=len(tokens))


class Read:
    """A target that has read all but the last token of whatever it is asked about."""

    def __init__(self, model: refspec.Model, sampling: Sampling) -> None:
        self.model = model
        self.sampling = sampling
        self.vocab_size = model.vocab_size

    def features(self, tokens: Tokens) -> Array:
        return features_of(self.model, tokens[:-1])


TEXT = (256, 72, 105, 33, 72, 105)


@pytest.mark.parametrize("gamma", range(6))
def test_n_predict_bounds_gamma_and_each_token_is_one_draw(gamma: int, tmp_path: Path) -> None:
    folder, target = folder_and_target(tmp_path)
    known = Read(target, Sampling(temperature=0.7, top_k=40))
    drafter = SpeculatorDrafter(load_mlp_speculator(folder, target.network), known)
    drafted = min(gamma, 3)
    draft = drafter.propose(TEXT, gamma, refspec.Tape([0.3] * drafted))
    assert len(draft.tokens) == drafted
    if drafted:
        with pytest.raises(refspec.errors.TapeExhausted):
            drafter.propose(TEXT, gamma, refspec.Tape([0.3] * (drafted - 1)))
        assert draft.probs is not None
        assert draft.probs.shape == (drafted, target.vocab_size)  # 259, of the network's 264: what only pads is never said
        assert np.allclose(draft.probs.sum(axis=1), 1, atol=1e-12)  # a sum of 259 float64 numbers
        assert all((row > 0).sum() == 40 for row in draft.probs)  # under the target's own sampling


def test_what_it_draws_is_what_the_arithmetic_says(tmp_path: Path) -> None:
    folder, target = folder_and_target(tmp_path, ids=[3, 72, 105, 200, 261])
    speculator, sampling = load_mlp_speculator(folder, target.network), Sampling(temperature=0)
    draft = SpeculatorDrafter(speculator, Read(target, sampling)).propose(TEXT, 3, refspec.Tape([0.5] * 3))
    state, last = speculator.start(features_of(target, TEXT[:-1])[-1:]), TEXT[-1]
    for i, token in enumerate(draft.tokens):
        state, scores = speculator.step(i, state, np.array([last]))
        last = [3, 72, 105, 200][int(scores[0, :4].argmax())]  # 261 only pads the vocabulary
        assert token == last


@pytest.mark.parametrize("config", [GPT2, BIGCODE, LLAMA, LLAMA | {"tie_word_embeddings": True}])
def test_a_guess_costs_the_share_of_weights_that_it_reads(config: dict[str, Any], tmp_path: Path) -> None:
    """Counted from the shapes of the files: the matrices of a step, of those of the target, biases and norms left out."""
    folder, target = folder_and_target(tmp_path, config, ids=[1, 2, 3])
    shapes = {name: tensor.shape for name, tensor in load_file(tmp_path / "target" / "model.safetensors").items()}
    tables = ("wpe.weight", "embed_tokens.weight", "wte.weight")
    of_target = sum(math.prod(shape) for name, shape in shapes.items() if len(shape) == 2 and not name.endswith(tables))
    if target.config.tied:
        of_target += target.config.vocab_size * target.config.width
    drafter = SpeculatorDrafter(load_mlp_speculator(folder, target.network), Read(target, Sampling()))
    assert drafter.cost(TEXT) == (24 * 24 + 3 * 24) / of_target + drafter.OVERHEAD


@pytest.mark.parametrize("ids", [None, [1, 3, 100, 258]], ids=["all", "frequent"])
@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2, tied", "llama, untied"])
def test_a_factored_head_is_its_product(config: dict[str, Any], ids: list[int] | None, tmp_path: Path) -> None:
    """With the target's embedding and head behind a matrix each, or multiplied out: float32, a few roundings apart."""
    folder, target = folder_and_target(tmp_path, config, ids=ids, tie_weights=True)
    stored = load_file(tmp_path / "target" / "model.safetensors")
    embedding = stored["transformer.wte.weight" if target.config.tied else "model.embed_tokens.weight"]
    head = embedding if target.config.tied else stored["lm_head.weight"]
    random = np.random.default_rng(0)
    lookup, out = (random.standard_normal(shape, dtype=np.float32) for shape in ((24, 32), (32, 24)))
    ends = {"emb.0": embedding @ lookup.T, "head.0": (head if ids is None else head[ids]) @ out}
    change(folder, weights={f"speculator.{name}.weight": each for name, each in ends.items()})
    multiplied = load_mlp_speculator(folder, target.network)
    factors: dict[str, Any] = {"emb.0": None, "head.0": None, "lookup": lookup, "out": out}
    change(folder, {"factored": True}, {f"speculator.{name}.weight": each for name, each in factors.items()})
    factored = load_mlp_speculator(folder, target.network)
    states = [each.start(features_of(target, TEXT)) for each in (multiplied, factored)]
    for i in range(3):
        (states[0], scores), (states[1], same) = (
            each.step(i, state, np.array(TEXT)) for each, state in zip((multiplied, factored), states, strict=True)
        )
        assert np.abs(scores - same).max() < 1e-4 * np.abs(scores).max()
    assert factored.share != multiplied.share
    with pytest.raises(UnsupportedModel, match="tie_weights is False; refspec implements true where factored is"):
        load_mlp_speculator(change(folder, {"tie_weights": False}), target.network)


def test_what_the_benchmark_measures_of_a_head_and_of_a_lookup(tmp_path: Path) -> None:
    from refspec.bench.costs import drafter_cost

    folder, target = folder_and_target(tmp_path)
    lm = target.language_model()
    head, lookup = (drafter_cost(lm, each, 3) for each in (speculator_drafter(folder, lm), refspec.NgramDrafter()))
    assert (head.lookup, lookup.lookup) == (False, True)
    assert head.c.median > 0
    assert lookup.ms.median > 0


def test_without_a_feature_nothing_is_drafted(tmp_path: Path) -> None:
    folder, target = folder_and_target(tmp_path)

    class Behind(Read):
        def features(self, tokens: Tokens) -> Array:
            return super().features(tokens)[:-1]

    head = load_mlp_speculator(folder, target.network)
    for known, text in ((Behind(target, Sampling()), TEXT), (Read(target, Sampling()), TEXT[:2][-1:])):
        if len(text) == 1:
            known.features = lambda tokens: np.zeros((0, 32), np.float32)  # type: ignore[method-assign]
        assert SpeculatorDrafter(head, known).propose(text, 4, refspec.Tape([])).tokens == ()


# ---- folders, as they are given


@pytest.mark.parametrize("config", [GPT2, BIGCODE, LLAMA], ids=["gpt2", "gpt_bigcode", "llama"])
def test_the_feature_is_what_the_head_of_the_target_reads(config: dict[str, Any], tmp_path: Path) -> None:
    target = refspec.load(write_folder(tmp_path, config), dtype=np.float64)
    lm = target.language_model()
    lm.features(())  # from now on they are kept
    for read in (TEXT[:2], TEXT[:5]):
        lm.probs(read)
        kept = lm.features(TEXT)
        # float64, in one pass or two
        assert np.abs(kept - features_of(target, read)).max() < 1e-12


@pytest.mark.parametrize("config", [GPT2, BIGCODE, LLAMA], ids=["gpt2", "gpt_bigcode", "llama"])
def test_a_folder_is_a_drafter(config: dict[str, Any], tmp_path: Path) -> None:
    """Row-invariant and greedy, so that drafts change nothing; a head that is right now and then, since it says few tokens."""
    folder, _ = folder_and_target(tmp_path, config, ids=list(range(0, 259, 4)))
    target = refspec.load(tmp_path / "target", row_invariant=True)
    asked: dict[str, Any] = {"max_new_tokens": 40, "temperature": 0, "stop": []}
    plain = refspec.generate(target, TEXT, **asked)
    drafted = refspec.generate(target, TEXT, drafter=folder, gamma=5, **asked)
    assert drafted.tokens == plain.tokens
    assert drafted.rounds[0].drafted == 0  # nothing is known before the first pass
    assert {each.drafted for each in drafted.rounds[1:-3]} == {3}  # its n_predict, until the end is near


def test_a_sampled_text_depends_on_its_seed_alone(tmp_path: Path) -> None:
    folder, target = folder_and_target(tmp_path)
    asked: dict[str, Any] = {
        "max_new_tokens": 24,
        "temperature": 0.9,
        "top_p": 0.9,
        "stop": [],
        "drafter": folder,
        "seed": 5,
    }
    once, again = (refspec.generate(target, TEXT, **asked) for _ in range(2))
    assert once.tokens == again.tokens
    assert once.stats.drafted > 10
    adaptive = refspec.generate(target, TEXT, gamma="auto", **asked)
    assert len(adaptive.tokens) == 24


def test_the_command_line_takes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = folder_and_target(tmp_path, ids=list(range(0, 259, 2)))
    common = ["generate", "--model", str(tmp_path / "target"), "--temperature", "0", "--max-new-tokens", "12", "--row-invariant"]
    assert main([*common, "Hi!Hi"]) == 0
    plain = capsys.readouterr()
    assert main([*common, "--draft", str(folder), "Hi!Hi"]) == 0
    drafted = capsys.readouterr()
    assert drafted.out == plain.out
    assert "acceptance rate" in drafted.err
    assert main(["generate", "--model", "tiny-target", "--draft", str(folder), "x"]) == 2
    refusal = capsys.readouterr()
    assert (refusal.out, refusal.err.count("\n")) == ("", 1)
    assert "is a draft head for another target: its emb_dim is 32, and this target's is 160" in refusal.err


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, refspec.Model]:
    return folder_and_target(tmp_path)


def refused(folder: Path, target: Any, kind: type[RefspecError], *named: str) -> None:
    with pytest.raises(kind) as caught:
        speculator_drafter(folder, target)
    assert type(caught.value) is kind
    assert all(each in str(caught.value) for each in named), caught.value


def test_a_head_of_another_target_is_refused(pair: tuple[Path, refspec.Model]) -> None:
    folder, target = pair
    other = refspec.load("tiny-target").language_model()
    refused(folder, other, BadConfig, "draft head for another target: its emb_dim is 32, and this target's is 160")
    change(folder, {"target": "granite-3b-code"})
    refused(folder, target.language_model(), BadConfig, "draft head for 'granite-3b-code', and the target is 'target'")
    change(folder, {"target": "target"})
    assert speculator_drafter(folder, target.language_model()).speculator.n_predict == 3


def test_a_damaged_head_and_a_target_without_features(pair: tuple[Path, refspec.Model]) -> None:
    folder, target = pair
    refused(folder, refspec.TableLM({(): [0.5, 0.5]}), BadArgument, "reads the features of a network; the target is TableLM")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    refused(folder, target.language_model(), BadWeights, "model.safetensors is damaged")
    change(folder, {"vocab_size": 3})
    refused(folder, target.language_model(), BadConfig, "vocab_size is 3")


def test_a_head_is_read_once_for_a_network_and_again_for_another(pair: tuple[Path, refspec.Model]) -> None:
    folder, target = pair
    first, second = (speculator_drafter(folder, target.language_model()) for _ in range(2))
    assert first.speculator is second.speculator
    other = refspec.load(folder.parent / "target").language_model()
    assert speculator_drafter(folder, other).speculator is not first.speculator
