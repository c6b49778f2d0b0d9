"""`refspec calibrate`: measure what rounds cost here, and keep it where gamma auto finds it."""

import argparse

from refspec.bench.calibrate import STEADY, Calibration, Figure, calibrate, head_of
from refspec.bench.measure import Pair
from refspec.cli.exits import MISTAKE, SUCCESS, complain
from refspec.errors import BadArgument, reason
from refspec.models.drafts import best_for
from refspec.models.profiles import conditions, path_of, profile_for


def run(options: argparse.Namespace) -> int:
    pair = Pair.load(options)
    heads = pair.made or best_for
    if pair.made is not None and head_of(pair.made(pair.model.language_model())) is None:
        raise BadArgument(f"draft is {options.draft}, which costs nothing that counts; leave it out, or give a model or a head")
    path, about = path_of(pair.model), conditions(pair.model)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # before the first second is spent
    except OSError as error:
        raise BadArgument(f"{path.parent} cannot be made ({reason(error)}); set REFSPEC_HOME to a folder of yours") from None
    print(about, flush=True)
    found = calibrate(pair.model, pair.draft, profile_for(pair.model), about, heads)
    print(table(found))
    if found.unsteady:
        figures = "; ".join(map(said, found.unsteady[:3])) + (", ..." if len(found.unsteady) > 3 else "")
        complain(
            f"busy machine: {len(found.unsteady)} of {len(found.figures)} figures are not known to {STEADY:.0%}: {figures}"
            + ("" if options.even_if_busy else "; nothing was saved: close other programs and try again, or add --even-if-busy")
        )
        if not options.even_if_busy:
            return MISTAKE
    found.profile.save(path)
    print(f"\n{path}: profile {found.profile.digest}, which --gamma auto goes by from now on")
    return SUCCESS


def said(figure: Figure) -> str:
    found = figure.interval
    return f"{figure.name} {found.median:.3g} ({found.least:.3g} to {found.most:.3g})"


def table(found: Calibration) -> str:
    """Costs in plain rounds, then bandwidth; in brackets, where the median lies 19 times in 20."""
    lines = ["\nfigures in brackets: where the median lies 19 times in 20"]
    return "\n".join([*lines, *map(said, (each for each in found.figures if not each.name.startswith("v(0)")))])
