"""Functions and classes of an installed package, compiled from its own file without importing the package and all that it needs.

For engines whose package cannot be imported on a CPU or on this Python, while the function in question can run there.
"""

import ast
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any


def borrowed(distribution: str, path: str, *names: str, **given: Any) -> ModuleType:
    """A module with these functions of a file of a distribution, line for line, and `given` for what they take from elsewhere.

    Raises ModuleNotFoundError where the distribution is not installed, or has no such file, function or class.
    """
    file = Path(str(metadata.distribution(distribution).locate_file(path)))
    if not file.is_file():
        raise ModuleNotFoundError(f"{distribution} {metadata.version(distribution)} has no file {path}", name=distribution)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kept: list[ast.stmt] = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.name in names]
    if len(kept) != len(names):
        raise ModuleNotFoundError(f"{path} of {distribution} no longer has all of {names}", name=distribution)
    module = ModuleType(f"borrowed_{file.stem}")
    vars(module).update(given)
    exec(compile(ast.Module(kept, []), str(file), "exec"), vars(module))
    return module
