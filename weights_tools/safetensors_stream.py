"""Write a safetensors file one tensor at a time, so that memory holds one tensor and not the model.

The format is a length (8 bytes, little endian), a JSON header with each tensor's type, shape and place, and the bytes.
The header needs only names and shapes, so it can be written before any tensor exists. `safetensors.numpy.save_file`
wants all of them at once.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

FLOAT32_BYTES = 4


def write_float32(path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterator[np.ndarray], *, label: str) -> None:
    """Write `tensors`, which come in the order of `shapes`, with a progress bar."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # transformers insists on a format
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * FLOAT32_BYTES
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # keeps the data aligned
    # disable=None: no bar where standard error is not a terminal
    with path.open("wb") as file, tqdm(total=end, desc=label, unit="B", unit_scale=True, disable=None) as bar:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for (name, shape), tensor in zip(shapes.items(), tensors, strict=True):
            assert (tensor.shape, tensor.dtype) == (shape, np.dtype(np.float32)), name
            file.write(np.ascontiguousarray(tensor, dtype="<f4").data)
            bar.update(tensor.nbytes)
        file.flush()
        os.fsync(file.fileno())  # the rename that follows must not reach the disk before the bytes do
