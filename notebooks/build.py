"""The lessons and their notebooks: `python notebooks/build.py [execute | check FOLDER | solve FOLDER | lite FOLDER]`.

A lesson is a .py file in jupytext's percent format; the .ipynb beside it is that file with its outputs. `execute` writes the
notebooks anew. `check` fails where a notebook is not the lesson of its name, or where a cell tagged `exact` says something
else in the notebook of that name in FOLDER, which nbmake has executed. `solve` writes the lessons into FOLDER with every exercise
solved. `lite` makes FOLDER a site on which they run in the browser (extra `lite`).
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jupytext
import nbformat

HERE = Path(__file__).parent
LESSONS = sorted(HERE.glob("[0-9][0-9]_*.py"))
SOLUTION = re.compile(r"<summary>Solution</summary>\s*```python\n(.*?)```", re.DOTALL)


def read(lesson: Path) -> Any:
    """The lesson as a notebook without outputs. The ids of its cells are their places, so that a rewrite changes no line."""
    notebook = jupytext.read(lesson, fmt="py:percent")
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def tagged(cell: Any, tag: str) -> bool:
    return tag in cell["metadata"].get("tags", ())


def execute(only: list[str]) -> None:
    from nbclient import NotebookClient

    for lesson in LESSONS:
        if not only or any(lesson.name.startswith(each) for each in only):
            notebook = read(lesson)
            NotebookClient(notebook, timeout=120, record_timing=False, resources={"metadata": {"path": str(HERE)}}).execute()
            notebook.metadata.pop("widgets", None)  # the state of sliders, which nobody can move in a stored page
            write(notebook, HERE / f"{lesson.stem}.ipynb")
            print(lesson.stem)


def solve(folder: Path) -> None:
    """Each exercise becomes the solution that the lesson hides below it, and each check must pass."""
    folder.mkdir(parents=True, exist_ok=True)
    for lesson in LESSONS:
        notebook, exercise = read(lesson), None
        for cell in notebook.cells:
            if tagged(cell, "exercise"):
                assert exercise is None, f"{lesson.name}: an exercise without a solution"
                exercise = cell
            elif tagged(cell, "check"):
                cell.source = f"passed = {cell.source}\nassert passed, passed"
            elif cell.cell_type == "markdown" and (found := SOLUTION.search(cell.source)):
                assert exercise is not None, f"{lesson.name}: a solution without an exercise"
                exercise.source, exercise = found[1], None
        assert exercise is None, f"{lesson.name}: an exercise without a solution"
        write(notebook, folder / f"{lesson.stem}.ipynb")


def lite(folder: Path) -> None:
    """JupyterLite with this tree's wheel and the lessons, each of which installs it first.

    Opened, it fetches Pyodide, and NumPy and matplotlib built for it, from a network.
    """
    with TemporaryDirectory() as made:
        (contents := Path(made) / "contents").mkdir()
        for lesson in LESSONS:
            notebook = read(lesson)
            notebook.cells.insert(0, nbformat.v4.new_code_cell("%pip install -q refspec[plot] ipywidgets", id="install"))
            notebook.metadata["kernelspec"] = {"name": "python", "display_name": "Python (Pyodide)", "language": "python"}
            write(notebook, contents / f"{lesson.stem}.ipynb")
        python = [sys.executable, "-m"]
        subprocess.run([*python, "pip", "wheel", "-q", "--no-deps", "-w", made, str(HERE.parent)], check=True)
        (wheel,) = Path(made).glob("refspec-*.whl")
        inputs = ["--lite-dir", made, "--contents", str(contents), "--piplite-wheels", str(wheel)]
        subprocess.run([*python, "jupyter", "lite", "build", *inputs, "--output-dir", str(folder.resolve())], check=True)
        due = [folder / "pypi" / wheel.name, *(folder / "files" / f"{lesson.stem}.ipynb" for lesson in LESSONS)]
        sys.exit("\n".join(f"{path} was not made" for path in due if not path.is_file()) or 0)


def check(executed: Path) -> None:
    wrong = []
    for lesson in LESSONS:
        due = read(lesson).cells
        kept, new = (json.loads((folder / f"{lesson.stem}.ipynb").read_text("utf-8"))["cells"] for folder in (HERE, executed))
        if [(each["cell_type"], "".join(each["source"])) for each in kept] != [(each.cell_type, each.source) for each in due]:
            wrong.append(f"{lesson.stem}: the notebook is not the lesson; run: python notebooks/build.py")
            continue
        for i, (before, after) in enumerate(zip(kept, new, strict=True)):
            if tagged(before, "exact") and said(before) != said(after):
                wrong.append(f"{lesson.stem}, cell {i}: it said\n{said(before)}\nand now says\n{said(after)}")
    sys.exit("\n".join(wrong) if wrong else 0)


def said(cell: Any) -> str:
    """The text of its outputs."""
    parts = (each.get("text") or each.get("data", {}).get("text/plain", "") for each in cell["outputs"])
    return "".join("".join(part) for part in parts)


def write(notebook: Any, path: Path) -> None:
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check", folder]:
            check(Path(folder))
        case ["solve", folder]:
            solve(Path(folder))
        case ["lite", folder]:
            lite(Path(folder))
        case ["execute", *only]:
            execute(only)
        case []:
            execute([])
        case _:
            sys.exit(__doc__)
