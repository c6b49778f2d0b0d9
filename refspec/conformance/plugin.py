"""For pytest: `pytest -p refspec.conformance.plugin --conform MODULE:NAME`, one test a check.

--conform-level, --conform-budget, --conform-limit and --conform-xfail are those of `refspec conform`. A check of which every case
is skipped is a skipped test.
"""

from pathlib import Path
from typing import Any

import pytest

from refspec.conformance.adapter import Engine
from refspec.conformance.cases import CHECKS, Check
from refspec.conformance.kit import conform, engine_of, known_deviations, with_known
from refspec.conformance.limits import LIMIT
from refspec.conformance.sampled import BUDGET
from refspec.conformance.telling import failure, lines


def pytest_addoption(parser: Any) -> None:
    group = parser.getgroup("refspec", "conformance of an engine for speculative decoding")
    group.addoption("--conform", metavar="MODULE:NAME", help="the engine, or FILE.py:NAME")
    group.addoption("--conform-level", choices=("replay", "exact", "sampled"), help="the highest that it allows")
    group.addoption("--conform-budget", type=float, default=BUDGET, help="seconds of the sampled level, all checks together")
    group.addoption("--conform-limit", type=float, default=LIMIT, help="seconds for one case, after which it is cut off")
    group.addoption("--conform-xfail", metavar="FILE", help="known deviations, as JSON")


@pytest.hookimpl(tryfirst=True)  # before `-k` chooses among them
def pytest_collection_modifyitems(session: Any, config: Any, items: list[Any]) -> None:
    if name := config.getoption("conform"):
        engine = engine_of(name)
        items += [ConformItem.from_parent(session, name=check.id, engine=engine, check=check) for check in CHECKS.values()]


class ConformItem(pytest.Item):
    """One check, put to the engine."""

    def __init__(self, *, engine: Engine, check: Check, **options: Any) -> None:
        super().__init__(**options)
        self._engine, self._check = engine, check

    def runtest(self) -> None:
        options = self.config
        share, limit = options.getoption("conform_budget") / len(CHECKS), options.getoption("conform_limit")
        report = conform(self._engine, options.getoption("conform_level"), share, limit, checks=[self._check])
        if file := options.getoption("conform_xfail"):
            report = with_known(report, known_deviations(Path(file)))
        if report.code == 3:
            pytest.skip("; ".join(dict.fromkeys(each.detail for each in report.findings)) or f"not of the {report.level} level")
        if report.code:
            pytest.fail("\n".join([*lines(report), *failure(self._engine, report, limit)]), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"conform {self.name}"
