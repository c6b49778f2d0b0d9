"""What can be asked of the command line: its commands, their options and defaults, and `--help`."""

import argparse
from typing import NoReturn

import refspec
from refspec.decoding.verify import RULES
from refspec.errors import BadArgument

GENERATE = """\
The text goes to standard output, in colour on a terminal: accepted drafts green, corrections magenta, bonus tokens cyan
(NO_COLOR switches colours off, FORCE_COLOR on). One line of figures follows on standard error, so that
`refspec generate ... > story.txt` keeps only the text."""

EPILOG = """\
examples:
  refspec generate "The capital of France is" --model smollm2-135m --temperature 0
  refspec generate --chat "Name three colours." --model smollm2-135m --ngram
  cat notes.txt | refspec generate --model gpt2 --draft distilgpt2 --gamma 3 --json

JSONL: each line is an object with "prompt" (a text or token ids) or "messages" (a chat), and whichever of "seed", "gamma",
"max_new_tokens", "temperature", "top_k", "top_p", "min_p" and "stop" it wants otherwise than the options say. Its answer is
one line as --json prints it, with the number of the line; further keys, such as "id", are copied. A bad line is reported
on standard error and the others go on; the exit code is then 2."""

BENCH = """\
Measure what passes cost on this machine, then decode a file of prompts plainly and speculatively in turn, and show the
speed-up beside what the costs predict. A few minutes on SmolLM2-135M; --quick takes one."""


class Parser(argparse.ArgumentParser):
    """argparse, with a mistake raised as everywhere else."""

    def error(self, message: str) -> NoReturn:
        raise BadArgument(f"{message} ({self.prog} --help lists what there is)")


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    top = Parser(prog="refspec", description="The reference for speculative decoding, in pure NumPy.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"refspec {refspec.__version__}")
    commands = top.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "generate", help="continue a text", description=GENERATE, epilog=EPILOG, formatter_class=raw, allow_abbrev=False
    )
    prompt = command.add_argument_group("prompt")
    prompt.add_argument("prompt", nargs="?", metavar="PROMPT", help="a text; standard input if it is - or left out")
    prompt.add_argument("--file", help="read the prompt from a file; as from a pipe, the newline at its very end is left out")
    prompt.add_argument("--jsonl", metavar="FILE", help="many prompts, one a line, from a file or - (see below)")
    prompt.add_argument("--chat", action="store_true", help="say it to the model as a user, by its own chat template")

    models = command.add_argument_group("models")
    models.add_argument("--model", required=True, help="the target: a folder, or a name that `refspec models` lists")
    drafter = models.add_mutually_exclusive_group()
    drafter.add_argument("--draft", metavar="MODEL", help="draft with a smaller model")
    drafter.add_argument("--ngram", action="store_true", help="draft by looking up what followed the same words before")
    models.add_argument("--gamma", type=gamma_argument, default=4, help="drafted tokens a round (%(default)s), or auto: as pay")
    models.add_argument("--profile", metavar="FILE", help="the costs that --gamma auto bets by; `refspec bench` writes one")
    models.add_argument(
        "--row-invariant", action="store_true", help="greedy and coupled drafts change no token, whatever rounding does; slower"
    )
    models.add_argument("--verify", choices=RULES, default="token", help="the verification rule: %(choices)s (%(default)s)")

    law = command.add_argument_group("sampling")
    law.add_argument("--temperature", type=float, default=1.0, help="0 takes the most likely token (%(default)s)")
    law.add_argument("--top-k", type=int, help="keep the K most likely tokens", metavar="K")
    law.add_argument("--top-p", type=float, help="keep the most likely tokens up to a mass of P", metavar="P")
    law.add_argument("--min-p", type=float, help="keep tokens at least P times as likely as the likeliest", metavar="P")
    law.add_argument("--seed", type=int, default=0, help="the same seed gives the same text (%(default)s)")

    end = command.add_argument_group("length and output")
    end.add_argument("--max-new-tokens", type=int, default=64, metavar="N", help="(%(default)s)")
    end.add_argument(
        "--stop",
        action="append",
        type=stop_argument,
        metavar="TOKEN",
        help="a token that ends the text, in place of the model's own end tokens: an id if it is all digits, else a text that "
        "is exactly one token; repeat it for several",
    )
    end.add_argument("--json", action="store_true", help="print one JSON object instead: text, ids, rounds and figures")

    command = commands.add_parser(
        "prove",
        help="enumerate the loop over exact fractions",
        description="Draw random models of fractions, run the production loop on them along every branch, and compare the law "
        "of the texts with plain decoding's. Exit code 1 where they differ.",
        allow_abbrev=False,
    )
    command.add_argument("--verify", choices=RULES, default="token", help="the rule to prove: %(choices)s (%(default)s)")
    command.add_argument("--mutant", metavar="NAME", help="a planted bug of a rule or a drafter instead (tests/mutants)")
    command.add_argument("--vocab", type=int, default=3, help="tokens in the vocabulary (%(default)s)")
    command.add_argument("--gamma", type=int, default=2, help="drafted tokens a round (%(default)s)")
    command.add_argument("--horizon", type=int, default=4, help="tokens of text (%(default)s)")
    command.add_argument("--models", type=int, default=5, help="how many pairs of models to draw (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of the models (%(default)s)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead, its fractions as strings")

    add_bench(
        commands.add_parser(
            "bench", help="measure this machine, and what speculation gains on it", description=BENCH, allow_abbrev=False
        )
    )

    commands.add_parser("models", help="list the models that are known and those on disk", allow_abbrev=False)
    commands.add_parser("demo", help="show speculative decoding at work", allow_abbrev=False)
    return top


def add_bench(command: argparse.ArgumentParser) -> None:
    models = command.add_argument_group("models")
    models.add_argument("--model", help="the target (smollm2-135m if it was fetched, else tiny-target)")
    drafter = models.add_mutually_exclusive_group()
    drafter.add_argument("--draft", metavar="MODEL", help="draft with a smaller model (tiny-draft for tiny-target)")
    drafter.add_argument("--ngram", action="store_true", help="draft by looking up what followed the same words before (others)")
    models.add_argument("--gamma", type=gamma_argument, default="auto", help="drafted tokens a round, or %(default)s")
    models.add_argument("--profile", metavar="FILE", help="the costs that --gamma auto bets by, in place of the package's")
    models.add_argument(
        "--row-invariant", action="store_true", help="load with rows whose bits do not depend on their neighbours"
    )
    models.add_argument("--temperature", type=float, default=0.0, help="0 takes the most likely token (%(default)s)")
    models.add_argument(
        "--seed", type=int, default=0, help="of the first prompt, the next one higher for each other (%(default)s)"
    )

    texts = command.add_argument_group("prompts")
    texts.add_argument("--prompts", metavar="FILE", help='JSONL with "category" and "prompt" in each line (the package\'s own)')
    texts.add_argument("--limit", type=int, metavar="N", help="at most N prompts a category")
    texts.add_argument("--chat", action=argparse.BooleanOptionalAction, help="by the model's chat template (if it has one)")
    texts.add_argument("--max-new-tokens", type=int, metavar="N", help="for each prompt (64)")
    texts.add_argument("--times", type=int, default=1, metavar="N", help="passes over the prompts (%(default)s)")
    texts.add_argument("--quick", action="store_true", help="one prompt a category, 32 new tokens, 3 runs of all else and not 9")

    out = command.add_argument_group("comparison and output")
    out.add_argument("--against", choices=["transformers"], help="run the same weights and prompts there as well")
    out.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    out.add_argument("--plot", metavar="FOLDER", help="write the curves there as PNG; needs the extra `plot`")
    out.add_argument(
        "--save-profile", metavar="FILE", help="keep what passes cost here, for `generate --gamma auto --profile FILE`"
    )


def gamma_argument(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor auto") from None


def stop_argument(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text
