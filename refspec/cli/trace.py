"""`refspec trace`: a generation as from `refspec generate`, and beside it a page to step through its rounds."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from refspec.brief import counted
from refspec.cli.colour import painter
from refspec.cli.engine import Engine
from refspec.cli.exits import INTERRUPTED, SUCCESS
from refspec.cli.generate import SETTINGS, prompt_of, show
from refspec.cli.output import figures
from refspec.cli.requests import Request
from refspec.decoding.verify import RULES
from refspec.errors import BadArgument, reason
from refspec.files import require_writable
from refspec.models.model import Model
from refspec.trace import page
from refspec.trace.passes import Pass, watched


def run(options: argparse.Namespace) -> int:
    if options.prompt is not None and options.file is not None:
        raise BadArgument("PROMPT and --file are two ways to give a prompt; use one of them")
    path = Path(options.html)
    require_writable(path)
    settings = {name: getattr(options, name) for name in SETTINGS}
    request = Request(prompt_of(options), settings, options.stop, options.chat)
    log: list[Pass] = []
    engine = watching(Engine.load(options), log)
    output = show(engine.stream(replace(request, settings={**settings, "record": True})))
    print(figures(output, options.seed, painter(sys.stderr)), file=sys.stderr)
    unused = () if engine.drafter is not None else ("verify", "gamma")
    about = {name: value for name, value in engine.made_by(request).items() if name not in unused}
    made = page(output, rule=RULES[options.verify], passes=log, about=about)
    try:
        path.write_text(made, encoding="utf-8", newline="\n")
    except OSError as error:
        raise BadArgument(f"{path} could not be written ({reason(error)}); the text is above") from None
    print(f"{path}: {counted(len(output.rounds), 'round')}; open it in a browser", file=sys.stderr)
    return INTERRUPTED if output.finish_reason == "interrupted" else SUCCESS


def watching(engine: Engine, log: list[Pass]) -> Engine:
    """The same, whose passes are written to the log."""
    drafter = watched(engine.drafter, "draft", log) if isinstance(engine.drafter, Model) else engine.drafter
    return replace(engine, model=watched(engine.model, "target", log), drafter=drafter)
