"""The EAGLE head: its arithmetic against a plain one, its cache against a fresh head's, and that it changes no law."""

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import refspec
from refspec.arrays import Array
from refspec.bench.costs import guessing
from refspec.decoding import verify
from refspec.decoding.draft import Draft, GoOn
from refspec.decoding.draft.several import Several
from refspec.decoding.lm import Tokens
from refspec.decoding.question import Asking
from refspec.errors import BadArgument, BadConfig, BadWeights
from refspec.models.drafts import load_draft
from refspec.models.eagle_drafter import EagleDrafter, eagle_drafter
from refspec.proof import exact
from refspec.trace.passes import watched
from refspec.transformer import plain
from refspec.transformer.eagle import load_eagle

IDS = np.arange(3, 263, 2)


def write_head(path: Path, config: dict[str, Any] = LLAMA, *, seed: int = 5) -> Path:
    """A random head for a target of this config."""
    path.mkdir(parents=True, exist_ok=True)
    random, d, inner = np.random.default_rng(seed), config["hidden_size"], config["intermediate_size"]
    e = d // config["num_attention_heads"]
    keys = e * config["num_key_value_heads"]
    shapes = {
        "fc": (d, 2 * d), "layer.self_attn.q_proj": (d, d), "layer.self_attn.k_proj": (keys, d),
        "layer.self_attn.v_proj": (keys, d), "layer.self_attn.o_proj": (d, d), "layer.mlp.gate_proj": (inner, d),
        "layer.mlp.up_proj": (inner, d), "layer.mlp.down_proj": (d, inner),
    }  # fmt: skip
    tensors: dict[str, Any] = {
        f"{name}.weight": random.standard_normal(shape, dtype=np.float32) / 6 for name, shape in shapes.items()
    }
    for norm in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"layer.{norm}.weight"] = 1 + random.standard_normal(d, dtype=np.float32) / 10
    save_file(tensors | {"ids": IDS.astype(np.int32)}, path / "model.safetensors")
    about = {"model_type": "eagle", "target": "target", "vocab_size": config["vocab_size"], "hidden_size": d,
             "intermediate_size": inner, "num_attention_heads": config["num_attention_heads"],
             "num_key_value_heads": config["num_key_value_heads"], "head_dim": e,
             "rms_norm_eps": config["rms_norm_eps"], "rope_theta": config["rope_theta"]}  # fmt: skip
    (path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def target_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("eagle") / "target", tokenizer=False)


@pytest.fixture(scope="module")
def target(target_folder: Path) -> refspec.Model:
    return refspec.load(target_folder, dtype=np.float64)


@pytest.fixture(scope="module")
def head_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_head(tmp_path_factory.mktemp("eagle") / "head")


def plain_features(folder: Path, tokens: Tokens) -> Array:
    """[n, d]: what the head of the network sees, by the textbook's Llama with the identity for a head."""
    weights, config = plain.read(folder)
    return plain.logits(np.array(tokens), {**weights, "lm_head.weight": np.eye(config.width)}, config)


def plain_scores(folder: Path, head_folder: Path, tokens: Tokens, drafted: Tokens) -> Array:
    """[len(drafted) + 1, v]: the scores of each guess of a chain, everything computed again for each, with no cache."""
    target_weights, config = plain.read(folder)
    weights = {name: each.astype(np.float64) for name, each in load_file(head_folder / "model.safetensors").items()}
    h, g = config.heads, config.kv_heads
    features, text = plain_features(folder, tokens)[: len(tokens) - 1], tokens + drafted
    rows = []
    for _ in range(len(drafted) + 1):
        n = len(features)
        embedded = target_weights["embed_tokens.weight"][list(text[1 : n + 1])]
        x = np.concatenate([embedded, features], axis=1) @ weights["fc.weight"].T
        angles = np.outer(np.arange(n), config.rope_theta ** -(np.arange(0, config.head_width, 2) / config.head_width))
        y = plain.rms_norm(x, weights["layer.input_layernorm.weight"], config.norm_eps)
        queries, keys, values = (
            plain.split_heads(y @ weights[f"layer.self_attn.{name}_proj.weight"].T, heads)
            for name, heads in (("q", h), ("k", g), ("v", g))
        )
        queries, keys = (plain.rotate(each, *(np.tile(turn(angles), 2) for turn in (np.cos, np.sin))) for each in (queries, keys))
        keys, values = (np.repeat(each, h // g, axis=0) for each in (keys, values))
        attended = plain.attention(queries, keys, values, config.head_width**-0.5)
        x = x + plain.merge_heads(attended) @ weights["layer.self_attn.o_proj.weight"].T
        y = plain.rms_norm(x, weights["layer.post_attention_layernorm.weight"], config.norm_eps)
        gate, up = (y @ weights[f"layer.mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (plain.silu(gate) * up) @ weights["layer.mlp.down_proj.weight"].T
        rows.append(x[-1] @ target_weights["lm_head.weight"].T)
        features = np.concatenate([features, x[-1:]])  # the stand-in, in place of the feature that the target has not made yet
    return np.stack(rows)


def test_a_text_is_read_once_whoever_drafts_first(target_folder: Path, head_folder: Path) -> None:
    """Lookup drafts in the first round, so that the head is asked when the prompt has been read."""
    log: list[Any] = []
    lm = watched(refspec.load(target_folder), "target", log).language_model(temperature=0)
    turns = [eagle_drafter(head_folder, lm), refspec.NgramDrafter()]

    class InTurn:
        state = None

        def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
            turns.reverse()
            return turns[0].propose(tokens, gamma, chance)

    out = refspec.speculative(lm, InTurn(), (5, 6, 7, 8) * 4, gamma=3, max_new_tokens=12, chance=refspec.Seeded(0))
    assert len(out.rounds[1].draft_tokens) > 0  # the head's
    assert [each.start < 16 for each in log] == [True] + [False] * (len(log) - 1), "what was read is not read again"


def read_so_far(lm: Any, tokens: Tokens) -> None:
    """The target has read all but the last token, as after a round."""
    lm.probs(tokens[:-1])


def test_the_features_are_what_the_head_of_the_network_sees(target: refspec.Model, target_folder: Path) -> None:
    lm, tokens = target.language_model(), (5, 9, 200, 7, 31)
    assert lm.features(tokens).shape == (0, 32)
    lm.probs(tokens, last=2)
    # float64 through two layers
    assert np.abs(lm.features(tokens) - plain_features(target_folder, tokens)).max() < 1e-12
    assert len(lm.features((5, 9, 1))) == 2  # as many as belong to this text


histories = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12)), min_size=1, max_size=6)


@given(histories, st.integers(0, 9))
@settings(max_examples=30)
def test_features_after_any_history_are_those_of_a_fresh_pass(target: refspec.Model, history: Any, seed: int) -> None:
    """N10, of features: roll back by so many tokens, then read so many new ones."""
    random, lm, tokens = np.random.default_rng(seed), target.language_model(), ()
    lm.features(())
    for new, back in history:
        tokens = (*tokens[: max(0, len(tokens) - back)], *random.integers(0, 264, new).tolist())
        lm.probs(tokens)
    fresh = target.language_model()
    fresh.features(())
    fresh.probs(tokens)
    assert np.abs(lm.features(tokens) - fresh.features(tokens)).max() < 1e-9  # N10, in float64


@given(st.lists(st.integers(0, 263), min_size=2, max_size=30), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_chain_is_what_the_equations_say(
    target: refspec.Model, target_folder: Path, head_folder: Path, tokens: list[int], gamma: int, seed: int
) -> None:
    lm, text = target.language_model(), tuple(tokens)
    drafter = eagle_drafter(head_folder, lm)
    drafter.propose(text, 1, refspec.Seeded(0))  # asks for features, before there are any
    read_so_far(lm, text)
    draft = drafter.propose(text, gamma, refspec.Seeded(seed))
    assert len(draft.tokens) == gamma
    said = np.union1d(IDS, tokens)  # and what was drafted is one of these
    assert draft.probs is not None
    law = plain.softmax(plain_scores(target_folder, head_folder, text, draft.tokens)[:gamma, said])
    assert np.abs(draft.probs[:, said] - law).max() < 1e-12  # float64, one layer
    assert np.count_nonzero(draft.probs) == gamma * len(said)


def test_what_only_pads_the_vocabulary_is_never_said(target: refspec.Model, head_folder: Path) -> None:
    """N12, though it stands in the head's list."""
    lm = target.language_model()
    lm.vocab_size = 260  # type: ignore[misc]
    drafter, text = eagle_drafter(head_folder, lm), (1, 4, 4, 1)
    drafter.propose(text, 1, refspec.Seeded(0))
    read_so_far(lm, text)
    draft = drafter.propose(text, 2, refspec.Seeded(0))
    assert draft.probs is not None
    assert np.flatnonzero(draft.probs[0]).tolist() == [1, 3, 4, *range(5, 260, 2)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_heads_cache_does_not_decay(target: refspec.Model, head_folder: Path, temperature: float) -> None:
    """After many rounds, accepted and refused, a draft has the rows that a head without a past makes."""
    lm = target.language_model(temperature=temperature)
    drafter = eagle_drafter(head_folder, lm)
    prompt = (1, 2, 3)
    out = refspec.speculative(lm, drafter, prompt, gamma=3, max_new_tokens=120, chance=refspec.Seeded(1))
    accepted, drafted = (sum(getattr(each, name) for each in out.rounds) for name in ("accepted", "drafted"))
    assert accepted < drafted
    assert accepted > 0 or temperature == 0  # a random head is never right about the likeliest token
    text = prompt + out.tokens
    fresh_lm = target.language_model(temperature=temperature)
    fresh = eagle_drafter(head_folder, fresh_lm)
    for model, one in ((lm, drafter), (fresh_lm, fresh)):
        one.propose(text, 1, refspec.Seeded(0))
        read_so_far(model, text)
    old, new = (each.propose(text, 3, refspec.Seeded(7)) for each in (drafter, fresh))
    assert old.tokens == new.tokens
    assert np.abs(old.probs - new.probs).max() < 1e-9  # type: ignore[operator]  # N10, in float64


@pytest.mark.parametrize("gamma", [1, 2, 5])
def test_greedy_texts_are_those_of_plain_decoding(tmp_path: Path, head_folder: Path, gamma: int) -> None:
    model = refspec.load(write_folder(tmp_path / "target", tokenizer=False), row_invariant=True)
    options = {"max_new_tokens": 60, "temperature": 0.0, "stop": ()}
    plain_text = refspec.generate(model, [4, 5, 6], **options)
    assert refspec.generate(model, [4, 5, 6], drafter=head_folder, gamma=gamma, **options).tokens == plain_text.tokens
    both = lambda lm: Several(refspec.NgramDrafter(), load_draft(head_folder)(lm))  # type: ignore[operator]  # noqa: E731
    assert refspec.generate(model, [4, 5, 6], drafter=both, gamma="auto", **options).tokens == plain_text.tokens


def test_each_text_of_a_batch_has_a_head_of_its_own(tmp_path: Path, head_folder: Path) -> None:
    model = refspec.load(write_folder(tmp_path / "target", tokenizer=False), row_invariant=True)
    prompts, options = [[4, 5, 6], [7], [8, 9]], {"max_new_tokens": 20, "temperature": 1.0, "stop": (), "gamma": 2}
    alone = [refspec.generate(model, each, drafter=head_folder, seed=i, **options) for i, each in enumerate(prompts)]
    together = refspec.generate_batch(model, prompts, drafter=head_folder, **options)
    assert [out.tokens for out in together] == [out.tokens for out in alone]
    assert sum(each.drafted for out in together for each in out.rounds) > 20
    with pytest.raises(BadArgument, match="a head reads the features of one target; give the head's folder"):
        refspec.generate_batch(model, prompts, drafter=eagle_drafter(head_folder, model.language_model()), **options)


def test_a_guess_of_a_head_is_timed_behind_a_text_that_the_target_has_read(target: refspec.Model, head_folder: Path) -> None:
    lm = target.language_model()
    guess, draws = guessing(lm, eagle_drafter(head_folder, lm), 9)
    assert draws
    assert guess() > 0
    assert lm.cache.length == 10  # timing drafts reads nothing more


def test_a_trace_has_the_heads_rounds(tmp_path: Path, head_folder: Path, target_folder: Path) -> None:
    """A network that is watched is a Llama still."""
    lm = watched(refspec.load(target_folder), "target", []).language_model(temperature=0)
    out = refspec.speculative(lm, eagle_drafter(head_folder, lm), (1, 2), gamma=2, max_new_tokens=9, chance=refspec.Seeded(0))
    assert sum(each.drafted for each in out.rounds) > 4


# ---- the law, on rationals: a table of states for a target, a table of laws for a head


class TableTarget(refspec.TableLM):
    """Its feature at a token is the parity of the tokens up to it, as far as it was asked."""

    def __init__(self, table: Any) -> None:
        super().__init__(table)
        self.read: Tokens = ()

    def probs(self, tokens: Tokens, last: int = 1) -> Array:
        self.read = tokens
        return super().probs(tokens, last)

    def features(self, tokens: Tokens) -> Array:
        m = next((i for i, (a, b) in enumerate(zip(self.read, tokens, strict=False)) if a != b), min(len(self.read), len(tokens)))
        return np.array([[sum(tokens[: i + 1]) % 2] for i in range(m)], dtype=object).reshape(m, 1)


class NoCache:
    length = 0

    def rollback(self, length: int) -> None:
        pass


class TableHead:
    """A stand-in is (token + feature) mod 2; scores are a row of a table, of the tokens that it always knows, and
    fractions of one of those that the text holds."""

    share = 0.0

    def __init__(self, rows: Sequence[Sequence[Fraction]], ids: Sequence[int]) -> None:
        self.rows, self.ids = np.array(rows, dtype=object), np.array(ids)

    def new_cache(self) -> Any:
        return NoCache()

    def stand_in(self, tokens: Array, features: Array, cache: Any) -> Array:
        return (tokens[-1:, None] + features[-1:]) % 2

    def scores(self, stand_ins: Array) -> Array:
        return self.rows[stand_ins[:, 0].astype(int)]

    def scores_of(self, stand_ins: Array, tokens: Array) -> Array:
        return np.array([[Fraction(1, 2 + token) for token in tokens.tolist()]] * len(stand_ins), dtype=object)


def shares(scores: Array) -> Array:
    return scores / scores.sum(axis=1, keepdims=True)


THIRD = Fraction(1, 3)
TABLE = {(): [THIRD, THIRD, THIRD], (0,): [THIRD / 2, THIRD, 1 - THIRD * 3 / 2], (1, 2): [Fraction(0), Fraction(1), Fraction(0)]}


class Late(EagleDrafter):
    """The bug: the row that is shown is that of the feature, not of the stand-in it was drawn from."""

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        draft = super().propose(tokens, gamma, chance)
        return Draft(draft.tokens, draft.probs[:1].repeat(len(draft.tokens), axis=0)) if draft.tokens else draft  # type: ignore[index]


class DropsTheUnsure(EagleDrafter):
    """The bug: what the head was not sure of is dropped behind the draw, by how likely the drawn token was."""

    def asking_while(self, tokens: Tokens, gamma: int, chance: refspec.Chance, go_on: GoOn) -> Asking[Draft]:
        draft = yield from super().asking_while(tokens, gamma, chance, go_on)
        if draft.tokens and draft.probs[-1][draft.tokens[-1]] < Fraction(1, 2):  # type: ignore[index]
            return Draft(draft.tokens[:-1], draft.probs[:-1] if draft.tokens[1:] else None)  # type: ignore[index]
        return draft


ROWS = [[Fraction(1, 4)], [Fraction(2, 3)]]  # of token 1; the others it knows from the text alone
Wrap = Callable[[EagleDrafter], refspec.Drafter]


def law_behind_a_head(kind: type[EagleDrafter], rule: str, wrap: Wrap, lengths: set[int]) -> dict[Tokens, Fraction]:
    """lengths: gets the numbers of tokens that were drafted."""

    def run(chance: refspec.Chance) -> Tokens:
        target = TableTarget(TABLE)
        drafter = wrap(kind(TableHead(ROWS, [1]), target, shares))
        options = {"gamma": 2, "max_new_tokens": 4, "chance": chance, "verify": verify.RULES[rule]}
        out = refspec.speculative(target, drafter, (0, 1), **options)
        lengths.update(each.drafted for each in out.rounds[:-1])
        return out.tokens

    return exact.law(run)


def plain_law() -> dict[Tokens, Fraction]:
    return exact.law(lambda chance: refspec.autoregressive(refspec.TableLM(TABLE), (0, 1), max_new_tokens=4, chance=chance))


@pytest.mark.parametrize("rule", ["token", "block", "sample-match"])
@pytest.mark.parametrize("bug", [None, Late, DropsTheUnsure])
def test_the_text_keeps_the_targets_law(rule: str, bug: type[EagleDrafter] | None) -> None:
    law = law_behind_a_head(bug or EagleDrafter, rule, lambda head: head, set())
    assert (law == plain_law()) == (bug is None or rule == "sample-match")  # sample-match looks at no q


@pytest.mark.parametrize("rule", ["token", "block", "sample-match"])
@pytest.mark.parametrize("bug", [None, DropsTheUnsure])
def test_how_deep_it_drafts_goes_by_how_sure_it_is_and_leaves_the_law_alone(rule: str, bug: type[EagleDrafter] | None) -> None:
    """Over every branch, in which it drafts nothing, one token and two, and in which lookup drafts in its place."""
    profile, lengths = refspec.Profile((1, 1.1, 1.327), draft=0), set()

    def wrap(head: EagleDrafter) -> refspec.Drafter:
        return refspec.AdaptiveDrafter(Several(refspec.NgramDrafter(), head), profile)

    law = law_behind_a_head(bug or EagleDrafter, rule, wrap, lengths)
    assert (law == plain_law()) == (bug is None or rule == "sample-match")
    assert lengths == {0, 1, 2}


# ---- what is refused


def test_a_head_of_another_target_is_refused(tmp_path: Path, head_folder: Path) -> None:
    other = refspec.load(write_folder(tmp_path / "other", LLAMA | {"hidden_size": 64}, tokenizer=False))
    with pytest.raises(
        BadConfig, match="is a draft head for 'target', with hidden_size 32; this target has 64: train one for it"
    ):
        load_eagle(head_folder, other.network)  # type: ignore[arg-type]
    gpt2 = refspec.load(write_folder(tmp_path / "gpt2", GPT2, tokenizer=False))
    with pytest.raises(BadArgument, match="reads the features of a Llama"):
        eagle_drafter(head_folder, gpt2.language_model())
    with pytest.raises(BadArgument, match=r"TableLM\(.*\) has none: leave it out"):
        eagle_drafter(head_folder, refspec.TableLM(TABLE))


def test_damage_is_named(tmp_path: Path, target: refspec.Model) -> None:
    folder = write_head(tmp_path / "head")
    whole = load_file(folder / "model.safetensors")
    damages: dict[str, dict[str, Any]] = {
        "lacks the tensor fc.weight": {name: each for name, each in whole.items() if name != "fc.weight"},
        "lacks the tensor ids": {name: each for name, each in whole.items() if name != "ids"},
        "ids are not different ids of 0 to 263": whole | {"ids": whole["ids"][::-1].copy()},
        "fc.weight holds NaN": whole | {"fc.weight": whole["fc.weight"] * np.float32(np.nan)},
        "has no use for, such as more": whole | {"more": np.ones(1, np.float32)},
        "fc.weight has shape": whole | {"fc.weight": whole["fc.weight"][:, :3].copy()},
    }
    for message, tensors in damages.items():
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(BadWeights, match=message):
            load_eagle(folder, target.network)  # type: ignore[arg-type]


def test_a_tied_head_is_shared(tmp_path: Path) -> None:
    """The rows of the head that was laid out are had back bit for bit."""
    for tied in (True, False):
        config = LLAMA | {"tie_word_embeddings": tied}
        folder = write_folder(tmp_path / str(tied), config, tokenizer=False)
        head = load_eagle(write_head(tmp_path / f"head-{tied}", config), refspec.load(folder).network)  # type: ignore[arg-type]
        rows = load_file(folder / "model.safetensors")["model.embed_tokens.weight" if tied else "lm_head.weight"][IDS]
        ones = np.eye(32, dtype=np.float32)
        assert np.array_equal(head.scores(ones), rows.T)
        assert np.array_equal(head.scores_of(ones, IDS[3:5]), rows.T[:, 3:5])
