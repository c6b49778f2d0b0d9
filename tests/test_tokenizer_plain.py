"""The byte-level BPE in plain Python beside the `tokenizers` library: the same ids, the same texts, and refusals by name."""

import copy
import subprocess
import sys
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refspec.errors import BadTokenizer
from refspec.files import read_json
from refspec.models import home
from refspec.models.tokenizer_library import Library, switched_off
from refspec.models.tokenizer_plain import GPT2, LLAMA3, QWEN2, Plain

TINY = read_json(home.find("tiny-target") / "tokenizer.json")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def added(i: int, content: str, **flags: bool) -> dict[str, Any]:
    off = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": i, "content": content, **off, **flags}


def split(pattern: str) -> dict[str, Any]:
    by_pattern = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [by_pattern, {**BYTES, "use_regex": False}]}}


def digits(alone: bool) -> dict[str, Any]:
    cut = {"type": "Digits", "individual_digits": alone}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, BYTES]}}


def model(**parts: Any) -> dict[str, Any]:
    return {"model": TINY["model"] | parts}


NAMES = ("<|endoftext|>", "<|im|>", "<|im|><|x|>", "<tool>", " the", "é")
ADDED = [
    added(0, NAMES[0]),
    added(1024, NAMES[1]),
    added(1025, NAMES[2], special=False),
    added(1026, NAMES[3], special=False, normalized=True),
    added(1027, NAMES[4], special=False),
    added(1028, NAMES[5], special=False, normalized=True),
]
BEGIN = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<|im|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<|im|>": {"id": "<|im|>", "ids": [1024], "tokens": ["<|im|>"]}},
}
LACKING = {
    "vocab": {token: i for token, i in TINY["model"]["vocab"].items() if token not in "âÃ©" and not {*"âÃ©"} & {*token}},
    "merges": [pair for pair in TINY["model"]["merges"] if not {*"âÃ©"} & {*"".join(pair)}],
}
WHOLE = model(ignore_merges=True, merges=TINY["model"]["merges"][:-400])  # words that no merge makes
KINDS: dict[str, dict[str, Any]] = {
    "tiny pair": {},
    "digits one by one, as SmolLM2": digits(True),
    "digits together": digits(False),
    "Llama 3": {**split(LLAMA3), **WHOLE, "added_tokens": ADDED, "post_processor": BEGIN},
    "Llama 3, both processors": {"added_tokens": ADDED, "post_processor": {"type": "Sequence", "processors": [BYTES, BEGIN]}},
    "Qwen 2": {**split(QWEN2), "normalizer": {"type": "NFC"}, "added_tokens": ADDED},
    "GPT-2, its pattern written out": split(GPT2),
    "merges as texts": model(merges=[" ".join(pair) for pair in TINY["model"]["merges"]]),
    "no words": {"pre_tokenizer": {**BYTES, "use_regex": False}},
    "a vocabulary that lacks bytes": model(**LACKING),
}


@lru_cache
def both(kind: str, split_special: bool = False) -> tuple[Library, Plain]:
    parts = TINY | KINDS[kind]
    name = "tokenizer.json"
    return Library(parts, name, split_special=split_special), Plain(switched_off(parts), name, split_special=split_special)


# Pieces at which tokenizers cut, and characters of every kind that this Python's Unicode knows.
WORDS = "'s 'LL '\u017f \u017f \u212a 1234 ½ ²x e\u0301 \u200b Romeo aaaa \U0001f600 \ufffd 日本 \u0939\u093f ... <|im |> don't"
SPACES = (" speak", "\r\n", "  ", "\t", "\x1c", "\x85", "\u3000", "\0")
PIECES = st.sampled_from([*NAMES, *WORDS.split(), *SPACES])
CHARACTERS = st.characters(exclude_categories=["Cs", "Cn"])
TEXTS = st.lists(PIECES | st.text(CHARACTERS, max_size=3), max_size=12).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS, special=st.booleans(), split_special=st.booleans())
@example("ROMEO speak <|im|>", True, False)  # words that some vocabularies have whole
@settings(max_examples=60)
def test_the_ids_are_the_librarys(kind: str, text: str, special: bool, split_special: bool) -> None:
    library, plain = both(kind, split_special)
    assert plain.encode(text, special=special) == library.encode(text, special=special)


@pytest.mark.parametrize("kind", KINDS)
@given(ids=st.lists(st.integers(0, 1030), max_size=20))
@settings(max_examples=30)
def test_the_texts_are_the_librarys(kind: str, ids: list[int]) -> None:
    """Of any ids: halves of characters, added tokens and ids that there are not."""
    library, plain = both(kind)
    assert plain.decode(ids) == library.decode(ids)
    assert [plain.token_of(i) for i in ids] == [library.token_of(i) for i in ids]
    assert plain.ids == library.ids


def agree_on(characters: list[str]) -> None:
    """In words of their own: letters join letters, numbers numbers, others others."""
    library, plain = both("tiny pair")
    for start in range(0, len(characters), 5_000):
        text = "".join(f"a{each}1{each}.{each}" for each in characters[start : start + 5_000])
        assert plain.encode(text, special=False) == library.encode(text, special=False)


def known() -> list[str]:
    return [chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) not in ("Cs", "Cn")]


def test_characters_are_of_the_librarys_kinds() -> None:
    """The first of each run of characters of one category, up to which the tables can differ."""
    kinds = [unicodedata.category(each) for each in known()]
    agree_on([each for each, kind, before in zip(known(), kinds, ["", *kinds], strict=False) if kind != before])


@pytest.mark.nightly
def test_every_character_is_of_the_librarys_kind() -> None:
    agree_on(known())


def test_a_character_that_is_unknown_is_refused() -> None:
    with pytest.raises(BadTokenizer, match=r"U\+0378 is no character of Unicode \d+"):
        both("tiny pair")[1].encode("a\u0378", special=False)


def test_a_long_word_takes_no_square_of_its_length() -> None:
    """40,000 letters in a word: some 0.2 seconds; minutes, if each merge looked at all of them."""
    library, plain = both("tiny pair")
    word = "the" * 13_333
    assert plain.encode(word, special=False) == library.encode(word, special=False)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another algorithm": (model(type="WordPiece"), "model.type = 'WordPiece'"),
    "a key of the future": (model(dropout_kind="all"), "model.dropout_kind = 'all'"),
    "a suffix": (model(end_of_word_suffix="</w>"), "model.end_of_word_suffix = '</w>'"),
    "an unknown token": (model(**LACKING, unk_token="a"), "lacks a byte"),
    "a normalizer": ({"normalizer": {"type": "Lowercase"}}, "normalizer = \"{'type': 'Lowercase'}\""),
    "a prefix space": ({"pre_tokenizer": {**BYTES, "add_prefix_space": True}}, "ByteLevel.add_prefix_space = 'True'"),
    "no pre-tokenizer": ({"pre_tokenizer": None}, "pre-tokenizer None"),
    "another pre-tokenizer": ({"pre_tokenizer": {"type": "Metaspace"}}, "Metaspace"),
    "a pattern of one's own": (split(r"\w+"), r"\w"),
    "bytes first": ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES, BYTES]}}, "ByteLevel"),
    "another processor": ({"post_processor": {"type": "RobertaProcessing"}}, "RobertaProcessing"),
    "another decoder": ({"decoder": {"type": "WordPiece"}}, "decoder.type = 'WordPiece'"),
    "a greedy token": ({"added_tokens": [added(1024, "<x>", lstrip=True)]}, "added_tokens.lstrip = 'True'"),
    "a merge of nothing": (model(merges=[["Q", "Q"]]), "vocabulary lacks"),
    "no model": ({"model": None}, "cannot be read"),
    "merges of three": (model(merges=["a b c"]), "cannot be read"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_known_is_refused_by_name(what: str) -> None:
    parts, said = REFUSED[what]
    with pytest.raises(BadTokenizer) as caught:
        Plain(copy.deepcopy(TINY | parts), "tokenizer.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


WALL = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tokenizers":
            raise ImportError(f"{name} is behind the wall")
sys.meta_path.insert(0, Wall())
"""


def test_without_the_library_a_generation_is_the_same() -> None:
    program = """
import refspec
out = refspec.generate("tiny-target", "ROMEO:", drafter="tiny-draft", max_new_tokens=24, seed=1)
print(ascii(out.text), out.tokens, type(out.tokenizer._library).__name__)
"""
    with_it, without = (
        subprocess.run([sys.executable, "-c", wall + program], check=True, capture_output=True, text=True).stdout
        for wall in ("", WALL)
    )
    assert with_it.endswith("Library\n")
    assert without.endswith("Plain\n")
    assert with_it.replace("Library", "Plain") == without


@pytest.mark.real
@given(text=TEXTS, special=st.booleans())
@settings(max_examples=2000, deadline=None)
def test_smollm2s_ids_are_the_librarys(smollm2_folder: Path, text: str, special: bool) -> None:
    library, plain = smollm2(smollm2_folder)
    ids = library.encode(text, special=special)
    assert plain.encode(text, special=special) == ids
    assert plain.decode(ids) == library.decode(ids)


@lru_cache
def smollm2(folder: Path) -> tuple[Library, Plain]:
    parts = read_json(folder / "tokenizer.json")
    return Library(parts, "tokenizer.json"), Plain(switched_off(parts), "tokenizer.json")
