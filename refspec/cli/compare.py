"""`refspec compare`: another implementation's activations, module by module, against ours in float64."""

import argparse
import json
from dataclasses import asdict
from math import isfinite
from typing import Any

from refspec.brief import counted
from refspec.cli.exits import DIFFERS, SUCCESS
from refspec.models.activations import SLACK, Comparison, Module, compare


def run(options: argparse.Namespace) -> int:
    found = compare(options.model, options.activations)
    if options.json:
        print(json.dumps(as_json(found), allow_nan=False))
    else:
        print("\n".join(lines(found)))
    return SUCCESS if found.first is None else DIFFERS


def as_json(found: Comparison) -> dict[str, Any]:
    """By its Python names; a number that is not finite is null."""
    modules = [{key: shown(value) for key, value in asdict(each).items()} for each in found.modules]
    first = None if found.first is None else found.first.name
    return {"first": first, "type": found.type, "modules": modules, "absent": found.absent, "unknown": found.unknown}


def shown(value: str | float) -> str | float | None:
    return value if isinstance(value, str) or isfinite(value) else None


def lines(found: Comparison) -> list[str]:
    """The modules that differ, the first of them with what to look at, and what was not compared."""
    differing = [each for each in found.modules if each.differs]
    said = [line(each) for each in differing[:8]] + ([f"and {len(differing) - 8} more"] if len(differing) > 8 else [])
    for what, names in (("not in the file", found.absent), ("no module of ours", found.unknown)):
        if names:
            said.append(f"not compared: {len(names)} {what}, such as {names[0]}")
    compared = counted(len(found.modules), "module")
    if found.first is None:
        return [*said, f"{compared} compared: none differs by more than {SLACK[found.type]} times what {found.type} rounds there"]
    return [*said, f"{compared} compared: {found.first.name} is the first that differs; look at {found.first.cause}"]


def line(module: Module) -> str:
    return f"{module.name:<40} error {module.error:.2g}, allowed {module.allowed:.2g}"
