"""`refspec sweep`: run the cells of a plan that have no row yet."""

import argparse
import sys
from pathlib import Path

from refspec.brief import counted
from refspec.cli.exits import MISTAKE, SUCCESS
from refspec.errors import BadArgument
from refspec.numeric import whole
from refspec.sweep.cluster import Cluster, require
from refspec.sweep.plan import Plan
from refspec.sweep.results import finish


def run(options: argparse.Namespace) -> int:
    plan, out = Plan.read(options.plan), Path(options.out)
    if options.workers is not None:
        whole("workers", options.workers, 1)
        if options.scheduler is not None:
            raise BadArgument("--workers has no effect beside --scheduler, which has its own; leave one out")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise BadArgument(f"{out} cannot be written; its folder is not there, or it is a folder itself")
    require()
    swept = finish(plan, out, Cluster(options.scheduler, options.workers))
    parts = [counted(swept.cells, "cell"), f"{swept.kept} were there before", f"{swept.failed} failed"]
    missing = [f"{swept.missing} have no row, since their workers were lost; run it again"] if swept.missing else []
    print(", ".join([*parts, *missing]), file=sys.stderr)
    return MISTAKE if swept.failed or swept.missing else SUCCESS
