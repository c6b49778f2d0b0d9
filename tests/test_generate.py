"""Text in, text out: what `generate` promises, on small random models that are real folders."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from folders import LLAMA, write_folder, write_tokenizer

import refspec
from refspec.decoding.round import Round
from refspec.errors import BadArgument, ContextExceeded, VocabularyMismatch
from refspec.generate import Run, stream


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> refspec.Model:
    return refspec.load(write_folder(tmp_path_factory.mktemp("models") / "target"))


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> refspec.Model:
    return refspec.load(write_folder(tmp_path_factory.mktemp("models") / "draft", {**LLAMA, "num_hidden_layers": 1}, seed=1))


def test_every_kind_of_drafter_gives_the_greedy_text(target: refspec.Model, draft: refspec.Model) -> None:
    """The bits are equal here because the margins of these random models are far above float32 rounding."""
    plain = refspec.generate(target, "to be, or not to be", max_new_tokens=40, temperature=0, stop=())
    assert len(plain.tokens) == 40
    assert plain.stats.acceptance_rate is plain.stats.accepted_per_drafted is None
    for drafter in (refspec.NgramDrafter(), draft, refspec.ModelDrafter(draft.language_model(temperature=0)), target):
        for gamma in (1, 3, 7):
            out = refspec.generate(
                target, "to be, or not to be", drafter=drafter, gamma=gamma, max_new_tokens=40, temperature=0, stop=()
            )
            assert out.tokens == plain.tokens
            assert out.text == plain.text
    assert out.stats.acceptance_rate == 1  # the target drafting for itself
    assert out.stats.tokens_per_target_call == 8  # 40 tokens, gamma + 1 a round


def test_a_function_of_the_target_is_a_drafter(target: refspec.Model) -> None:
    seen = []

    def early(language_model: refspec.LanguageModel) -> refspec.NgramDrafter:
        seen.append(language_model)
        return refspec.NgramDrafter()

    out = refspec.generate(target, "abcabc", drafter=early, max_new_tokens=4, seed=3)
    assert seen[0].vocab_size == 259
    assert out.tokens == refspec.generate(target, "abcabc", drafter=refspec.NgramDrafter(), max_new_tokens=4, seed=3).tokens


def test_the_same_seed_gives_the_same_text_and_another_seed_another(target: refspec.Model, draft: refspec.Model) -> None:
    texts = [refspec.generate(target, "hello", drafter=draft, seed=seed, max_new_tokens=32, stop=()).tokens for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("temperature", [0.0, 1.0, 1.5])
def test_coupled_text_depends_on_the_seed_and_not_on_the_drafter(
    target: refspec.Model, draft: refspec.Model, temperature: float
) -> None:
    def run(drafter: object, gamma: int) -> refspec.Output:
        return refspec.generate(
            target,
            "hello",
            drafter=drafter,
            gamma=gamma,
            temperature=temperature,
            max_new_tokens=24,
            stop=(),
            seed=9,
            verify=refspec.verify.coupled,
        )

    texts = [run(drafter, gamma).tokens for drafter in (None, draft, refspec.NgramDrafter(), target) for gamma in (1, 4)]
    assert set(texts) == {texts[0]}
    assert run(target, 4).stats.acceptance_rate == 1  # the same law races to the same winner


def test_block_behind_a_coupled_drafter_is_refused(target: refspec.Model, draft: refspec.Model) -> None:
    coupled = refspec.CoupledDrafter(draft.language_model())
    bets = refspec.AdaptiveDrafter(coupled, refspec.Profile((1, 1.1), draft=0))
    for drafter in (coupled, lambda _: coupled, bets, lambda _: bets):
        with pytest.raises(BadArgument, match="does not keep the target's distribution"):
            refspec.generate(target, "x", drafter=drafter, verify=refspec.verify.block, max_new_tokens=2)


def test_padded_ids_are_never_drawn(target: refspec.Model) -> None:
    """N12: config.json says 264, the token map has 259."""
    assert target.config.vocab_size == 264
    row = target.language_model().probs((65, 66))
    assert row.shape == (1, 259)
    assert abs(row.sum() - 1) < 1e-12  # float64, 259 additions
    assert target.logits([65, 66]).shape == (2, 264)


def test_an_empty_text_is_refused_even_where_the_tokenizer_adds_a_begin_token(tmp_path: Path) -> None:
    write_tokenizer(write_folder(tmp_path / "begins"), begin=True)
    begins = refspec.load(tmp_path / "begins")
    assert begins.tokenizer is not None
    assert len(begins.tokenizer.encode("")) == 1
    with pytest.raises(BadArgument, match="the prompt is empty"):
        refspec.generate(begins, "")


def test_streamed_pieces_concatenate_to_the_text(target: refspec.Model, draft: refspec.Model) -> None:
    for seed in range(5):  # random bytes: most are no UTF-8
        run = stream(target, "hé", drafter=draft, seed=seed, max_new_tokens=50, stop=())
        assert "".join(piece.text for piece in run) == "".join(run.output.texts) == run.output.text
        assert (run.rest(), len(run.output.texts)) == ("", 50)


def test_special_tokens_stay_in_tokens_and_out_of_text(target: refspec.Model) -> None:
    end = target.end_tokens[0]
    network = target.language_model()
    out = None
    for seed in range(200):
        out = refspec.generate(target, "x", seed=seed, max_new_tokens=30)
        if out.finish_reason == "stop":
            break
    assert out is not None
    assert out.finish_reason == "stop"
    assert out.tokens[-1] == end
    assert "<|" not in out.text
    assert network.vocab_size > end


def test_the_context_ends_a_text_with_a_reason_and_no_draft_crosses_it(target: refspec.Model, draft: refspec.Model) -> None:
    prompt = [65] * 250
    out = refspec.generate(target, prompt, drafter=draft, gamma=8, max_new_tokens=100, stop=())
    assert (len(out.tokens), out.finish_reason) == (6, "context")
    full = refspec.generate(target, [65] * 256, max_new_tokens=3)
    assert (full.tokens, full.finish_reason, full.stats.tokens_per_target_call) == ((), "context", None)
    with pytest.raises(ContextExceeded, match=r"257 tokens and .* a context of 256"):
        refspec.generate(target, [65] * 257)


@pytest.mark.parametrize(
    ("asked", "made", "reason"),
    [(5, 5, "length"), (6, 6, "length"), (7, 6, "context"), (0, 0, "length"), (100, 6, "context")],
)
def test_the_reason_is_the_length_up_to_the_room_that_is_left(target: refspec.Model, asked: int, made: int, reason: str) -> None:
    for drafter in (None, refspec.NgramDrafter()):
        out = refspec.generate(target, [65] * 250, drafter=drafter, max_new_tokens=asked, stop=())
        assert (len(out.tokens), out.finish_reason) == (made, reason)
    assert refspec.generate(target, [65] * 256, max_new_tokens=0).finish_reason == "length"


def test_a_stop_token_is_the_reason_wherever_it_falls(target: refspec.Model) -> None:
    """Also as the very last token that there is room for."""
    tokens = refspec.generate(target, [65] * 250, max_new_tokens=6, stop=()).tokens
    for i in (0, 5):
        at = tokens.index(tokens[i])
        for asked in (at + 1, at + 2, 100):
            out = refspec.generate(target, [65] * 250, max_new_tokens=asked, stop=[tokens[i]])
            assert (out.tokens, out.finish_reason) == (tokens[: at + 1], "stop")
    assert (
        refspec.generate(target, [65] * 250, max_new_tokens=2, stop=[65]).finish_reason == "length"
    )  # one in the prompt is none


def test_what_is_not_asked_for_is_what_the_signature_says(target: refspec.Model, draft: refspec.Model) -> None:
    """Both entry points have the same defaults: 4 drafted a round, 64 tokens, temperature 1, no filters, seed 0, no record."""
    default = {"gamma": 4, "max_new_tokens": 64, "temperature": 1.0, "seed": 0, "record": False, "verify": refspec.verify.token}
    run = stream(target, "x", drafter=draft, stop=())
    for _ in run:
        pass
    for out in (run.output, refspec.generate(target, "x", drafter=draft, stop=())):
        assert out.rounds == refspec.generate(target, "x", drafter=draft, stop=(), **default).rounds
        assert (len(out.tokens), out.rounds[0].record, out.rounds[0].drafted) == (64, None, 4)


def test_an_unfinished_run_is_interrupted_and_has_what_there_is(target: refspec.Model) -> None:
    run = stream(target, "x", max_new_tokens=3, stop=())
    assert (run.output.tokens, run.output.finish_reason, run.output.text) == ((), "interrupted", "")
    pieces = iter(run)
    tokens = [next(pieces).round.token, next(pieces).round.token]
    assert (list(run.output.tokens), run.output.finish_reason) == (tokens, "interrupted")
    assert [len(list(pieces)), run.output.finish_reason] == [1, "length"]
    assert run.output.prompt_tokens == (ord("x"),)


def test_the_clock_is_charged_with_the_rounds_and_not_with_their_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(importlib.import_module("refspec.generate"), "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def found() -> Iterator[Round]:
        for token, seconds in ((1, 8), (2, 1), (3, 2)):
            clock.now += seconds
            yield Round((), 0, token)

    run = Run(found(), prompt=(0,), tokenizer=None, stop=(), most=3, at_end="length", exact=True)
    clock.now += 500
    for _ in run:
        clock.now += 100
    stats = run.output.stats
    assert (stats.prefill_seconds, stats.decode_seconds, stats.tokens_per_second) == (8, 3, 2 / 3)


FILTERS: list[dict[str, Any]] = [{"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.3}, {"temperature": 0.4}, {"temperature": 0}]
FILTERS += [{"temperature": 2.0, "top_k": 9, "top_p": 0.8, "min_p": 0.05}]


@pytest.mark.parametrize("options", FILTERS, ids=repr)
@pytest.mark.parametrize("rule", ["token", "coupled"])
def test_a_model_drafts_under_the_targets_own_options(
    target: refspec.Model, draft: refspec.Model, options: dict[str, Any], rule: str
) -> None:
    """The law it shows is its own law under them; anything else is still exact, and accepted less."""
    common = {"gamma": 3, "max_new_tokens": 16, "stop": (), "verify": refspec.verify.RULES[rule], "record": True, **options}
    out = refspec.generate(target, "hello", drafter=draft, **common)
    text, seen = out.prompt_tokens, 0
    for each in out.rounds:
        assert each.record is not None
        for i, token in enumerate(each.record.draft.tokens):
            assert each.record.draft.probs is not None
            row = draft.language_model(**options).probs((*text, *each.record.draft.tokens[:i]))[-1]
            # float32 logits of one pass are rounded another way in a pass of another length
            assert np.allclose(each.record.draft.probs[i], row, rtol=0, atol=1e-5)
            assert row[token] > 0
            seen += 1
        text += each.tokens
    assert seen > 10
    by_hand = refspec.CoupledDrafter if rule == "coupled" else refspec.ModelDrafter
    same = refspec.generate(target, "hello", drafter=by_hand(draft.language_model(**options)), **common)
    assert [(each.draft_tokens, each.token) for each in same.rounds] == [(each.draft_tokens, each.token) for each in out.rounds]
    assert refspec.generate(target, "hello", drafter=target, **common).stats.acceptance_rate == 1


def test_a_draft_with_a_shorter_context_drafts_less(target: refspec.Model, tmp_path: Path) -> None:
    short = refspec.load(write_folder(tmp_path / "short", {**LLAMA, "max_position_embeddings": 16}, seed=2))
    out = refspec.generate(target, [65] * 10, drafter=short, gamma=4, max_new_tokens=20, stop=())
    assert len(out.tokens) == 20
    assert any(each.drafted for each in out.rounds)


@pytest.mark.parametrize(
    ("prompt", "options", "said"),
    [
        ("", {}, "the prompt is empty"),
        ([], {}, "the prompt is empty"),
        ([-1], {}, "token id -1"),
        ([259], {}, "token id 259 .* from 0 to 258"),
        ("x", {"gamma": -1}, "gamma is -1"),
        ("x", {"gamma": -1, "drafter": refspec.NgramDrafter()}, "gamma is -1"),
        ("x", {"gamma": "much"}, "gamma is 'much'"),
        ("x", {"temperature": -0.5}, "temperature is -0.5"),
        ("x", {"temperature": float("nan")}, "temperature is nan"),
        ("x", {"temperature": 10**400}, "temperature is 1000"),
        ("x", {"top_p": 0.0}, "top_p is 0.0"),
        ("x", {"top_p": 1.5}, "top_p is 1.5"),
        ("x", {"top_k": 0}, "top_k is 0"),
        ("x", {"min_p": 2.0}, "min_p is 2.0"),
        ("x", {"max_new_tokens": -1}, "max_new_tokens is -1"),
        ("x", {"verify": "token"}, "verify is 'token'"),
        ("x", {"drafter": 7}, "the drafter is 7; give a Drafter"),
        ([1.5, 2.0], {}, "neither a text nor a sequence of whole-number ids"),
        ("x", {"seed": -1}, "seed is -1"),
    ],
)
def test_bad_input_is_one_clear_line(target: refspec.Model, prompt: object, options: dict, said: str) -> None:
    with pytest.raises(BadArgument, match=said) as error:
        refspec.generate(target, prompt, **options)
    assert len(str(error.value).splitlines()) == 1


def test_input_at_the_edge_of_what_is_allowed_is_taken(target: refspec.Model) -> None:
    """Each is the neighbour of a refusal above."""
    for prompt, options in (
        ([0], {}),
        ([258], {}),
        ("x", {"gamma": 0, "drafter": refspec.NgramDrafter()}),
        ("x", {"temperature": 0}),
        ("x", {"temperature": 1e300}),
        ("x", {"top_p": 1}),
        ("x", {"top_k": 1}),
        ("x", {"min_p": 1.0}),
        ("x", {"min_p": 0.0}),
        ("x", {"seed": 0}),
        (np.array([1, 2]), {}),
    ):
        assert len(refspec.generate(target, prompt, **{"max_new_tokens": 2, "stop": (), **options}).tokens) == 2
    assert refspec.generate(target, "x", max_new_tokens=0).tokens == ()


def test_a_draft_with_another_vocabulary_is_refused(target: refspec.Model, tmp_path: Path) -> None:
    other = refspec.load(write_folder(tmp_path / "other", {**LLAMA, "vocab_size": 300}, tokenizer=False))
    with pytest.raises(VocabularyMismatch, match="the target has 259 tokens and the draft 300"):
        refspec.generate(target, "x", drafter=other)


def test_float64_is_the_same_model(target: refspec.Model, tmp_path: Path) -> None:
    exact = refspec.load(write_folder(tmp_path / "target"), dtype=np.float64)
    difference = np.abs(exact.logits([1, 2, 3]) - target.logits([1, 2, 3])).max()
    assert 0 < difference < 1e-4  # float32 has 7 digits and these logits are of order one
    with pytest.raises(BadArgument, match=r"dtype is .*float16"):
        refspec.load(tmp_path / "target", dtype=np.float16)


def test_a_result_says_what_its_rule_claims(target: refspec.Model, draft: refspec.Model) -> None:
    def always(draft: refspec.Draft, target_probs: np.ndarray, chance: refspec.Chance) -> refspec.verify.Verdict:
        return refspec.verify.Verdict(len(draft.tokens), chance.pick(target_probs[-1]))

    for rule, exact in ((refspec.verify.token, True), (refspec.verify.inexact_lenience(0.5), False), (always, None)):
        out = refspec.generate(target, "x", drafter=draft, verify=rule, max_new_tokens=8)
        assert out.stats.exact is exact
