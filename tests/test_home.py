"""Where a model is found, and what of its folder decides where its texts end."""

import json
from pathlib import Path

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder

import refspec
from refspec.errors import BadArgument, BadConfig, ContextExceeded, ModelNotFound
from refspec.models import home
from refspec.models.model import end_tokens


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working folder, an empty home, and no variable that moves it."""
    for name in ("REFSPEC_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "user").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path / "here")


def test_home_is_what_was_chosen_or_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert home.home() == tmp_path / "user" / ".cache" / "refspec"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert home.home() == tmp_path / "user" / ".cache" / "refspec"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home.home() == tmp_path / "cache" / "refspec"
    monkeypatch.setenv("REFSPEC_HOME", "")
    assert home.home() == tmp_path / "cache" / "refspec"
    monkeypatch.setenv("REFSPEC_HOME", str(tmp_path / "chosen"))
    assert home.home() == tmp_path / "chosen"
    monkeypatch.setenv("REFSPEC_HOME", "~/models")
    assert home.home() == tmp_path / "user" / "models"
    monkeypatch.setenv("REFSPEC_HOME", "~no-such-user/models")
    with pytest.raises(BadArgument, match="there is no such user"):
        home.home()


def test_a_folder_goes_before_a_name_and_the_package_before_what_was_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REFSPEC_HOME", str(tmp_path / "home"))
    package = Path(refspec.__file__).parent / "embedded"
    fetched = home.folder_of("tiny-target")
    fetched.mkdir(parents=True)
    assert home.find("tiny-target") == package / "tiny-target"
    assert home.find("tiny-draft") == package / "tiny-draft"
    Path("tiny-target").touch()  # a file is no folder
    assert home.find("tiny-target") == package / "tiny-target"
    Path("tiny-target").unlink()
    Path("tiny-target").mkdir()
    assert home.find("tiny-target") == Path("tiny-target")
    (tmp_path / "user" / "mine").mkdir()
    assert home.find("~/mine") == tmp_path / "user" / "mine"
    assert home.find(Path("tiny-target")) == Path("tiny-target")


def test_a_fetched_model_is_found_by_its_name_and_another_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REFSPEC_HOME", str(tmp_path / "home"))
    with pytest.raises(ModelNotFound, match=r"gpt2 is not on this machine .* python -m weights_tools fetch gpt2$"):
        home.find("gpt2")
    with pytest.raises(ModelNotFound, match=r"a/b/c is neither a folder nor a known model; .*tiny-target.*gpt2"):
        home.find("a/b/c")
    assert home.folder_of("a/b/c") == tmp_path / "home" / "models" / "a--b--c"
    for name in ("gpt2", "a/b/c"):
        home.folder_of(name).mkdir(parents=True)
        assert home.find(name) == home.folder_of(name)


@pytest.mark.parametrize(
    ("generation", "config", "ids"),
    [
        (None, {}, ()),
        (None, {"eos_token_id": None}, ()),
        (None, {"eos_token_id": 0}, (0,)),
        (None, {"eos_token_id": [7, 5]}, (7, 5)),
        ({}, {"eos_token_id": 5}, (5,)),
        ({"eos_token_id": None}, {"eos_token_id": 5}, (5,)),
        ({"eos_token_id": 3}, {"eos_token_id": 5}, (3,)),
        ({"eos_token_id": 0}, {"eos_token_id": 5}, (0,)),
        ({"eos_token_id": [3, 4]}, {"eos_token_id": 5}, (3, 4)),
        ({"eos_token_id": []}, {"eos_token_id": 5}, ()),
        ({"eos_token_id": 3}, {"eos_token_id": "</s>"}, (3,)),
    ],
)
def test_which_file_says_where_a_text_ends(generation: dict | None, config: dict, ids: tuple[int, ...], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    assert end_tokens(tmp_path, None, 300) == ids


def test_the_end_tokens_of_a_folder_end_the_text(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    tokens = refspec.generate(refspec.load(folder), "x", max_new_tokens=20, stop=()).tokens
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [tokens[9], tokens[4]]}))
    out = refspec.generate(refspec.load(folder), "x", max_new_tokens=20)
    first = min(tokens.index(tokens[9]), tokens.index(tokens[4]))
    assert (out.tokens, out.finish_reason) == (tokens[: first + 1], "stop")


def test_the_logits_of_a_text_are_those_of_the_model_without_a_memory(tmp_path: Path) -> None:
    model = refspec.load(write_folder(tmp_path / "model", {**LLAMA, "max_position_embeddings": 8}))
    assert model.name == "model"
    assert model.logits([65] * 8).shape == (8, 264)
    with pytest.raises(ContextExceeded, match=r"9 tokens were given to a model with a context of 8"):
        model.logits([65] * 9)
    with pytest.raises(BadArgument, match="logits of no tokens"):
        model.logits([])
    assert model.logits([0, 263]).shape == (2, 264)
    for wrong in (-1, 264):
        with pytest.raises(BadArgument, match=f"token id {wrong} is not in the vocabulary"):
            model.logits([0, wrong])
    first = model.logits([1, 2, 3])
    model.logits([3, 2, 1])
    assert np.array_equal(model.logits([1, 2, 3]), first)


def test_a_tokenizer_fits_a_vocabulary_that_is_as_large_or_larger(tmp_path: Path) -> None:
    assert refspec.load(write_folder(tmp_path / "same", {**GPT2, "vocab_size": 259})).language_model().vocab_size == 259
    with pytest.raises(BadConfig, match=r"eos_token_id is 258; with vocab_size 258, ids run from 0 to 257"):
        refspec.load(write_folder(tmp_path / "less", {**GPT2, "vocab_size": 258}))


def test_a_model_has_the_name_of_its_folder_however_it_was_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", tokenizer=False)
    monkeypatch.chdir(folder)
    assert refspec.load(".").name == refspec.load(str(folder)).name == "mine"
    assert refspec.load(folder).token_map is None
