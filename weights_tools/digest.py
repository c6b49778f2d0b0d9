"""Is this the file that was promised? Every weight file is hashed before its folder gets its name."""

import hashlib
from pathlib import Path

from tqdm import tqdm

from weights_tools.errors import FetchFailed


def check_digest(path: Path, sha256: str) -> None:
    """Raise unless the file is, bit for bit, the one that was promised."""
    found, size = hashlib.sha256(), path.stat().st_size
    # disable=None: no bar where standard error is not a terminal
    with path.open("rb") as file, tqdm(total=size, desc=f"checking {path.name}", unit="B", unit_scale=True, delay=0.5,
                                       leave=False, disable=None) as bar:  # fmt: skip
        while block := file.read(1 << 20):
            found.update(block)
            bar.update(len(block))
    if found.hexdigest() != sha256:
        raise FetchFailed(f"{path.name} is damaged or not the expected file: sha256 {found.hexdigest()}, not {sha256}; try again")
