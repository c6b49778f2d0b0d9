"""The command line: what was asked for goes to standard output, figures and errors to standard error.

So a pipe carries the text and nothing else. A mistake is one line and exit code 2. What Ctrl-C interrupts is shown as far as
it came.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from refspec.cli.arguments import as_option, parsed, parser
from refspec.cli.exits import INTERRUPTED, MISTAKE, READER_LEFT, leave, require_streams
from refspec.errors import BadArgument, RefspecError, refused
from refspec.interrupts import Heard


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with Heard():
        return run(arguments)


def run(arguments: Sequence[str] | None) -> int:
    options = argparse.Namespace()
    try:
        try:
            require_streams()
            if not (sys.argv[1:] if arguments is None else arguments):
                parser().print_help(sys.stderr)
                return MISTAKE  # a script that lost its command has to stop; nothing was done
            options = parsed(arguments)
            # imported only now: `--help` needs none of what a command needs
            code: int = importlib.import_module(f"refspec.cli.{options.command}").run(options)
            return code
        finally:
            sys.stdout.flush()  # not at exit, where an error could no longer be caught
    except BrokenPipeError:  # `| head` has seen enough
        return leave("", READER_LEFT)
    except KeyboardInterrupt:
        return leave("interrupted", INTERRUPTED)
    except MemoryError:
        return leave("not enough memory for this; choose a smaller model or a shorter text", MISTAKE)
    except BadArgument as error:
        return leave(as_option(str(error), options), MISTAKE)
    except RefspecError as error:
        return leave(str(error), MISTAKE)
    except OSError as error:
        return leave(refused(error), MISTAKE)
