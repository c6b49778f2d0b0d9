"""Who wins where two files of a model disagree: each pair of files, and the ids that end a text."""

import json
from pathlib import Path
from typing import Any

import pytest
from folders import LLAMA, write_folder, write_tokenizer
from hypothesis import given
from hypothesis import strategies as st

import refspec
from refspec.errors import BadConfig, BadTokenizer
from refspec.models.model import end_tokens
from refspec.models.special_tokens import added_tokens, names, vocabulary
from refspec.models.tokenizer import Tokenizer

SPECIAL = ("<s>", "<t>", "</s>")  # 256, 257, 258


def folder(path: Path, config: Any = None, special_map: Any = None, added: Any = None, **changed: Any) -> Path:
    """A byte-level tokenizer of 259 tokens, with these files beside it, and these parts of tokenizer.json changed."""
    write_tokenizer(path, special=SPECIAL)
    settings = json.loads((path / "tokenizer.json").read_text())
    (path / "tokenizer.json").write_text(json.dumps(settings | changed))
    (path / "tokenizer_config.json").unlink()
    for name, value in (("tokenizer_config", config), ("special_tokens_map", special_map), ("added_tokens", added)):
        if value is not None:
            (path / f"{name}.json").write_text(json.dumps(value))
    return path


def token(content: str, i: int | None = None, **flags: Any) -> dict[str, Any]:
    plain = {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return plain | ({} if i is None else {"id": i}) | flags


# (what it shows, the files, then: the ids of "a<im>b", their text, the name of the end token)
NOT_ADDED = [97, 60, 105, 109, 62, 98]
PAIRS = [
    ("in no file", {}, NOT_ADDED, "a<im>b", None),
    ("only in added_tokens_decoder", {"config": {"added_tokens_decoder": {"259": token("<im>")}}}, [97, 259, 98], "ab", None),
    ("not special there", {"config": {"added_tokens_decoder": {"259": token("<im>", special=False)}}}, [97, 259, 98], "a<im>b",
     None),
    ("only in added_tokens.json", {"added": {"<im>": 259}}, [97, 259, 98], "a<im>b", None),
    ("named too, so special", {"added": {"<im>": 259}, "config": {"eos_token": "<im>"}}, [97, 259, 98], "ab", "<im>"),
    ("added_tokens_decoder is there, so added_tokens.json is not read",
     {"added": {"<im>": 259}, "config": {"added_tokens_decoder": {}}}, NOT_ADDED, "a<im>b", None),
    ("named and nowhere else", {"config": {"eos_token": "<im>"}}, [97, 259, 98], "ab", "<im>"),
    ("named with its flags", {"config": {"eos_token": token("<im>")}}, [97, 259, 98], "ab", "<im>"),
    ("named in special_tokens_map.json", {"special_map": {"eos_token": "<im>"}}, [97, 259, 98], "ab", "<im>"),
    ("which wins over tokenizer_config.json",
     {"config": {"eos_token": "</s>"}, "special_map": {"eos_token": "<im>"}}, [97, 259, 98], "ab", "<im>"),
    ("but not beside an added_tokens_decoder",
     {"config": {"eos_token": "</s>", "added_tokens_decoder": {}}, "special_map": {"eos_token": "<im>"}}, NOT_ADDED, "a<im>b",
     "</s>"),
    ("in a list", {"config": {"extra_special_tokens": ["<im>"]}}, [97, 259, 98], "ab", None),
    ("in the list's older name", {"config": {"additional_special_tokens": ["<im>"]}}, [97, 259, 98], "ab", None),
    ("with a name of its own", {"config": {"extra_special_tokens": {"image_token": "<im>"}}}, [97, 259, 98], "ab", None),
    ("special in one, not in the other",
     {"added_tokens": [*(token(each, 256 + i) for i, each in enumerate(SPECIAL)), token("<im>", 259)],
      "config": {"added_tokens_decoder": {"259": token("<im>", special=False)}}}, [97, 259, 98], "ab", None),
    ("and the other way round",
     {"added_tokens": [*(token(each, 256 + i) for i, each in enumerate(SPECIAL)), token("<im>", 259, special=False)],
      "config": {"added_tokens_decoder": {"259": token("<im>")}}}, [97, 259, 98], "ab", None),
]  # fmt: skip


@pytest.mark.parametrize(("files", "ids", "text", "end"), [pair[1:] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_each_pair_of_files(files: dict[str, Any], ids: list[int], text: str, end: str | None, tmp_path: Path) -> None:
    tokenizer = Tokenizer(folder(tmp_path, **files))
    assert list(tokenizer.encode("a<im>b")) == ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.names.get("eos_token") == end


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config": {"added_tokens_decoder": {"300": token("<im>")}}}, r"'<im>' would be 259, and a file says 300"),
        ({"config": {"added_tokens_decoder": {"5": token("</s>")}}}, r"'</s>' is 258 in tokenizer.json and 5 in another file"),
        ({"config": {"added_tokens_decoder": {"5": token("<im>")}}}, r"'<im>' would be 259, and a file says 5"),
        ({"added": {"a": 12}}, r"'a' is 97 in tokenizer.json and 12 in another"),
        ({"config": {"added_tokens_decoder": []}}, "no object of tokens"),
        ({"config": {"added_tokens_decoder": {"x": token("<im>")}}}, "has a content and an id"),
        ({"added": {"<im>": "259"}}, "has a content and an id"),
        ({"added_tokens": {"<im>": 259}}, "added_tokens is no list"),
    ],
)
def test_ids_that_contradict_each_other_are_refused(files: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadTokenizer, match=message):
        Tokenizer(folder(tmp_path, **files))


contents = st.sampled_from(["<im>", "<x>", "<y>", "</s>", "a"])
flags = st.fixed_dictionaries({}, optional={"special": st.booleans(), "lstrip": st.booleans(), "normalized": st.booleans()})


@given(
    decoder=st.none() | st.dictionaries(contents, flags, max_size=3),
    named=st.dictionaries(st.sampled_from(["eos_token", "pad_token", "sep_token"]), contents, max_size=3),
    mapped=st.dictionaries(st.sampled_from(["eos_token", "unk_token"]), contents, max_size=2),
    more=st.lists(contents, unique=True, max_size=2),
)
def test_every_token_has_one_entry_and_the_id_that_the_files_say(
    decoder: dict[str, Any] | None, named: dict[str, str], mapped: dict[str, str], more: list[str]
) -> None:
    vocab = {"a": 0, "</s>": 1, "b": 2}
    config: dict[str, Any] = dict(named)
    said = {content: vocab.get(content, 3 + i) for i, content in enumerate(more if decoder is None else decoder)}
    if decoder is not None:
        config["added_tokens_decoder"] = {str(said[content]): {"content": content, **flag} for content, flag in decoder.items()}
    found = added_tokens({"model": {"vocab": vocab}}, config, mapped, {content: said.get(content, 99) for content in more})
    ids = {each["content"]: each["id"] for each in found}
    assert len(ids) == len(found) == len(set(ids.values()))
    assert {content: ids[content] for content in said} == said
    special = {each["content"] for each in found if each["special"]}
    assert set(names(config, mapped).values()) <= special
    assert all(content in special for content, flag in (decoder or {}).items() if flag.get("special", True))


def test_a_unigram_vocabulary_is_a_list_of_pieces() -> None:
    assert vocabulary({"model": {"vocab": [["a", -1.0], 3, ["b", -2.0]]}}) == {"a": 0, "b": 2}
    assert vocabulary({"model": None}) == vocabulary({}) == {}


# ---- the end of a text


@pytest.mark.parametrize(
    ("generation", "config", "tokenizer", "text", "chat"),
    [
        (5, 6, "</s>", (5,), (5, 258)),
        (None, 6, "</s>", (6,), (6, 258)),
        (None, None, "</s>", (258,), (258,)),
        (None, None, None, (), ()),
        ([258, 5], 6, "</s>", (258, 5), (258, 5)),
        ([], 6, "</s>", (), (258,)),
    ],
)
def test_what_ends_a_text_and_a_chat(
    generation: Any, config: Any, tokenizer: str | None, text: tuple[int, ...], chat: tuple[int, ...], tmp_path: Path
) -> None:
    write_folder(tmp_path, LLAMA | {"eos_token_id": config}, tokenizer=False)
    folder(tmp_path, config={} if tokenizer is None else {"eos_token": tokenizer})
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
    model = refspec.load(tmp_path)
    assert model.end_tokens == text
    assert model.chat_end_tokens == chat


@pytest.mark.parametrize("ids", [[259], -1, [3, 10_000]])
def test_an_end_token_that_cannot_be_drawn_is_refused(ids: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": ids}))
    with pytest.raises(BadConfig, match=r"with vocab_size 259, ids run from 0 to 258"):
        end_tokens(tmp_path, None, 259)


def test_a_chat_ends_at_the_tokenizer_s_end_token(tmp_path: Path) -> None:
    write_folder(tmp_path, LLAMA)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 5}))
    model = refspec.load(tmp_path)
    end = model.tokenizer.token_map[model.tokenizer.names["eos_token"]]
    spelt = [{"role": "user", "content": "Hi"}]
    for prompt, ends in (("Hi", {5}), (spelt, {5, end}), (model.tokenizer.chat(spelt), {5, end})):
        run = refspec.stream(model, prompt, max_new_tokens=1)
        assert set(run._stop) == ends


# ---- ids without a row


def test_an_added_token_beyond_the_embedding_is_never_drawn_nor_read(tmp_path: Path) -> None:
    write_folder(tmp_path, LLAMA | {"vocab_size": 259}, tokenizer=False)
    folder(tmp_path, config={"pad_token": "[PAD]"})
    model = refspec.load(tmp_path)
    assert model.tokenizer.token_map["[PAD]"] == 259
    assert model.vocab_size == model.language_model().vocab_size == 259
    assert "[PAD]" not in model.token_map
    with pytest.raises(refspec.errors.BadArgument, match="token id 259 is not in the vocabulary"):
        refspec.generate(model, "a[PAD]b", max_new_tokens=1)


def test_a_learnt_token_without_a_row_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, LLAMA | {"vocab_size": 250}, tokenizer=False)
    folder(tmp_path)
    with pytest.raises(BadConfig, match=r"has 6 tokens without a row.*not of one model"):
        refspec.load(tmp_path)


@pytest.mark.parametrize("with_tokenizer", ["target", "draft"])
def test_a_padded_model_and_one_without_a_tokenizer_are_of_one_vocabulary(with_tokenizer: str, tmp_path: Path) -> None:
    models = {}
    for name in ("target", "draft"):
        path = tmp_path / name
        write_folder(path, LLAMA | {"vocab_size": 264}, tokenizer=False)
        if name == with_tokenizer:
            folder(path)
        models[name] = refspec.load(path)
    out = refspec.generate(models["target"], (1, 2, 3), drafter=models["draft"], max_new_tokens=6, stop=())
    assert len(out.tokens) == 6
    other = refspec.load(write_folder(tmp_path / "other", LLAMA | {"vocab_size": 270}, tokenizer=False))
    with pytest.raises(refspec.errors.VocabularyMismatch, match="speculation needs one vocabulary"):
        refspec.generate(models["target"], (1, 2, 3), drafter=other, max_new_tokens=2)
