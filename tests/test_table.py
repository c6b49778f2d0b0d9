"""The table of what a target usually says: counted as a plain count would, kept in a folder, and a draft that changes no law."""

import json
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import refspec
from refspec.decoding import verify
from refspec.decoding.draft.table import PRIOR, Table, Written, count, hashed, hashes
from refspec.decoding.lm import Tokens
from refspec.errors import BadConfig, BadWeights, RefspecError
from refspec.models.drafts import load_draft
from refspec.models.table_file import read_table, write_table
from refspec.proof import exact

texts = st.lists(st.lists(st.integers(0, 3), max_size=12).map(tuple), min_size=1, max_size=5)


def weighed_plainly(texts: list[Tokens], orders: int, least: int) -> dict[Tokens, list[Fraction]]:
    """context -> the chance of each of four tokens, by the formula, of contexts that were seen often enough."""
    followers: dict[Tokens, Counter[int]] = defaultdict(Counter)
    for text in texts:
        for n in range(1, orders + 1):
            for end in range(n, len(text)):
                followers[text[end - n : end]][text[end]] += 1
    rows: dict[Tokens, list[Fraction]] = {}
    for context in sorted(followers, key=len):
        times = followers[context]
        if times.total() >= least:
            shorter = rows.get(context[1:], [Fraction(0)] * 4)
            rows[context] = [(times[token] + PRIOR * shorter[token]) / (times.total() + PRIOR) for token in range(4)]
    return rows


@given(texts, st.integers(1, 4), st.integers(1, 3))
def test_a_guess_is_a_likeliest_token_of_the_longest_context(texts: list[Tokens], orders: int, least: int) -> None:
    table, plain = count(texts, orders=orders, vocab_size=4, least=least), weighed_plainly(texts, orders, least)
    for text in texts:
        for end in range(1, len(text) + 1):
            guess = table.guess(text[:end])
            longest = next((text[end - n : end] for n in range(min(orders, end), 0, -1) if text[end - n : end] in plain), None)
            if longest is None:
                assert guess is None
                continue
            assert guess is not None
            assert plain[longest][guess.token] == max(plain[longest])
            kept = plain[longest[len(longest) - guess.order :]]  # it is kept where it was a new one
            assert abs(guess.share - kept[guess.token]) <= 1 / 255  # in 8 bits


@given(texts, st.integers(1, 4))
def test_no_context_is_kept_that_guesses_what_a_shorter_one_does(texts: list[Tokens], orders: int) -> None:
    table = count(texts, orders=orders, vocab_size=4, least=1)
    for n, order in enumerate(table.orders, 1):
        shorter = Table(table.orders[: n - 1], 4)
        contexts = {text[end - n : end] for text in texts for end in range(n, len(text))}
        kept = [context for context in contexts if hashed(context) in order.keys]
        assert len(kept) == len(order.keys)
        for context in kept:
            before, now = shorter.guess(context[1:]), Table(table.orders[:n], 4).guess(context)
            assert now is not None
            assert before is None or before.token != now.token


@given(texts, st.integers(1, 3))
def test_rows_that_are_certain_count_as_what_came(texts: list[Tokens], orders: int) -> None:
    """With a second column of chances that are zero."""
    written = [
        Written(
            np.array(text[:-1]),
            np.array([[token, (token + 1) % 4] for token in text[1:]]),
            np.array([[1.0, 0.0]] * (len(text) - 1)),
        )
        for text in texts
        if len(text) > 1
    ]
    one, other = (count(each, orders=orders, vocab_size=4, least=1) for each in (texts, written))
    for a, b in zip(one.orders, other.orders, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_what_the_target_held_likely_counts_more_than_what_came() -> None:
    table = count([Written(np.array([5]), np.array([[1, 2]]), np.array([[0.25, 0.75]]))], orders=1, vocab_size=9, least=1)
    assert table.guess((5,)) == (2, round(255 * 0.75 / (1 + PRIOR)) / 255, 1)


@given(st.lists(st.integers(0, 200_000), min_size=2, max_size=20), st.integers(1, 4))
def test_hashes_of_a_text_are_those_of_its_contexts(text: list[int], n: int) -> None:
    found = hashes(np.array(text), n) if len(text) >= n else []
    assert [int(each) for each in found] == [hashed(text[i : i + n]) for i in range(len(text) - n + 1)]


@pytest.mark.parametrize("rule", verify.EXACT)
def test_the_text_keeps_the_targets_law(rule: str) -> None:
    third = Fraction(1, 3)
    target = refspec.TableLM({(): [third, third, third], (0,): [third / 2, third, 1 - third * 3 / 2], (1, 2): [0, 1, 0]})
    table = count([(0, 1, 2, 0, 1, 2, 2, 1)], orders=2, vocab_size=3, least=1)
    law = refspec.sequence_law(
        target, refspec.NgramDrafter(table=table), (0,), gamma=3, max_new_tokens=4, verify=verify.RULES[rule]
    )
    plain = exact.law(lambda chance: refspec.autoregressive(target, (0,), max_new_tokens=4, chance=chance))
    assert law == plain


def test_the_likelier_guess_of_text_and_table_is_drafted() -> None:
    table = count([(1, 5, 7)], orders=1, vocab_size=9, least=1)
    drafter = refspec.NgramDrafter(table=table)
    assert drafter.propose((1, 2, 3, 1), 3, refspec.Tape([])).tokens == (2, 3, 1)  # the text says 2 behind 1
    assert drafter.propose((3, 1), 2, refspec.Tape([])).tokens == (5, 7)  # only the table knows
    assert refspec.NgramDrafter().propose((3, 1), 2, refspec.Tape([])).tokens == ()
    sure = refspec.NgramDrafter(table=count([(1, 5)] * 50, orders=1, vocab_size=9, least=1))
    assert sure.propose((1, 2, 3, 1), 1, refspec.Tape([])).tokens == (5,)
    assert sure.propose((1, 2, 3, 1) * 9, 1, refspec.Tape([])).tokens == (1,)  # by now the text is surer


def test_a_forecast_is_as_long_as_the_draft() -> None:
    table = count([(1, 5, 7)], orders=1, vocab_size=9, least=1)
    assert len(refspec.NgramDrafter(table=table).forecast((3, 1), 4)) == 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(tmp_path / "table", count([(1, 2, 3, 1, 2, 9)], orders=3, vocab_size=1024, least=1), {"target": "tiny-target"})
    return tmp_path / "table"


def test_what_was_written_is_read(folder: Path) -> None:
    table = count([(1, 2, 3, 1, 2, 9)], orders=3, vocab_size=1024, least=1)
    read = read_table(folder, 1024)
    for one, other in zip(read.orders, table.orders, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_folder_drafts_by_its_name(folder: Path) -> None:
    out = refspec.generate("tiny-target", [1, 2], drafter=str(folder), max_new_tokens=8, temperature=0)
    assert out.tokens == refspec.generate("tiny-target", [1, 2], max_new_tokens=8, temperature=0).tokens
    assert out.rounds[0].draft_tokens[0] == read_table(folder, 1024).guess((1, 2)).token  # type: ignore[union-attr]


def test_a_table_of_another_target_is_refused(folder: Path) -> None:
    with pytest.raises(BadConfig, match="is a table for 'tiny-target', with 1024 tokens; this target has 7: count one"):
        load_draft(folder)(refspec.TableLM({(): [Fraction(1, 7)] * 7}))  # type: ignore[operator]


def test_damage_is_named(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    damages = {
        "lacks the tensor shares.1": {name: each for name, each in whole.items() if name != "shares.1"},
        "order 1 is not sorted": whole | {"keys.1": whole["keys.1"][::-1].copy()},
        "holds ids beyond 1023": whole | {"tokens.1": whole["tokens.1"] + np.uint16(2000)},
        "has 1 tensors that a table has no use for, such as 'more'": whole | {"more": np.zeros(1, np.float32)},
        "has 1 tensors that a table has no use for, such as 'tokens.4'": whole | {"tokens.4": whole["tokens.1"]},
        "holds 0 orders where config.json says 3": {"other": np.zeros(1, np.float32)},
        "lacks the tensor keys.1, or it is of another kind": {name: each[:, None] for name, each in whole.items()},
        "or it is of another kind": whole | {"tokens.1": whole["tokens.1"].astype(np.float32)},
    }
    for message, tensors in damages.items():
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(BadWeights, match=message):
            read_table(folder, 1024)
    (folder / "model.safetensors").write_bytes(b"12")
    with pytest.raises(RefspecError, match="damaged"):
        read_table(folder, 1024)
    (folder / "config.json").write_text(json.dumps({"model_type": "ngram-table"}))
    with pytest.raises(BadConfig, match="with None tokens"):
        read_table(folder, 1024)


def test_an_empty_table_guesses_nothing() -> None:
    assert Table((), 5).guess((1, 2)) is None
    assert refspec.NgramDrafter(table=Table((), 5)).propose((1, 2), 3, refspec.Tape([])).tokens == ()
