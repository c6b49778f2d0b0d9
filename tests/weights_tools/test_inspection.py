"""`inspect` says what is in a folder, whatever that is, and gives the loader's own answer."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import GPT2, write_folder
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import refspec
from refspec.errors import RefspecError
from weights_tools import inspection
from weights_tools.__main__ import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model", {**GPT2, "architectures": ["GPT2LMHeadModel"]})


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {line[:14].strip(): line[14:] for line in capsys.readouterr().out.splitlines()}


def test_what_it_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder)]) == 0
    said = lines(capsys)
    assert said["architecture"] == "gpt2 GPT2LMHeadModel"
    tensors = load_file(folder / "model.safetensors")
    assert said["tensors"] == str(len(tensors))
    assert said["parameters"] == f"{sum(tensor.size for tensor in tensors.values()):,}"
    assert said["dtypes"] == f"F32 ({said['parameters']} parameters)"
    assert said["size on disk"].endswith("MB")
    assert said["embeddings"].startswith("tied")
    assert said["refspec"] == "runs it"


def test_the_refusal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.json").write_text('{"model_type": "mamba", "architectures": ["MambaForCausalLM"]}')
    assert main(["inspect", str(folder)]) == 2
    said = lines(capsys)
    assert said["architecture"] == "mamba MambaForCausalLM"
    assert said["refspec"].startswith("refuses it: ")
    assert "mamba" in said["refspec"]


def test_a_quantised_dtype_is_a_refusal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"wte.weight": np.zeros((10, 8), np.int8)}, folder / "model.safetensors")
    assert main(["inspect", str(folder)]) == 2
    assert lines(capsys)["refspec"] == "refuses it: tensors in I8; it reads F32, F16, BF16"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\x1b[31m", "\x9b2J", "gpt2", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["model_type", "architectures", "n_embd", "vocab_size"]), JSON, max_size=3))
@example({"architectures": 5})
@example({"architectures": [["\x1b]0;title\x07"]]})
@example({"model_type": "\x1b[2J" * 100_000})
@example({"architectures": json.loads("[" * 100 + "]" * 100)})
def test_whatever_the_config_says_is_shown_as_printable_lines(
    folder: Path, capsys: pytest.CaptureFixture[str], odd: dict[str, Any]
) -> None:
    (folder / "config.json").write_text(json.dumps({**GPT2, **odd}))
    code = main(["inspect", str(folder)])
    said = capsys.readouterr()
    assert (said.err, code) in [("", 0), ("", 2)]
    assert all(line.isprintable() and len(line) < 400 for line in said.out.splitlines())
    with suppress(RefspecError):
        refspec.load(folder)
        assert code == 0
        return
    assert code == 2


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_what_loading_refuses_is_refused_also_where_weights_are_too_large_to_be_read(
    file: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "READ_WHOLE", 0)
    assert main(["inspect", str(folder)]) == 0
    assert "the weights themselves were not read" in lines(capsys)["refspec"]
    (folder / file).write_text("{")
    assert main(["inspect", str(folder)]) == 2
    assert file in lines(capsys)["refspec"]


def test_a_tensor_that_is_missing_misshaped_or_not_finite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = load_file(folder / "model.safetensors")
    name = max(good)
    for bad in (None, good[name][:-1], good[name] * np.nan):
        others = {each: tensor for each, tensor in good.items() if each != name}
        save_file(others if bad is None else {**others, name: bad}, folder / "model.safetensors")
        assert main(["inspect", str(folder)]) == 2
        assert name in lines(capsys)["refspec"]


def test_no_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.safetensors").unlink()
    assert main(["inspect", str(folder)]) == 2
    said = lines(capsys)
    assert said["refspec"].startswith("refuses it: ")
    assert "parameters" not in said


def test_no_folder_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "smollm2-135m"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("weights_tools: smollm2-135m is not on this machine")
