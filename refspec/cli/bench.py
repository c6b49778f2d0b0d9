"""The command: check what was asked for before the first minute is spent, measure, and write what is wanted."""

import argparse
import json
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from refspec.bench import costs, peers
from refspec.bench.measure import measure, measure_batches
from refspec.brief import counted
from refspec.cli.exits import SUCCESS
from refspec.decoding.draft.profile import Profile
from refspec.errors import BadArgument
from refspec.models.sampling import Sampling
from refspec.numeric import whole
from refspec.transformer.blas import has_no_copy


def run(options: argparse.Namespace) -> int:
    check(options)
    profile = None if options.profile is None else Profile.load(options.profile)
    show = (lambda text: None) if options.json else partial(print, flush=True)
    if options.batch is not None:
        served = measure_batches(options, profile, show)
        if options.json:
            print(json.dumps(asdict(served), allow_nan=False))
        if options.plot is not None:
            from refspec.bench import plots

            plots.save_users(served, Path(options.plot))
        return SUCCESS
    found = measure(options, profile, show)
    if options.json:
        print(json.dumps(asdict(found), allow_nan=False))
    if options.save_profile is not None:
        here = found.passes.machine
        threads = counted(here.threads, "thread") if here.threads else "unknown threads"
        about = f"{found.setup.model}, {here.processor}, {threads}, BLAS kernel {here.kernel}"
        otherwise = profile or Profile.embedded(few_rows_are_cheap=has_no_copy(here.kernel))
        costs.profile(found.passes.curves[0], found.passes.draft_cost, otherwise, about).save(options.save_profile)
    if options.plot is not None:
        from refspec.bench import plots

        plots.save(found, Path(options.plot))
    return SUCCESS


def check(options: argparse.Namespace) -> None:
    """Raises BadArgument for what would come to light only after a while."""
    for name, least in (("times", 1), ("limit", 1), ("max_new_tokens", 2)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise BadArgument(f"{name} is {value}; it is at least {least}")
    for users in options.batch or ():
        whole("batch", users, 1, ": how many users there are at once")
    if isinstance(options.gamma, int) and options.gamma < 0:
        raise BadArgument(f"gamma is {options.gamma}; it is the number of drafted tokens a round, at least 0, or auto")
    Sampling(options.temperature)
    if options.against is not None:
        peers.require()
    if options.seed < 0:
        raise BadArgument(f"seed is {options.seed}; a seed is an integer >= 0")
    to = options.save_profile
    if to is not None and (to.endswith("/") or Path(to).is_dir() or not Path(to).absolute().parent.is_dir()):
        raise BadArgument(f"{to} cannot be written; its folder is not there, or it is a folder itself")
    if options.plot is not None:
        if find_spec("matplotlib") is None:
            raise BadArgument("--plot needs matplotlib; run: pip install '.[plot]'")
        Path(options.plot).mkdir(parents=True, exist_ok=True)
