"""The pytest plugin: a test a check, in a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

from refspec.conformance.cases import CHECKS


def pytest_says(tmp_path: Path, engine: str, *options: str) -> str:
    (tmp_path / "mine.py").write_text("from refspec.conformance.bugs import BUGS\nwrong = BUGS['length-hides-stop'].engine\n")
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # other people's plugins cost time and are not asked
    command = [sys.executable, "-m", "pytest", "-p", "refspec.conformance.plugin", "-p", "no:cacheprovider", "-q", "-rs"]
    whole = [*command, "--conform", engine, *options]
    return subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, env=alone).stdout


def test_each_check_is_a_test_of_its_own(tmp_path: Path) -> None:
    said = pytest_says(tmp_path, "mine:wrong", "-k", "stop-token or one-round-law or ragged-batch")
    assert f"1 failed, 1 passed, 1 skipped, {len(CHECKS) - 3} deselected" in said
    assert "it equals length-hides-stop" in said
