"""`inspect` says what is in a folder and repeats the loader's refusal."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from weights_tools.__main__ import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A GPT-2 as far as names and sizes go; nobody loads it."""
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 10, "n_embd": 8, "n_head": 2,
        "n_layer": 1, "n_positions": 16, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors: dict[str, np.ndarray] = {
        "wte.weight": np.zeros((10, 8), np.float32),
        "wpe.weight": np.zeros((16, 8), np.float16),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {line[:14].strip(): line[14:] for line in capsys.readouterr().out.splitlines()}


def test_what_it_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder)]) == 0
    said = lines(capsys)
    assert said["architecture"] == "gpt2 GPT2LMHeadModel"
    assert said["tensors"] == "2"
    assert said["parameters"] == "208"
    assert said["dtypes"] == "F16 (128 parameters), F32 (80 parameters)"
    assert said["size on disk"].endswith("MB")
    assert said["embeddings"].startswith("tied")
    assert said["refspec"].startswith("runs it")


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
