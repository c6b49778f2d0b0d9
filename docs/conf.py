"""How the pages become a site: `pip install '.[docs]' && sphinx-build docs site`. Building and reading it need no network.

What is said elsewhere is taken from there, into docs/made/, which git ignores: the lessons, from notebooks/; sections of the
README; the rules that the conformance kit holds an engine to; and the help of each command.
"""

import argparse
import json
import os
import re
import shutil
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import refspec
from refspec.cli.arguments import parser

DOCS = Path(__file__).parent
NOTEBOOKS = DOCS.parent / "notebooks"
MADE = DOCS / "made"

project = "refspec"
release = version = refspec.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]

exclude_patterns = ["made/readme"]  # pages include these

html_theme = "furo"
html_title = "refspec"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = html_show_sourcelink = html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0060a0", "color-brand-content": "#0060a0"},
    "dark_css_variables": {"color-brand-primary": "#6cc0ff", "color-brand-content": "#6cc0ff"},
}
pygments_style, pygments_dark_style = "friendly", "github-dark"

myst_heading_anchors = 3
nb_execution_mode = "off"  # the stored outputs are those that CI compares
nb_ipywidgets_js: dict[str, Any] = {}  # sliders would be fetched from a network, and have no Python behind them here

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 90
suppress_warnings = ["ref.python"]  # two classes named Run: a type in a signature leads to one of them
default_role = "literal"  # `code` means in a docstring what it means in Markdown


def lesson(path: Path) -> dict[str, Any]:
    """A notebook as a page: its links to docs/ lead to the pages beside it, and what only a widget can show is left out."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"\]\(\.\./docs/", "](../../", "".join(cell["source"]))
        else:
            cell["outputs"] = [each for each in cell["outputs"] if not any("widget" in kind for kind in each.get("data", ()))]
    return notebook


def sections() -> dict[str, str]:
    """The README's sections by their headings, the first by "". Links to docs/ lead to these pages, those to code nowhere."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8").partition("\n")[2]
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"(?<!!)\[([^]]+)\]\((?:refspec|tests)/[^)]+\)", r"\1", text)
    first, *others = re.split(r"^## ", text, flags=re.M)
    return {"": first} | {heading: body for heading, _, body in (each.partition("\n") for each in others)}


def commands() -> str:
    """The help of each command, as it prints it."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}  # as wide as the page
    groups = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    pages = [f"## refspec {name}\n\n```text\n{each.format_help()}```\n" for name, each in groups[0].choices.items()]
    return "# The command line\n\nWhat `refspec COMMAND --help` prints.\n\n" + "\n".join(pages)


def linked(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """A docstring that cites a rule, N1 to N12, leads to it."""
    headings = re.findall(r"^## (N\d+) (.*)$", (DOCS / "rules.md").read_text(encoding="utf-8"), re.M)
    anchors = {rule: f"{rule} {heading}".lower().replace(" ", "-") for rule, heading in headings}
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[i] = re.sub(r"\bN\d+\b", lambda cited: f"`{cited[0]} <../rules.html#{anchors[cited[0]]}>`__", line)
    lines[:] = [line for is_row, group in groupby(lines, lambda line: line.startswith("|")) for line in table(group, is_row)]


def table(lines: Iterable[str], is_row: bool) -> list[str]:
    """A table of Markdown's in the words of reStructuredText; other lines as they are."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] if is_row else []
    cells = [f"   {'  -' if i else '* -'} {cell}" for row in rows if set(row[0]) != {"-"} for i, cell in enumerate(row)]
    return [".. list-table::", "   :header-rows: 1", "", *cells] if is_row else list(lines)


def signed(app: Any, what: str, name: str, thing: Any, options: Any, *parts: str | None) -> tuple[str | None, ...]:
    """A signature without the modules that its types are from, and with the names of functions."""
    shorter = (each and re.sub(r"~|\b(?:\w+\.)+(?=[A-Z])|<function (\w+)>", r"\1", each) for each in parts)
    return tuple(each and each.replace("numpy.ndarray[Any, Any]", "Array") for each in shorter)


def one_way(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Links lead from the reference to the source. Those back are wrong where a name is documented under two modules."""
    if page.startswith("_modules/"):
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", linked)
    app.connect("autodoc-process-signature", signed)
    app.connect("html-page-context", one_way)


def make() -> None:
    shutil.rmtree(MADE, ignore_errors=True)
    (MADE / "lessons").mkdir(parents=True)
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        (MADE / "lessons" / path.name).write_text(json.dumps(lesson(path)), encoding="utf-8")
    (MADE / "readme").mkdir()
    for heading, text in sections().items():
        (MADE / "readme" / f"{heading.lower().replace(' ', '-') or 'top'}.md").write_text(text, encoding="utf-8")
    shutil.copy(DOCS.parent / "refspec" / "conformance" / "SPEC.md", MADE / "engine-rules.md")
    (MADE / "command-line.md").write_text(commands(), encoding="utf-8")


make()
