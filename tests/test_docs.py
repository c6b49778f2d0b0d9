"""The pages of docs/: each is in the list of some page, their programs run, and the reference has every public name.

That a link leads to a page and an anchor is checked on the built site, by docs/check_site.py in CI.
"""

import importlib
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import refspec

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "made" not in path.relative_to(DOCS).parts)
PROGRAMS = {
    f"{path.name} {i}": program
    for path in PAGES
    for i, program in enumerate(re.findall(r"^```python\n(.*?)\n```$", path.read_text(encoding="utf-8"), re.M | re.S))
    if "import refspec" in program
}


def test_each_page_is_listed() -> None:
    listed = [
        str((path.parent / line).relative_to(DOCS))
        for path in PAGES
        for block in re.findall(r"^```\{toctree\}\n(.*?)\n```$", path.read_text(encoding="utf-8"), re.M | re.S)
        for line in block.splitlines()
        if line and line[0] != ":"
    ]
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in PAGES} - {"index"}
    assert [page for page in sorted(pages) if not any(fnmatch(page, line) for line in listed)] == [], "add it in docs/index.md"


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_run(name: str) -> None:
    exec(PROGRAMS[name], {})


@pytest.mark.parametrize("module", ["refspec", "refspec.verify", "refspec.plot", "refspec.exercises"])
def test_the_reference_has_every_public_name(module: str) -> None:
    """By its directive, or with all of its module."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))
    if f"automodule:: {module}\n   :members:" in pages:
        return
    public = [name for name in importlib.import_module(module).__all__ if hasattr(getattr(refspec, name), "__qualname__")]
    documented = re.findall(r"auto(?:class|function):: (\w+)$", pages, re.M)
    assert public
    assert [name for name in public if name not in documented and name != "RefspecError"] == []
