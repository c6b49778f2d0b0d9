"""The command line: `python -m weights_tools COMMAND`. One line on standard error and exit code 2 for a mistake."""

import argparse
import sys
from collections.abc import Sequence

from refspec.errors import RefspecError
from refspec.home import KNOWN, folder_of, home
from weights_tools.fetch import fetch, is_present
from weights_tools.inspection import describe


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (RefspecError, OSError) as error:  # OSError: a full disk, a folder that may not be written
        print(f"weights_tools: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("weights_tools: interrupted; nothing was kept", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {model.name:<17}{model.about}" for model in KNOWN.values())
    top = argparse.ArgumentParser(
        prog="python -m weights_tools",
        description="Fetch and inspect the weights that refspec runs.",
        epilog=f"models known by name:\n{known}\n\nthey are kept in {home() / 'models'} (REFSPEC_HOME moves it)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("fetch", help="download a model and convert it where needed")
    command.add_argument("name", help=f"{', '.join(KNOWN)}, or owner/name of a Hugging Face repository")
    command.add_argument("--force", action="store_true", help="fetch it again even if it is there")
    command.set_defaults(run=run_fetch)

    command = commands.add_parser("inspect", help="say what a model folder holds and whether refspec can run it")
    command.add_argument("model", help="a folder, or the name of a model that was fetched")
    command.set_defaults(run=run_inspect)
    return top


def run_fetch(options: argparse.Namespace) -> None:
    if is_present(options.name) and not options.force:
        print(f"{options.name} is already in {folder_of(options.name)} (--force fetches it again)")
    else:
        print(f"{options.name} is ready in {fetch(options.name, force=options.force)}")


def run_inspect(options: argparse.Namespace) -> None:
    print(describe(options.model))


if __name__ == "__main__":
    sys.exit(main())
