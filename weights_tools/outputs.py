"""May this be written? Asked by every command before any work, so that nothing which somebody else wrote is lost.

Three rules. What is written is none of what is read. A folder is new, empty, or was begun by the same command before. A run
wrote what is in `out` if its folder holds a checkpoint, which is there before the first weights are.
"""

from collections.abc import Mapping
from os.path import realpath  # unlike Path.resolve, not at a loss where links run in a circle
from pathlib import Path

from refspec.errors import BadArgument
from refspec.files import read_json, require_writable
from refspec.models.table_file import MODEL_TYPE

CHECKPOINT = "checkpoint.pt"
VOCABULARY = {"tokenizer.json", "tokenizer_config.json"}  # which `train` puts into its run folder before the checkpoint


def require_folder(name: str, folder: Path, read: Mapping[str, Path]) -> None:
    """Raises BadArgument where `folder` is no folder, or one that is read. name: of the option. read: paths by what they are."""
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise BadArgument(f"{name} is {folder}, which is no folder; give a folder to write to")
    for role, path in read.items():
        if realpath(folder) == realpath(path):
            raise BadArgument(f"{name} is {folder}, which is {role}; give another folder")


def require_file(name: str, path: Path, read: Mapping[str, Path]) -> None:
    """Raises BadArgument where `path` cannot be written, or lies in a folder that is read."""
    for role, folder in read.items():
        if Path(realpath(path)).parent == Path(realpath(folder)):
            raise BadArgument(f"{name} is {path}, a file of {role}; give one in another folder")
    require_writable(path)


def require_unused(name: str, folder: Path, begun: bool, otherwise: str) -> None:
    """Raises BadArgument where `folder` holds files and was not begun by such a command. otherwise: what shows that."""
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if there and not begun:
        raise BadArgument(f"{name} is {folder}, which holds {there[0]}, and {otherwise}; give a new or empty folder")


def require_collection(folder: Path) -> None:
    """Raises BadArgument for a folder that holds files, and in which no collection was begun."""
    require_unused("out", folder, (folder / "collection.json").is_file(), "no collection")


def require_table(folder: Path) -> None:
    """Raises BadArgument for a folder that holds files, and no table."""
    about = folder / "config.json"
    require_unused("out", folder, about.is_file() and read_json(about).get("model_type") == MODEL_TYPE, "no table")


def require_run(out: Path, run: Path) -> None:
    """Raises BadArgument where one of the two holds files, and there is no checkpoint of a run that wrote them."""
    begun = (run / CHECKPOINT).is_file()
    require_unused("out", out, begun, f"{run} no {CHECKPOINT} of a run that wrote it")
    learnt = run.is_dir() and {path.name for path in run.iterdir()} <= VOCABULARY
    require_unused("run_folder", run, begun or learnt, f"no {CHECKPOINT}")


def claim(out: Path, run: Path) -> None:
    """Make the run's folder, where the two may be written."""
    require_run(out, run)
    run.mkdir(parents=True, exist_ok=True)
