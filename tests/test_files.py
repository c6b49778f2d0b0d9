"""What a reader of strangers' files must refuse, and that it never reads on for ever."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import write_folder
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import refspec
from refspec.errors import BadConfig, BadTokenizer, BadWeights, RefspecError
from refspec.files import DEEPEST, at_most, is_there, read_json, read_text, strict_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_what_json_can_say_is_read_as_it_was_written(value: Any, ascii_only: bool) -> None:
    assert strict_json(json.dumps(value, ensure_ascii=ascii_only)) == value


@given(st.dictionaries(st.text(), JSON, min_size=1, max_size=5), st.data(), st.integers(0, 10))
def test_a_key_that_stands_twice_is_refused_however_deep_and_however_spelt(value: Any, data: st.DataObject, depth: int) -> None:
    twin = data.draw(st.sampled_from(sorted(value)))
    spelt = "".join(f"\\u{unit:04x}" for unit in np.frombuffer(twin.encode("utf-16-le", "surrogatepass"), "<u2"))
    text = f'{json.dumps(value)[:-1]}, "{spelt}": 0}}'
    with pytest.raises(ValueError, match="stands twice"):
        strict_json('{"a": [' * depth + text + "]}" * depth)


@given(st.lists(st.sampled_from("[{"), min_size=1, max_size=2 * DEEPEST))
def test_nesting_is_bounded(opened: list[str]) -> None:
    text = "".join('{"a":' if each == "{" else each for each in opened)
    text += "1" + "".join("}" if each == "{" else "]" for each in reversed(opened))
    if len(opened) <= DEEPEST:
        strict_json(text)
    else:
        with pytest.raises(ValueError, match="inside each other"):
            strict_json(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=r"not JSON|larger than"):
        strict_json(f'{{"a": [{number}]}}')


class Endless(io.RawIOBase):
    """Bytes without end, counted as they are given."""

    given = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "read whole"
        self.given += size
        return b"x" * size


@given(st.integers(0, 1000))
def test_no_more_is_read_than_may_be(most: int) -> None:
    file = Endless()
    with pytest.raises(BadConfig, match=f"larger than {most} bytes"):
        at_most(file, most, "it", BadConfig)  # type: ignore[arg-type]
    assert file.given == most + 1
    assert at_most(io.BytesIO(b"x" * most), most, "it", BadConfig) == b"x" * most


def make(kind: str, path: Path) -> None:
    """Put something that is no readable file in the place of `path`."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path if kind == "link to itself" else path.with_name("nowhere"))


ODD = ["dangling link", "link to itself", "folder", "pipe", "device"]
READ = {
    "config.json": BadConfig,
    "generation_config.json": BadConfig,
    "model.safetensors": BadWeights,
    "model.safetensors.index.json": (BadWeights, BadConfig),
    "tokenizer.json": BadTokenizer,
    "tokenizer_config.json": (BadConfig, BadTokenizer),
}


def loaded_and_chatted(folder: Path) -> None:
    tokenizer = refspec.load(folder).tokenizer
    assert tokenizer is not None
    tokenizer.chat([{"role": "user", "content": "Hello"}])


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes in folders nor links without privileges")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", [*READ, "chat_template.jinja"])
def test_what_exists_and_is_no_readable_file_is_refused_and_not_taken_for_absent(name: str, kind: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    if name == "model.safetensors.index.json":
        (folder / "model.safetensors").unlink()
    make(kind, folder / name)
    assert is_there(folder / name)
    with pytest.raises(READ.get(name, (BadConfig, BadTokenizer)), match=name) as caught:
        loaded_and_chatted(folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes in folders nor links without privileges")
@pytest.mark.parametrize("kind", ODD)
def test_a_shard_that_is_no_readable_file(kind: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = {"weight_map": dict.fromkeys(refspec.transformer.weights.file_headers(folder / "a.safetensors"), "a.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refspec.load(folder)
    make(kind, folder / "a.safetensors")
    with pytest.raises(BadWeights, match=r"a\.safetensors"):
        refspec.load(folder)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
def test_a_size_is_looked_at_before_the_bytes(name: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    with (folder / name).open("ab") as file:
        file.truncate(1 << 40)  # a file with a hole: a terabyte that takes no room
    with pytest.raises(RefspecError, match=rf"{name} is larger than \d+ MiB"):
        refspec.load(folder)


def test_a_header_is_not_read_beyond_its_limit(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    many = {f"{'x' * 100}{number}": np.zeros(0, np.float32) for number in range(40_000)}
    save_file(many, folder / "model.safetensors")
    with pytest.raises(BadWeights, match=r"header of [56] MiB; at most 4 MiB"):
        refspec.load(folder)


def test_text_is_utf8_and_an_object_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    path.write_bytes(b"\xff")
    with pytest.raises(BadConfig, match="not UTF-8"):
        read_text(path)
    path.write_bytes(b"[]")
    with pytest.raises(BadConfig, match="holds a list"):
        read_json(path)
