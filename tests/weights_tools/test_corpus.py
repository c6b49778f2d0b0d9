"""What a text becomes: its split, its tokens, its windows, and the trigram, each against a definition written here."""

from collections.abc import Sequence
from fractions import Fraction
from math import log
from pathlib import Path

import numpy as np
import pytest

from refspec.errors import BadArgument
from weights_tools.corpus import END, Corpus, encode, read_split, train_tokenizer, training_batch, trigram_loss


def test_the_last_tenth_of_the_characters_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    text = "é🦊0123456789" * 5  # 60 characters, which are 95 bytes
    path.write_text(text, encoding="utf-8")
    assert read_split(path) == (text[:54], text[54:])


def test_each_part_begins_with_the_end_token_and_the_held_out_bytes_are_counted() -> None:
    tokenizer = train_tokenizer("one two one two", 270)
    corpus = encode(("one two", "één"), tokenizer)
    end = tokenizer.token_to_id(END)
    assert tokenizer.id_to_token(end) == END
    assert (corpus.train[0], corpus.held_out[0]) == (end, end)
    assert tokenizer.decode(corpus.train[1:].tolist()) == "one two"
    assert tokenizer.decode(corpus.held_out[1:].tolist()) == "één"
    assert corpus.held_out_bytes == 5


def test_a_vocabulary_without_the_end_token_begins_with_token_0() -> None:
    from tokenizers import Tokenizer, models

    corpus = encode(("b", "a"), Tokenizer(models.BPE({"x": 0, "a": 1, "b": 2}, [])))
    assert (corpus.train.tolist(), corpus.held_out.tolist()) == ([0, 2], [0, 1])


def test_the_vocabulary_is_the_end_token_the_bytes_and_merges_up_to_the_size_asked_for() -> None:
    assert train_tokenizer("none", 257).get_vocab_size() == 257
    tokenizer = train_tokenizer("aa aa aa bb bb", 259)
    assert tokenizer.get_vocab_size() == 259
    assert tokenizer.encode("aa aa").tokens == ["aa", "Ġ", "aa"]  # " " is a token of its own here, and no one precedes the text
    assert tokenizer.encode(f"a{END}b").tokens == ["a", END, "b"]


def test_the_vocabulary_is_lossless_on_any_text() -> None:
    tokenizer = train_tokenizer("the quick brown fox jumps over a lazy dog " * 20, 300)
    text = "".join(chr(code) for code in range(1, 0x800)) + "漢字🦊 \r\n\t  end "
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_bits_per_byte_of_sixteen_equal_choices() -> None:
    """Three tokens of 4 bits each, over 24 bytes, are half a bit a byte; the end token, which starts the part, is free."""
    ids = np.zeros(4, np.int64)
    corpus = Corpus(np.zeros(99, np.int64), ids, held_out_bytes=24)
    assert corpus.bits_per_byte(log(16)) == pytest.approx(0.5, rel=1e-12)  # two roundings of a double


@pytest.mark.parametrize(("train", "held_out"), [(21, 11), (21, 99), (99, 11)])
def test_a_corpus_holds_windows_of_10_where_two_of_them_and_one_have_something_to_predict(train: int, held_out: int) -> None:
    Corpus(np.zeros(train, np.int64), np.zeros(held_out, np.int64), 1).must_hold(10)
    for short in ((20, held_out), (train, 10)):
        with pytest.raises(BadArgument, match="windows of 10 need 20 and 10"):
            Corpus(np.zeros(short[0], np.int64), np.zeros(short[1], np.int64), 1).must_hold(10)


@pytest.mark.parametrize(("tokens", "context"), [(1000, 10), (21, 10), (30, 10), (31, 10), (40, 1), (64, 3)])
def test_every_epoch_visits_every_window_once(tokens: int, context: int) -> None:
    ids = np.arange(tokens) + 5
    windows = (tokens - 1) // context - 1  # the most that fit behind any offset below the context
    starts = []
    for step in range(60 * windows):
        (window,) = training_batch(ids, step, batch=1, context=context, seed=1)
        assert window.tolist() == list(range(window[0], window[0] + context + 1))  # a piece of the text, and the token after it
        starts.append(int(window[0]) - 5)
    epochs = [starts[index : index + windows] for index in range(0, len(starts), windows)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(min(epoch), min(epoch) + context * windows, context))
        assert 0 <= min(epoch) < context
    # 60 offsets and 60 orders: that one of at most 10 offsets is missing has a chance below 2 % before the seed was fixed
    assert {min(epoch) for epoch in epochs} == set(range(context))
    if windows > 2:
        assert len({tuple(start - min(epoch) for start in epoch) for epoch in epochs}) > 1


def test_a_batch_is_the_next_windows_across_the_end_of_an_epoch_too() -> None:
    ids = np.arange(50)
    options = {"context": 7, "seed": 3}
    one_by_one = [training_batch(ids, step, batch=1, **options)[0] for step in range(12)]
    for step in range(3):
        assert np.array_equal(training_batch(ids, step, batch=4, **options), one_by_one[4 * step : 4 * step + 4])
    assert not np.array_equal(training_batch(ids, 0, batch=4, context=7, seed=4), one_by_one[:4])


def naive_trigram(train: Sequence[int], context: tuple[int, ...], token: int, vocab: int, discount: Fraction) -> Fraction:
    """P(token | context) by Ney, Essen and Kneser: count, give up `discount` a kind, spread it by a shorter context."""
    lower = naive_trigram(train, context[1:], token, vocab, discount) if context else Fraction(1, vocab)
    order = len(context)
    after = [train[i + order] for i in range(len(train) - order) if tuple(train[i : i + order]) == context]
    if not after:
        return lower
    kept = max(after.count(token) - discount, Fraction(0))
    return (kept + discount * len(set(after)) * lower) / len(after)


@pytest.mark.parametrize("discount", [Fraction(3, 4), Fraction(1, 4), Fraction(3, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_the_trigram_is_the_interpolated_one(seed: int, discount: Fraction) -> None:
    rng = np.random.default_rng(seed)
    train, held_out = rng.integers(0, 5, 40), np.array([1, *rng.integers(0, 6, 25), 6])  # 5 and 6 are new
    sequence = held_out.tolist()
    law = [
        naive_trigram(train.tolist(), tuple(sequence[max(0, at - 2) : at]), sequence[at], 7, discount)
        for at in range(1, len(sequence))
    ]
    expected = -sum(log(probability) for probability in law) / len(law)
    found = trigram_loss(train, held_out, discount=float(discount))
    assert found == pytest.approx(expected, rel=1e-12)  # some hundred roundings of doubles
    if discount == Fraction(3, 4):
        assert trigram_loss(train, held_out) == found


def test_the_trigram_by_hand() -> None:
    """Training text 0 1 0 1; P(0 | 1) and P(1 | 1 0) from the counts, discount 3/4.

    Unigram: 0 and 1 twice each, so (2 - 3/4 + 3/4 * 2 * 1/2) / 4 = 1/2. Bigram: 1 was followed by 0 alone, once:
    (1 - 3/4) + 3/4 * 1/2 = 5/8; 0 by 1 alone, twice: (2 - 3/4 + 3/4 * 1/2) / 2 = 13/16. Trigram: 1 0 by 1, once:
    1/4 + 3/4 * 13/16 = 55/64.
    """
    expected = -(log(5 / 8) + log(55 / 64)) / 2
    assert trigram_loss(np.array([0, 1, 0, 1]), np.array([1, 0, 1])) == pytest.approx(expected, rel=1e-12)  # roundings


def test_the_trigram_is_a_law() -> None:
    rng = np.random.default_rng(0)
    train, context = rng.integers(0, 7, 500), [1, 2, 3]
    losses = [trigram_loss(train, np.array([*context, last])) * 3 for last in range(7)]
    shared = trigram_loss(train, np.array(context)) * 2
    # a vocabulary of 7: the floor's uniform law is over the ids that occur, here all of them
    assert sum(np.exp(shared - loss) for loss in losses) == pytest.approx(1)
