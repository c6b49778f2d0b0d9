"""The door to the `tokenizers` library: settings that change ids without being about text, and every way in which it fails."""

import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from folders import write_tokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers_like import KINDS

import refspec
from refspec.errors import BadTokenizer
from refspec.models.tokenizer import Tokenizer
from refspec.models.tokenizer_library import Library, quiet

TEXTS = ("", "a", "abab is Paris. ab", "é\n\n..", "<s>a</s>", "\U0001f600 x" * 30)


def changed(path: Path, **parts: Any) -> Path:
    file = path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))
    return path


TRUNCATION = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
PADDING = {
    "strategy": "BatchLongest",
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "a",
}
truncations = st.fixed_dictionaries(
    {"direction": st.sampled_from(["Left", "Right"]), "max_length": st.integers(0, 9), "stride": st.integers(0, 12),
     "strategy": st.sampled_from(["LongestFirst", "OnlyFirst", "OnlySecond"])}
)  # fmt: skip
paddings = st.builds(
    lambda strategy, multiple, side: PADDING | {"strategy": strategy, "pad_to_multiple_of": multiple, "direction": side},
    st.just("BatchLongest") | st.integers(0, 10**9).map(lambda size: {"Fixed": size}),
    st.none() | st.integers(1, 64),
    st.sampled_from(["Left", "Right"]),
)


@pytest.mark.parametrize("kind", KINDS)
@given(truncation=st.none() | truncations, padding=st.none() | paddings, dropout=st.none() | st.floats(0, 1))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ids_never_depend_on_truncation_padding_or_dropout(kind: str, truncation: Any, padding: Any, dropout: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = KINDS[kind](Path(folder))
        plain = Tokenizer(path)
        model = json.loads((path / "tokenizer.json").read_text())["model"]
        other = Tokenizer(changed(path, truncation=truncation, padding=padding, model=model | {"dropout": dropout}))
        for text in TEXTS:
            assert other.encode(text) == plain.encode(text)
            assert other.encode(text, special=False) == plain.encode(text, special=False)


def test_a_long_prompt_is_not_cut(tmp_path: Path) -> None:
    """With max_length 8 a prompt of 100 tokens became 8, and generation went on from it."""
    write_tokenizer(tmp_path)
    changed(tmp_path, truncation=TRUNCATION, padding=PADDING | {"strategy": {"Fixed": 200}})
    assert len(Tokenizer(tmp_path).encode("x" * 100)) == 100


# ---- whatever it raises


BROKEN: dict[str, Any] = {
    "a charsmap that is none": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}},
    "an unknown token that is not there": {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}},
    "a model that is none": {"model": {"type": "Nothing"}},
    "no model": {"model": None},
    "a version from the future": {"version": "9.0"},
    "a normalizer that is none": {"normalizer": {"type": "Sequence", "normalizers": 3}},
    "a decoder that strips more than there is": {"decoder": {"type": "Strip", "content": "a", "start": 10**9, "stop": 10**9}},
    "a regex that cannot be": {
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}
    },
}


@pytest.mark.parametrize("parts", BROKEN.values(), ids=BROKEN)
def test_a_broken_part_is_one_line_and_nothing_on_standard_error(parts: Any, tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    changed(tmp_path, **parts)
    code = f"""
import sys
from pathlib import Path
from refspec.errors import BadTokenizer
from refspec.models.tokenizer import Tokenizer
try:
    tokenizer = Tokenizer(Path({str(tmp_path)!r}))
    tokenizer.decode(tokenizer.encode("xyz a"))
except BadTokenizer as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("\n") <= 1
    assert len(ran.stdout) < 400


class Panic(BaseException):
    """As pyo3's: no Exception."""


@pytest.mark.parametrize("kind", [Panic, ValueError, RuntimeError, MemoryError, OverflowError])
def test_whatever_the_library_raises_is_a_bad_tokenizer(kind: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = refspec.load("tiny-target").tokenizer

    class Fails:
        def __getattr__(self, name: str) -> Any:
            raise kind("unlucky")

    monkeypatch.setattr(tokenizer._library, "_tokenizer", Fails())
    for call in (lambda: tokenizer.encode("a"), lambda: tokenizer.decode([1]), lambda: tokenizer.token_of(1)):
        with pytest.raises(BadTokenizer, match="unlucky"):
            call()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_a_person_asks_for_passes(kind: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = refspec.load("tiny-target").tokenizer

    def stop(*_: object, **__: object) -> None:
        raise kind

    monkeypatch.setattr(tokenizer._library, "_tokenizer", type("Stops", (), {"encode": stop})())
    with pytest.raises(kind):
        tokenizer.encode("a")


# ---- any damage

WILD = st.none() | st.booleans() | st.integers(-3, 10**10) | st.text(max_size=3) | st.just([]) | st.just({}) | st.floats()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a piece of JSON; of long lists and objects, only the first of it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [path, *(place for key in list(keys)[:12] for place in places(value[key], (*path, key)))]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_tokenizer_with_anything_in_any_place_works_or_is_refused(kind: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = KINDS[kind](Path(folder))
        whole = json.loads((path / "tokenizer.json").read_text())
        damaged = copy.deepcopy(whole)
        *inside, last = data.draw(st.sampled_from([place for place in places(whole) if place]))
        target = damaged
        for key in inside:
            target = target[key]
        target[last] = data.draw(WILD)
        (path / "tokenizer.json").write_text(json.dumps(damaged, allow_nan=True))
        message = ""
        try:
            tokenizer = Tokenizer(path)
            for text in TEXTS:
                tokenizer.decode(tokenizer.encode(text))
        except BadTokenizer as error:
            message = str(error)
        assert "\n" not in message
        assert len(message) <= 400


def test_standard_error_is_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("lost", file=sys.__stderr__, flush=True)
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError
    print("kept", file=sys.__stderr__, flush=True)
    assert "lost" not in (shown := capfd.readouterr().err)
    assert "kept" in shown


def test_special_tokens_are_split_where_the_settings_say_so(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    ids = Tokenizer(tmp_path).encode(min(Tokenizer(tmp_path).special))
    assert len(ids) == 1
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"split_special_tokens": True}))
    tokenizer = Tokenizer(tmp_path)
    assert len(tokenizer.encode(tokenizer.token_of(ids[0]) or "")) > 1


def test_a_library_is_named_in_its_message() -> None:
    with pytest.raises(BadTokenizer, match=r"here/tokenizer.json cannot be read \(.*\); fetch the model again"):
        Library({"model": 3}, "here/tokenizer.json")
