"""The command line: `refspec generate`, `refspec prove`, `refspec bench`, `refspec models`, `refspec demo`.

What was asked for goes to standard output; figures and errors go to standard error, so that a pipe carries the text and
nothing else. A mistake is one line and exit code 2. What Ctrl-C interrupts is shown as far as it came.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence

from refspec.errors import BadArgument, RefspecError, VocabularyMismatch
from refspec.generate import Output, Run
from refspec.loop import Round
from refspec.model import Model
from refspec.report.arguments import parser
from refspec.report.bench.command import bench
from refspec.report.colour import Screen, painter
from refspec.report.demo import demo
from refspec.report.engine import Engine, tokenizer_of
from refspec.report.figures import figures
from refspec.report.models import listing
from refspec.report.prove import as_json, prove, table, theorem
from refspec.report.request import Request, from_line, read_lines, read_text

SUCCESS, DIFFERS, MISTAKE, INTERRUPTED, READER_LEFT = 0, 1, 2, 130, 141  # the last two as a shell reports SIGINT and SIGPIPE
SETTINGS = ("seed", "gamma", "max_new_tokens", "temperature", "top_k", "top_p", "min_p")  # those a line of JSONL may set


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors="replace")  # a model may say what an old console cannot show
    try:
        try:
            options = parser().parse_args(arguments)
            return COMMANDS[options.command](options)
        finally:
            sys.stdout.flush()  # not at exit, where an error could no longer be caught
    except BrokenPipeError:  # `| head` has seen enough
        return leave("", READER_LEFT)
    except KeyboardInterrupt:
        return leave("interrupted", INTERRUPTED)
    except MemoryError:
        return leave("not enough memory for this; choose a smaller model or a shorter text", MISTAKE)
    except (RefspecError, OSError) as error:
        return leave(str(error), MISTAKE)


def leave(message: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:  # what cannot be written would be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if message:
        complain(message)
    return code


def complain(message: str) -> None:
    print("refspec:", " ".join(message.split()), file=sys.stderr)


def run_generate(options: argparse.Namespace) -> int:
    if sum(source is not None for source in (options.prompt, options.file, options.jsonl)) > 1:
        raise BadArgument("PROMPT, --file and --jsonl are three ways to give a prompt; use one of them")
    if options.profile is not None and options.gamma != "auto" and options.jsonl is None:
        raise BadArgument("--profile holds the costs that --gamma auto bets by; give both or neither")
    settings = {name: getattr(options, name) for name in SETTINGS}
    if options.jsonl is not None:
        return generate_lines(options, Request("", settings, options.stop, options.chat))

    request = Request(prompt_of(options), settings, options.stop, options.chat)
    engine = Engine.load(options)
    run = engine.start(request)
    if options.json:
        output = follow(run)
        print(engine.answer(request, output))
    else:
        output = show(run, engine.model)
        print(figures(output, options.seed, painter(sys.stderr)), file=sys.stderr)
    return INTERRUPTED if output.ended == "interrupted" else SUCCESS


def prompt_of(options: argparse.Namespace) -> str:
    if options.file is not None:
        return read_text(options.file)
    if options.prompt not in (None, "-"):
        return str(options.prompt)
    if options.prompt is None and sys.stdin.isatty():
        raise BadArgument("no prompt; give a text, --file FILE or --jsonl FILE, or pipe the text in")
    return read_text("-")


def generate_lines(options: argparse.Namespace, defaults: Request) -> int:
    """An answer for each line, in order, printed as it is finished. A bad line is reported and the others go on."""
    engine, code = Engine.load(options), SUCCESS
    for where, number, line in read_lines(options.jsonl):
        try:
            request = from_line(line, defaults)
            output = follow(engine.start(request))
        except VocabularyMismatch:  # no line can do anything about that
            raise
        except RefspecError as error:
            complain(f"{where}: {error}")
            code = MISTAKE
            continue
        print(engine.answer(request, output, line=number), flush=True)
        if output.ended == "interrupted":
            return INTERRUPTED
    return code


def show(run: Run, model: Model) -> Output:
    """Follow a run and show its text, so that an error in the middle of it still leaves a finished line."""
    screen = Screen(tokenizer_of(model), sys.stdout)
    try:
        return follow(run, screen.show)
    finally:
        screen.end()


def follow(run: Run, see: Callable[[Round], None] = lambda _: None) -> Output:
    """Run to the end, or to Ctrl-C: then what there is so far is the output."""
    seen = 0
    try:
        for piece in run:
            seen += 1
            see(piece.round)
    except KeyboardInterrupt:
        for found in run.output.rounds[seen:]:  # made, and not yet shown
            see(found)
    return run.output


def run_prove(options: argparse.Namespace) -> int:
    claim = theorem(options.verify, options.mutant)
    sizes = {"gamma": options.gamma, "horizon": options.horizon, "seed": options.seed}
    found = prove(claim, vocab_size=options.vocab, models=options.models, **sizes)
    if options.json:
        answer = as_json(claim, found, {"vocab": options.vocab, **sizes})
        print(json.dumps(answer))
        return SUCCESS if answer["proved"] else DIFFERS
    return SUCCESS if table(claim, found, painter(sys.stdout)) else DIFFERS


def run_bench(options: argparse.Namespace) -> int:
    bench(options)
    return SUCCESS


def run_models(options: argparse.Namespace) -> int:
    print(listing())
    return SUCCESS


def run_demo(options: argparse.Namespace) -> int:
    demo()
    return SUCCESS


COMMANDS = {"generate": run_generate, "prove": run_prove, "bench": run_bench, "models": run_models, "demo": run_demo}

if __name__ == "__main__":
    sys.exit(main())
