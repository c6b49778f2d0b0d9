"""Text as it comes, and where a stop text ends it: against decoding everything anew after every token."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from folders import LLAMA, write_folder
from hypothesis import strategies as st
from tokenizers_like import BYTES, KINDS, PIECES

import refspec
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.decoding.round import Round
from refspec.errors import BadArgument
from refspec.generate import Run
from refspec.given import as_stop
from refspec.models.cached_lm import common_prefix
from refspec.models.streaming import Stream
from refspec.models.tokenizer import Tokenizer

TOKENIZERS: dict[str, Tokenizer] = {}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    name = request.param
    if name not in TOKENIZERS:
        TOKENIZERS[name] = Tokenizer(KINDS[name](tmp_path_factory.mktemp(name)))
    return TOKENIZERS[name]


def by_force(tokenizer: Tokenizer, prompt: Tokens, tokens: Tokens, stop: Sequence[str]) -> tuple[str, int]:
    """(text, how many tokens are kept): all is decoded after every token, and searched."""
    before, text = tokenizer.decode(prompt), ""
    for kept in range(1, len(tokens) + 1):
        text = tokenizer.decode(prompt + tokens[:kept])
        text = text[common_prefix(before, text) :]
        if ends := [(text.index(each) + len(each), text.index(each)) for each in stop if each in text]:
            return text[: min(ends)[1]], kept
    return text, len(tokens)


def streamed(tokenizer: Tokenizer, prompt: Tokens, tokens: Tokens, stop: Sequence[str]) -> tuple[list[str], int]:
    stream, pieces = Stream(tokenizer, prompt, stop), []
    for token in tokens:
        pieces.append(stream.push(token))
        if stream.stopped:
            break
    return [*pieces, stream.waiting], len(pieces)


@lru_cache
def ids_of(tokenizer: Tokenizer) -> st.SearchStrategy[Tokens]:
    """Characters of several bytes are common, also broken."""
    some = [i for i in map(tokenizer.token_map.get, (*PIECES, "<s>", "<tool>", "<|turn|>")) if i is not None]
    broken = [0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x0A, 0x20, 0x41, 0xFF]
    some += [i for byte in broken if (i := tokenizer.token_map.get(BYTES[byte])) is not None]
    some += broken if tokenizer.token_of(0xC3) == "Ã" else []
    return st.lists(st.sampled_from(some) | st.sampled_from(sorted(tokenizer.token_map.values())), max_size=12).map(tuple)


@st.composite
def texts(draw: st.DrawFn, tokenizer: Tokenizer) -> tuple[Tokens, Tokens, list[str]]:
    """A prompt, tokens, and stop texts, most of which are in the text."""
    prompt, tokens = draw(ids_of(tokenizer)), draw(ids_of(tokenizer))
    whole = tokenizer.decode(prompt + tokens)
    places = st.tuples(st.integers(0, len(whole)), st.integers(1, 4))
    parts = st.lists(places.map(lambda at: whole[at[0] : at[0] + at[1]]).filter(bool), max_size=3) if whole else st.just([])
    return prompt, tokens, draw(parts)


@hypothesis.given(st.data())
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_pieces_concatenate_to_the_text_that_a_search_of_the_whole_finds(kind: Tokenizer, data: st.DataObject) -> None:
    prompt, tokens, stop = data.draw(texts(kind))
    pieces, kept = streamed(kind, prompt, tokens, stop)
    assert ("".join(pieces), kept) == by_force(kind, prompt, tokens, stop)
    assert not any(each in "".join(pieces) for each in stop)


@hypothesis.given(st.data())
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_prompt_and_text_are_what_their_tokens_decode_to(kind: Tokenizer, data: st.DataObject) -> None:
    """Unless the tokens complete a character that the prompt left incomplete, which no text behind it could mend."""
    prompt, tokens, _ = data.draw(texts(kind))
    before, whole = kind.decode(prompt), kind.decode(prompt + tokens)
    hypothesis.assume(whole.startswith(before))
    assert before + "".join(streamed(kind, prompt, tokens, ())[0]) == whole


def test_a_long_text_is_decoded_in_short_windows(kind: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a prompt of any length; but for the one whose text may change to the end."""
    decoded: list[int] = []
    real = Tokenizer.decode

    def decode(self: Tokenizer, ids: Sequence[int]) -> str:
        decoded.append(len(ids))
        return real(self, ids)

    monkeypatch.setattr(Tokenizer, "decode", decode)
    word = kind.token_map["a"]
    stream = Stream(kind, [word] * 1000)
    shown = "".join(stream.push(word) for _ in range(100))
    assert max(decoded) <= 1100
    assert (sum(each > 20 for each in decoded) < 6) == (shown != "")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, refspec.Model]:
    """A random model behind each tokenizer."""
    made = {}
    config = {**LLAMA, "vocab_size": 320, "num_hidden_layers": 1}
    for seed, (name, write) in enumerate(KINDS.items()):
        folder = write_folder(tmp_path_factory.mktemp(name), config, seed=seed, tokenizer=False)
        made[name] = refspec.load(write(folder))
    return made


class Guesses:
    """Drafts what it was told that the text will be, with a wrong guess now and then."""

    state = None

    def __init__(self, text: Tokens, wrong: int) -> None:
        self.text, self.wrong = text, wrong

    def propose(self, tokens: Tokens, gamma: int, chance: object) -> Draft:
        coming = self.text[len(tokens) : len(tokens) + gamma]
        return Draft(tuple(0 if (len(tokens) + i) % self.wrong == 0 else token for i, token in enumerate(coming)))


@pytest.mark.parametrize("name", KINDS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_a_stop_text_cuts_the_text_and_changes_nothing_before(
    models: dict[str, refspec.Model], name: str, data: st.DataObject
) -> None:
    """Plainly, and speculatively with drafts that are right, wrong, and both: the same rounds, the last one cut."""
    model = models[name]
    assert model.tokenizer is not None
    prompt = data.draw(ids_of(model.tokenizer)) or (3,)
    asked = {
        "max_new_tokens": 24,
        "seed": data.draw(st.integers(0, 9)),
        "temperature": data.draw(st.sampled_from([0, 1.0])),
        "gamma": 4,
    }
    guessed = refspec.generate(model, prompt, stop=(), **asked)
    at, wrong = data.draw(st.integers(0, 20)), data.draw(st.sampled_from([None, 2, 3, 1000]))
    drafter = wrong and Guesses(prompt + guessed.tokens, wrong)
    whole = refspec.generate(model, prompt, stop=(), drafter=drafter, **asked)
    assert whole.text is not None
    stop = [text for text in (whole.text[at : at + data.draw(st.integers(1, 4))],) if text]
    text, kept = by_force(model.tokenizer, prompt, whole.tokens, stop)

    run = refspec.stream(model, prompt, stop=stop, drafter=drafter, **asked)
    assert "".join(piece.text for piece in run) == text
    out = run.output
    assert (out.text, out.tokens, out.finish_reason) == (text, whole.tokens[:kept], "stop" if stop else "length")
    assert out.rounds[:-1] == whole.rounds[: len(out.rounds) - 1]
    assert out.rounds[-1].draft_tokens + out.rounds[-1].cut == whole.rounds[len(out.rounds) - 1].draft_tokens
    assert out.stats.tokens == kept == len(out.texts)
    assert (run.rest(), list(run), run.output) == ("", [], out)  # it does not go on


def run_of(*rounds: Round, tokenizer: Tokenizer | None, **options: Any) -> Run:
    most = sum(len(each.tokens) for each in rounds)
    return Run(
        iter(rounds),
        prompt=(65,),
        tokenizer=tokenizer,
        **{"most": most, "stop": (), "at_end": "length", "exact": True, **options},
    )


@pytest.fixture
def letters(tmp_path: Path) -> Tokenizer:
    """In which an id is a byte."""
    return Tokenizer(KINDS["byte_level"](tmp_path))


def test_the_last_piece_has_what_was_waiting(letters: Tokenizer) -> None:
    found = Round((), 0, 65), Round((), 0, "€".encode()[0])
    run = run_of(*found, tokenizer=letters)
    pieces = iter(run)
    assert [next(pieces).text, run.rest(), next(pieces).text, run.rest()] == ["A", "", "\ufffd", ""]
    assert (run.output.text, run.output.texts) == ("A\ufffd", ("A", "\ufffd"))
    broken_off = run_of(*found, tokenizer=letters, most=3, stop_texts=["AB"])
    assert [next(iter(broken_off)).text, broken_off.rest(), broken_off.output.text] == ["", "A", "A"]
    without = run_of(*found, tokenizer=None)
    assert [piece.text for piece in without] == ["", ""]
    assert (without.rest(), without.output.text, without.output.texts) == ("", None, ())


def test_a_round_is_cut_at_a_stop_text_as_at_a_stop_token(letters: Tokenizer) -> None:
    """N9: the token that completes it is the last; what was drafted from it on is the cut."""
    for stop, texts, kept in (
        ("bc", ["a", "", ""], Round((97, 98), 2, 99, cut=(99, 100))),
        ("d", ["a", "b", "c", ""], Round((97, 98, 99), 3, 100, cut=(100,))),
        ("e", ["a", "b", "c", "d", ""], Round((97, 98, 99, 100), 4, 101)),
        ("xe", ["a", "b", "c", "d", "e"], Round((97, 98, 99, 100), 4, 101)),
    ):
        run = run_of(Round((97, 98, 99, 100), 4, 101), Round((), 0, 102), tokenizer=letters, stop_texts=[stop], most=5)
        assert [(piece.round, list(piece.texts)) for piece in run] == [(kept, texts)]
        assert run.output.finish_reason == ("length" if stop == "xe" else "stop")
    already = Round((97,), 1, 98, cut=(98, 99))  # at a stop token, behind the stop text
    (piece,) = run_of(already, tokenizer=letters, stop_texts=["a"], stop=(98,))
    assert piece.round == Round((), 0, 97, cut=(97, 98, 99))


@pytest.mark.parametrize(
    ("pieces", "stop", "text"),
    [
        (("a", "bc", "d"), ["cd"], "ab"),
        (("abcd",), ["bc"], "a"),  # in the middle of a token
        (("abcd",), ["abcd", "bc"], "a"),  # the first to end
        (("abcd",), ["c", "bc"], "a"),  # of two that end together, the longer
        (("ab", "ab", "x"), ["abx"], "ab"),  # what was held back was not one, but a part of it is the next
        (("a", "\n"), ["\n\n"], "a\n"),
        (("a", "\n", "\n", "b"), ["\n\n"], "a"),
        (("a",), ["a"], ""),
    ],
)
def test_a_stop_text_stops_where_its_characters_end(pieces: tuple[str, ...], stop: list[str], text: str) -> None:
    class Pieces:
        decoder = None

        def token_of(self, token: int) -> str:
            return pieces[token]

        def decode(self, ids: Sequence[int]) -> str:
            return "".join(pieces[i] for i in ids)

    shown, _ = streamed(Pieces(), (), tuple(range(len(pieces))), stop)  # type: ignore[arg-type]
    assert "".join(shown) == text


def test_a_stop_text_in_the_prompt_does_nothing(letters: Tokenizer) -> None:
    assert streamed(letters, tuple(b"ab"), tuple(b"bc"), ["ab", "bb"]) == (["", "bc", ""], 2)


def test_a_special_token_as_stop_text_is_its_id(models: dict[str, refspec.Model]) -> None:
    model = models["byte_fallback"]
    assert as_stop(["</s>", 5, ".", "<tool>"], model) == ((1, 5), (".", "<tool>"))
    assert as_stop("a\n", model) == ((), ("a\n",))
    assert as_stop(iter([5, "a"]), model) == ((5,), ("a",))
    for stop in ("", "a</s>", ["\udc80"], [""]):
        with pytest.raises(BadArgument, match="stop is"):
            as_stop(stop, model)


def test_a_full_stop_and_a_newline_stop_a_llama_2(models: dict[str, refspec.Model]) -> None:
    """Whose vocabulary has a "." behind a space and one without, and no newline but a byte."""
    tokenizer = models["byte_fallback"].tokenizer
    assert tokenizer is not None
    ids = tuple(tokenizer.token_map[each] for each in ("▁is", "▁Paris", ".", "<0x0A>", "a"))
    for stop, shown, kept in ((".", " Paris", 2), ("\n", " Paris.", 3), (".\n", " Paris", 3)):
        pieces, count = streamed(tokenizer, ids[:1], ids[1:], [stop])
        assert ("".join(pieces), count) == (shown, kept)


def test_one_broken_run_of_bytes_does_not_silence_what_follows(models: dict[str, refspec.Model]) -> None:
    tokenizer = models["byte_fallback"].tokenizer
    assert tokenizer is not None
    ids = [tokenizer.token_map[each] for each in ("a", "<0xC3>", "<0xA9>", "<0xE2>", "b", "▁a")]
    assert streamed(tokenizer, (), tuple(ids), ())[0] == ["a", "", "", "", "\ufffd\ufffd\ufffdb", " a", ""]
