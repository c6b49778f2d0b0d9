"""The streamed file is one that the safetensors library reads back to the bit."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from weights_tools.safetensors_stream import write_float32


def test_the_library_reads_it_back(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tensors = {
        "matrix": random.standard_normal((3, 5), dtype=np.float32),
        "turned": random.standard_normal((4, 2), dtype=np.float32).T,  # not contiguous
        "vector": random.standard_normal(7, dtype=np.float32),
    }
    path = tmp_path / "model.safetensors"
    write_float32(path, {name: tensor.shape for name, tensor in tensors.items()}, iter(tensors.values()), label="")
    read = load_file(path)
    assert read.keys() == tensors.keys()
    assert all(np.array_equal(read[name], tensor) for name, tensor in tensors.items())
    with safe_open(path, "numpy") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_data_begin_aligned_whatever_the_names(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for length in range(1, 9):
        write_float32(path, {"x" * length: (1,)}, iter([np.ones(1, np.float32)]), label="")
        assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
        assert load_file(path)["x" * length] == 1


@pytest.mark.parametrize("count", [1, 3])
def test_the_header_promises_as_many_tensors_as_there_are(count: int, tmp_path: Path) -> None:
    tensors = iter([np.ones(2, np.float32)] * count)
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is"):
        write_float32(tmp_path / "model.safetensors", {"x": (2,), "y": (2,)}, tensors, label="")


@pytest.mark.parametrize("tensor", [np.ones((3, 2), np.float32), np.ones((2, 3), np.float64)])
def test_a_tensor_that_is_not_as_the_header_says_is_a_mistake_of_ours(tensor: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the_name"):
        write_float32(tmp_path / "model.safetensors", {"the_name": (2, 3)}, iter([tensor]), label="")
