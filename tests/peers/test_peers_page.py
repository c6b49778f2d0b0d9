"""docs/peers.md: each program prints what stands below it. Those of engines that are not installed are skipped by name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.peers

PAGE = (Path(__file__).parents[2] / "docs" / "peers.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^## ([^\n]*)\n(?:(?!^## ).)*?```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.S | re.M)


def test_every_deviation_has_its_program() -> None:
    assert [name for name, _, _ in PROGRAMS] == re.findall(r"^## (.*)", PAGE, re.M)
    assert all(len(list(filter(None, program.splitlines()))) <= 15 for _, program, _ in PROGRAMS)


@pytest.mark.parametrize(("program", "printed"), [each[1:] for each in PROGRAMS], ids=[each[0] for each in PROGRAMS])
def test_a_program_prints_what_is_said(program: str, printed: str) -> None:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    missing = re.search(r"(?:ModuleNotFoundError|PackageNotFoundError): (.*)", ran.stderr)
    if missing:
        pytest.skip(missing[1])
    raised = [ran.stderr.splitlines()[-1] + "\n"] if ran.returncode else []
    assert "".join([ran.stdout, *raised]) == printed, ran.stderr
