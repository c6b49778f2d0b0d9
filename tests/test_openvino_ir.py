"""The committed OpenVINO files, without OpenVINO: their numbers are those of the fixtures, to the last bit."""

import re

import pytest
from safetensors.numpy import load_file

from refspec.conformance.fixtures import FOLDER
from refspec.conformance.openvino_ir import IR, NAMES, NO_TOKEN


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_stands_there_as_float32(name: str) -> None:
    """A weight that was rounded to 16 bits or 8 would be nowhere in these bytes."""
    numbers = (IR / name / "openvino_model.bin").read_bytes()
    weights = {key: tensor for key, tensor in load_file(FOLDER / name / "model.safetensors").items() if (tensor != 1).any()}
    assert len(weights) == 2 + 7 * 2  # all but the norms, which are ones
    assert [key for key, tensor in weights.items() if tensor.tobytes() not in numbers] == []
    assert not re.search(r'element_type="(f16|bf16|[iu][48])"', (IR / name / "openvino_model.xml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_they_are_small_and_from_nowhere(name: str) -> None:
    files = sorted((IR / name).iterdir())
    assert [each.name for each in files] == [
        f"openvino_{what}.{kind}" for what in ("model", "tokenizer") for kind in ("bin", "xml")
    ]
    assert sum(each.stat().st_size for each in files) < 300_000
    assert not any(path in each.read_bytes() for each in files for path in (b"/tmp/", b"/home/", b"/Users/"))


def test_no_token_is_none_of_the_fixtures() -> None:
    assert load_file(FOLDER / "target" / "model.safetensors")["model.embed_tokens.weight"].shape[0] == NO_TOKEN
