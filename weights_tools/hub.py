"""Models from the Hugging Face hub: the files refspec reads, and every one of them checked.

Pickled weights are refused before anything is downloaded: unpickling runs whatever code the file holds.
"""

import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from refspec.errors import BadWeights, reason
from weights_tools.digest import check_digest
from weights_tools.errors import FetchFailed, MissingLibrary, what_to_do

WANTED = (
    "config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "chat_template.jinja",
)  # fmt: skip
SECONDS_TO_ANSWER = 10


def download_repository(repository: str, folder: Path) -> None:
    """Download `repository` at its newest revision into `folder`, or raise with one line."""
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise MissingLibrary("fetching from the hub needs huggingface_hub: pip install '.[weights]'") from error
    if not sys.stderr.isatty():
        disable_progress_bars()  # as ours are
    try:
        info = HfApi().model_info(repository, files_metadata=True, timeout=SECONDS_TO_ANSWER)
        files = wanted_files(repository, info.siblings or [])
        # the revision that was listed, not the newest: it may have moved on
        snapshot_download(repository, revision=info.sha, local_dir=folder, allow_patterns=list(files))
    except (BadWeights, FetchFailed):
        raise
    except Exception as error:  # the hub's client raises its own errors, those of its HTTP library and OSError
        why = reason(error).strip().partition("\n")[0]
        remedy = what_to_do(why, "check the name and the network")
        raise FetchFailed(f"cannot fetch {repository} from the Hugging Face hub: {why}; {remedy}") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes about the download
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            raise FetchFailed(f"{name} did not arrive from {repository}; try again")
        if sha256 is not None:
            check_digest(folder / name, sha256)


def wanted_files(repository: str, siblings: list[Any]) -> dict[str, str | None]:
    """Name -> sha256 (None for small files) of what to download; refuses a repository without safetensors."""
    files = {
        entry.rfilename: entry.lfs.sha256 if entry.lfs else None
        for entry in siblings
        if "/" not in entry.rfilename and any(fnmatch(entry.rfilename, pattern) for pattern in WANTED)
    }
    if not any(name.endswith(".safetensors") for name in files):
        pickles = sorted(entry.rfilename for entry in siblings if entry.rfilename.endswith((".bin", ".pt", ".pth")))
        has = f"only pickled weights ({pickles[0]})" if pickles else "no weights"
        raise BadWeights(f"{repository} has {has}; only model*.safetensors are read: look for a converted copy")
    return files
