"""The kit as one call: an engine by its name, the level, and the deviations that are known already."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refspec.brief import short
from refspec.conformance import checks, replay, sampled
from refspec.conformance.adapter import LEVELS, Dialect, Engine
from refspec.conformance.asking import told
from refspec.conformance.cases import CHECKS
from refspec.conformance.findings import FAILS, Finding, Report
from refspec.conformance.limits import LIMIT, require_limit
from refspec.errors import BadArgument, RefspecError, did_you_mean
from refspec.files import read_text, strict_json
from refspec.numeric import number

LEVEL: Mapping[str, Callable[..., Report]] = {
    "replay": replay.conform,
    "exact": checks.conform,
    "sampled": sampled.conform,
}


def conform(
    engine: Engine, level: str | None = None, budget: float = sampled.BUDGET, limit: float | None = LIMIT, **options: Any
) -> Report:
    """What each check shows at a level, by default the highest that the engine allows.

    budget: seconds of the sampled level. limit: seconds for one case, after which the engine is cut off (`limits.py`).

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.kit import conform
    >>> from refspec.conformance.own import Own
    >>> conform(Own(), "exact", checks=[CHECKS["length"]]).level
    'exact'
    """
    number("budget", budget, lambda seconds: 0 < seconds < 1e6, "a number of seconds above 0")
    require_engine(engine)
    require_limit(limit)
    possible = [each for each in engine.dialect.levels if each in LEVEL]
    if level is None and not possible:
        raise BadArgument(f"{engine.dialect.name} allows no level; its dialect sets uniforms_in, draws_intercepted or seeds_in")
    chosen = level or possible[0]
    if chosen not in possible:
        raise BadArgument(f"level is {chosen}; {engine.dialect.name} allows {', '.join(possible) or 'none'}")
    return LEVEL[chosen](engine, limit=limit, **options, **({"budget": budget} if chosen == "sampled" else {}))


def engine_of(name: str) -> Engine:
    """The engine called MODULE:NAME, or FILE.py:NAME: an object with a dialect, or what makes one when it is called.

    >>> from refspec.conformance.kit import engine_of
    >>> engine_of("refspec.conformance.own:Own").dialect.name
    'refspec'
    """
    where, colon, what = name.rpartition(":")
    if not (where and colon and what):
        raise BadArgument(f"adapter is {name!r}; give MODULE:NAME or FILE.py:NAME, such as refspec.conformance.own:Own")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else _from_module(where)
        if not hasattr(module, what):
            raise BadArgument(f"adapter is {name!r}; {where} has no {what}{did_you_mean(what, vars(module))}")
        made = getattr(module, what)
        engine = made if hasattr(made, "dialect") else made() if callable(made) else made
    except ModuleNotFoundError as error:
        raise BadArgument(f"adapter is {name!r}, which needs the module {error.name}; install it, or correct the name") from error
    except RefspecError:
        raise
    except (Exception, SystemExit) as error:  # whatever the adapter's own code raises, a syntax error too
        raise BadArgument(f"adapter is {name!r}, which cannot be made ({told(error)})") from error
    require_engine(engine, f"adapter is {name!r}, ")
    return engine


def require_engine(engine: Any, name: str = "the engine is ") -> None:
    """Raises BadArgument unless it has a `Dialect`, and the methods which that promises. name: how the message begins.

    >>> from refspec.conformance.kit import require_engine
    >>> require_engine(3)
    Traceback (most recent call last):
    ...
    refspec.errors.BadArgument: the engine is an int without a dialect; docs/conformance.md says what an engine has
    """
    kind, dialect = type(engine).__name__, getattr(engine, "dialect", None)
    name += f"a{'n' * (kind[0] in 'aeiouAEIOU')} {kind} "
    if dialect is None:
        raise BadArgument(f"{name}without a dialect; docs/conformance.md says what an engine has")
    if not isinstance(dialect, Dialect):
        raise BadArgument(f"{name}whose dialect is {short(dialect)}; it is a refspec.conformance.adapter.Dialect")
    for level, method in dialect.methods.items():
        if not callable(getattr(engine, method, None)):
            raise BadArgument(f"{name}without {method}(), which the {level} level asks for; its dialect says that it has it")


def _from_module(name: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")  # the folder one stands in, as `python -m` has it
    return importlib.import_module(name)


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BadArgument(f"adapter is in {path}, and there is no such file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for it
    sys.path.insert(0, str(path.resolve().parent))  # as `python FILE` has it: the engine may lie beside its adapter
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Expected:
    """A known deviation: id of a check or check/case, versions such as ">=5.24,<5.26", a link and a reason.

    >>> from refspec.conformance.kit import Expected
    >>> Expected("support", ">=5.24,<6", "https://...", "u = 0").holds_for("5.24.1")
    True
    """

    id: str
    versions: str
    link: str
    reason: str
    level: str = ""

    def holds_for(self, version: str) -> bool:
        return all(_within(version, bound.strip()) for bound in self.versions.split(","))

    def names(self, found: Finding) -> bool:
        return self.id in (found.check, found.id) and self.level in ("", found.level)


def _within(version: str, bound: str) -> bool:
    sign = bound.rstrip("0123456789.abcdefghijklmnopqrstuvwxyz+-*") or "=="
    ours, theirs = _numbers(version), _numbers(bound.removeprefix(sign).strip())
    compared = {">=": ours >= theirs, "<=": ours <= theirs, ">": ours > theirs, "<": ours < theirs, "==": ours == theirs}
    if bound == "*":
        return True
    if sign not in compared:
        raise BadArgument(f"a version range is {bound!r}; give *, or bounds with >=, <=, >, < or == between commas")
    return compared[sign]


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split(".")
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in parts)


def known_deviations(path: Path) -> tuple[Expected, ...]:
    """Of a JSON file: a list of objects with id, versions, link, reason, and level where they are of one only."""
    try:
        entries = strict_json(read_text(path, kind=BadArgument))
        found = tuple(Expected(**each) for each in entries)
    except BadArgument:
        raise
    except (ValueError, TypeError) as error:
        raise BadArgument(
            f"{path} is no list of known deviations ({error}); each has an id, versions, a link and a reason"
        ) from None
    for each in found:
        if each.id.partition("/")[0] not in CHECKS or each.level not in ("", *LEVELS):
            raise BadArgument(f"{path} names {each.id!r}, which is no check{did_you_mean(each.id, CHECKS)}")
    return found


def with_known(report: Report, known: Sequence[Expected]) -> Report:
    """The report in which what was known to fail is `xfailed`, and what was known to and does not is `xpassed`, a failure."""
    findings = list(report.findings)
    for each in known:
        at = [i for i, found in enumerate(findings) if each.names(found) and each.holds_for(report.dialect.version)]
        failing = [i for i in at if findings[i].status in (*FAILS, "errored")]
        for i in failing:
            findings[i] = replace(findings[i], status="xfailed", detail=f"{each.reason} ({each.link})")
        if not failing:
            for i in (i for i in at if findings[i].status == "conforms"):
                findings[i] = replace(findings[i], status="xpassed", detail="known to fail, and does not: take it off the list")
    return replace(report, findings=tuple(findings))
