"""The streamed file is one that the safetensors library reads back to the bit."""

from pathlib import Path

import numpy as np
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
