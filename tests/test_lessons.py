"""What the lessons promise of their form: short cells, one picture with a claim, exercises with hints, questions with answers."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refspec import exercises

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
PROMISED = (
    "**One idea:**",
    "minutes.*",
    "**Predict before you run.**",
    "## What would break if",
    "## Three questions",
    "Answers</summary>",
)


def cells(lesson: Path) -> list[dict[str, Any]]:
    found = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
    return [{**each, "source": "".join(each["source"]), "tags": each["metadata"].get("tags", [])} for each in found]


def test_there_are_ten() -> None:
    assert [each.name[:2] for each in LESSONS] == [f"{i:02}" for i in range(1, 11)]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_has_the_form_of_a_lesson(lesson: Path) -> None:
    found = cells(lesson)
    text = "\n".join(each["source"] for each in found if each["cell_type"] == "markdown")
    assert [each for each in PROMISED if each not in text] == []
    code = [each for each in found if each["cell_type"] == "code"]
    assert max(len(each["source"].splitlines()) for each in code) <= 25
    assert [line for each in code for line in each["source"].splitlines() if len(line) > 100] == [], "wider than a notebook"
    assert sum("interact(" in each["source"] for each in code) <= 1
    pictures = [output for each in code for output in each["outputs"] if "image/png" in output.get("data", {})]
    assert pictures
    assert not [output for each in code for output in each["outputs"] if output["output_type"] == "error"]
    assert all(each["execution_count"] for each in code), "run: python notebooks/build.py"
    assert lesson.stat().st_size < 300_000


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_an_exercise_has_a_check_a_hint_and_a_solution(lesson: Path) -> None:
    found = cells(lesson)
    places = [i for i, each in enumerate(found) if "exercise" in each["tags"]]
    assert 1 <= len(places) <= 3
    for i in places:
        assert found[i + 1]["tags"] == ["check"]
        assert re.fullmatch(r"exercises\.(\w+)\(.*\)", found[i + 1]["source"])[1] in exercises.__all__  # type: ignore[index]
        assert "✗" in "".join(found[i + 1]["outputs"][0]["data"]["text/plain"]), "an exercise is not solved yet"
        assert re.search(r"Hint.*Solution</summary>\s*```python\n", found[i + 2]["source"], re.DOTALL)


WALL = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tokenizers", "jinja2", "gguf", "huggingface_hub", "torch"):
            raise ImportError(f"{name} is behind the wall")
sys.meta_path.insert(0, Wall())
"""


def test_the_lessons_begin_where_there_is_no_tokenizers_library() -> None:
    """As in a browser: the cells that import and load. CI runs whole lessons so."""
    pytest.importorskip("matplotlib", reason="the lessons draw: pip install '.[notebooks]'")
    firsts = [next(each["source"] for each in cells(lesson) if each["cell_type"] == "code") for lesson in LESSONS]
    program = WALL + "\n".join(f"exec({first!r}, {{}})" for first in firsts)
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=120)


def test_every_check_is_in_some_lesson() -> None:
    used = {name for lesson in LESSONS for each in cells(lesson) for name in re.findall(r"exercises\.(\w+)", each["source"])}
    assert used | {"Report", "Task"} >= set(exercises.__all__)
