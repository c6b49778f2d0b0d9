"""`refspec generate`: one text as it comes, one JSON object, or an answer for each line of JSONL."""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from refspec.batch import Batch
from refspec.cli.colour import Screen, painter
from refspec.cli.engine import Engine
from refspec.cli.exits import INTERRUPTED, MISTAKE, SUCCESS, complain
from refspec.cli.output import figures
from refspec.cli.requests import Request, from_line, read_lines, read_text
from refspec.errors import BadArgument, BrokenDrafter
from refspec.generate import Output, Piece, Run
from refspec.numeric import whole

SETTINGS = ("seed", "gamma", "max_new_tokens", "temperature", "top_k", "top_p", "min_p")  # those a line of JSONL may set


def run(options: argparse.Namespace) -> int:
    if sum(source is not None for source in (options.prompt, options.file, options.jsonl)) > 1:
        raise BadArgument("PROMPT, --file and --jsonl are three ways to give a prompt; use one of them")
    settings = {name: getattr(options, name) for name in SETTINGS}
    if options.jsonl is not None:
        return generate_lines(options, Request("", settings, options.stop, options.chat))

    request = Request(prompt_of(options), settings, options.stop, options.chat)
    engine = Engine.load(options)
    run = engine.stream(request)
    if options.json:
        output = follow(run)
        print(engine.answer(request, output))
    else:
        output = show(run)
        print(figures(output, options.seed, painter(sys.stderr)), file=sys.stderr)
    return INTERRUPTED if output.finish_reason == "interrupted" else SUCCESS


def prompt_of(options: argparse.Namespace) -> str:
    if options.file is not None:
        return read_text(options.file)
    if options.prompt not in (None, "-"):
        return str(options.prompt)
    if options.prompt is None and sys.stdin.isatty():
        raise BadArgument("no prompt; give a text or a file, or pipe the text in")
    return read_text("-")


def generate_lines(options: argparse.Namespace, defaults: Request) -> int:
    """An answer for each line, in order, printed as it is finished. A bad line is reported and the others go on."""
    whole("batch", options.batch, 1)
    engine, code = Engine.load(options), SUCCESS
    engine.require_draft()
    asked: dict[int, Asked] = {}

    def begin(i: int, where: str, number: int, line: bytes) -> Run:
        asked[i] = Asked(where, number)
        asked[i].request = from_line(line, defaults)
        return engine.stream(asked[i].request)

    lines = (partial(begin, i, *line) for i, line in enumerate(read_lines(options.jsonl)))
    for i, output in in_order(Batch(lines, options.batch)):
        each = asked.pop(i)
        if isinstance(output.error, BrokenDrafter):  # no line can do anything about that
            raise output.error
        if output.error is not None:
            complain(f"{each.where}: {output.error}")
            code = MISTAKE
            continue
        print(engine.answer(each.request, output, line=each.number), flush=True)
        if output.finish_reason == "interrupted":
            code = INTERRUPTED
    return code


@dataclass
class Asked:
    """A line under way: where it stands, and what it asks for."""

    where: str
    number: int
    request: Request = field(init=False)


def in_order(batch: Batch) -> Iterator[tuple[int, Output]]:
    """The outputs by their numbers; after Ctrl-C, what there is of each."""
    done: dict[int, Output] = {}
    first = 0
    try:
        for i, output in batch:
            done[i] = output
            while first in done:
                yield first, done.pop(first)
                first += 1
    except KeyboardInterrupt:
        done |= {i: run.output for i, run in batch.runs.items()}
        yield from sorted(done.items())


def show(run: Run) -> Output:
    """Follow a run and show its text, so that an error in the middle of it still leaves a finished line."""
    screen = Screen(sys.stdout)
    try:
        return follow(run, screen.show)
    finally:
        screen.end(run.rest())


def follow(run: Run, see: Callable[[Piece], None] = lambda _: None) -> Output:
    """Run to the end, or to Ctrl-C: then what there is so far is the output."""
    seen = 0
    try:
        for piece in run:
            seen += 1
            see(piece)
    except KeyboardInterrupt:
        for piece in run.pieces[seen:]:  # made, and not yet shown
            see(piece)
    return run.output
