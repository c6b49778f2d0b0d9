"""The texts of collections, as tables and heads read them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from refspec.errors import BadArgument, BadWeights, reason
from refspec.files import read_json


def paths_of(folders: Sequence[Path], target: str) -> list[Path]:
    """The files of all texts, in order. Raises BadArgument for a folder that is no collection of this target's text."""
    for folder in folders:
        about = folder / "collection.json"
        if not about.is_file():
            raise BadArgument(f"{folder} is no collection; `python -m weights_tools collect --out {folder}` makes one")
        if (whose := read_json(about).get("target")) != target:
            raise BadArgument(f"{folder} holds text of {whose}, and the target is {target}; collect the target's own")
    return [path for folder in folders for path in sorted(folder.glob("[0-9]*.safetensors"))]


@contextmanager
def opened(path: Path, framework: str) -> Iterator[Any]:
    """The file of a text. Raises BadWeights, which names it, where it is damaged."""
    try:
        with safe_open(path, framework) as file:
            yield file
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise BadWeights(f"{path} is damaged ({reason(error)}); delete it, and collect again") from None
