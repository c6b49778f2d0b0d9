"""What can be asked of the command line: its commands, their options and defaults, and `--help`."""

import argparse
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, NoReturn

import refspec
from refspec.decoding.verify import RULES, is_exact
from refspec.errors import BadArgument, did_you_mean
from refspec.files import strict_json

GENERATE = """\
The text goes to standard output, in colour on a terminal: accepted drafts green, corrections magenta, bonus tokens cyan
(NO_COLOR switches colours off, FORCE_COLOR on). One line of figures follows on standard error, so that
`refspec generate ... > story.txt` keeps only the text."""

GENERATE_EPILOG = """\
examples:
  refspec generate "The capital of France is" --model smollm2-135m --temperature 0
  refspec generate --chat "Name three colours." --model smollm2-135m --ngram
  cat notes.txt | refspec generate --model gpt2 --draft distilgpt2 --gamma 3 --json

JSONL: each line is an object with "prompt" (a text or token ids) or "messages" (a chat), and whichever of "seed",
"gamma", "max_new_tokens", "temperature", "top_k", "top_p", "min_p" and "stop" it wants otherwise than the options say.
Its answer is one line as --json prints it, with the number of the line; "id" and "labels" are copied, and other keys
refused. A bad line is reported on standard error and the others go on; the exit code is then 2. With --batch N,
N lines are under way at once, and answers still come in their order."""

TRACE = """\
The text and the figures come as from `refspec generate`, whose options it takes. Beside them it writes one page, which
needs no network: each round with its draft, the target's probabilities, the coin, the residual, and the rows of the
caches. Of a distribution the page names the likeliest tokens and sums the others."""

TRACE_EPILOG = """\
examples:
  refspec trace "ROMEO:" --html trace.html
  refspec trace --chat "Name three colours." --model smollm2-135m --ngram --html trace.html"""

BENCH = """\
Measure what passes cost on this machine, then decode a file of prompts plainly and speculatively in turn, and show the
speed-up beside what the costs predict. A few minutes on SmolLM2-135M; --quick takes one."""

BENCH_EPILOG = """\
examples:
  refspec bench --quick
  refspec bench --model smollm2-135m --save-profile mine.json
  refspec bench --batch 1 2 4 8 16 32 --max-new-tokens 32
  refspec bench --model gpt2 --draft distilgpt2 --gamma 3 --json"""

CALIBRATE = """\
Measure what rounds cost on this machine, in a short text and a long one, and keep it in the home folder (REFSPEC_HOME, or
refspec in the user's cache). --gamma auto goes by it from then on, for this model, processor, BLAS kernel and number of
threads, and by the package's own costs elsewhere. Takes a minute or less. On a busy machine nothing is saved."""

CALIBRATE_EPILOG = """\
examples:
  refspec calibrate
  refspec calibrate --model gpt2 --draft distilgpt2"""

PROVE = """\
Check a verification rule exactly, on models drawn at random whose probabilities are fractions: run the production loop
on them along every branch, and compare the distribution of the texts with plain decoding's. A difference of 0 is an
exact 0, on the models that were drawn; docs/exactness.md has the proof for all. Exit code 1 where they differ."""

PROVE_EPILOG = """\
examples:
  refspec prove --verify block --models 3
  refspec prove --verify inexact-typical
  refspec prove --mutant residual-is-p      (in a checkout)"""

SWEEP = """\
Run every cell of a plan, a generation each, and keep a row of JSON for it. Cells that have a row in FILE are not run again, so
a sweep that was killed goes on where it was. It runs on Dask distributed (extra `sweep`): on this machine, or on a cluster."""

SWEEP_EPILOG = """\
A plan is TOML, whose lists are multiplied: models and prompts; and if they are wanted drafters ("none", "ngram", or a model),
rules, gammas, temperatures, seeds. For all cells: max_new_tokens, row_invariant, profile (a file, for the gamma "auto").

  models = ["tiny-target"]
  drafters = ["tiny-draft", "ngram"]
  gammas = [1, 2, 4, "auto"]
  prompts = ["ROMEO:", "JULIET:"]
  seeds = [0, 1, 2]

examples:
  refspec sweep plan.toml --out rows.jsonl
  refspec sweep plan.toml --out rows.jsonl --scheduler tcp://10.0.0.1:8786"""

DEMO = "Show speculative decoding at work, on the two small models inside the package."

DEMO_EPILOG = """\
examples:
  refspec demo
  refspec demo --seed 3 --gamma 2"""

CONFORM = """\
Test somebody's engine: its own code, given uniforms (replay), its draws answered along every branch (exact), or from seeds
(sampled), by default at the highest of these levels that it allows. Exit code 0: conforms, 1: deviates, 2: the engine or its
adapter broke, 3: nothing could be checked. docs/conformance.md says how to write an adapter."""

CONFORM_EPILOG = """\
examples:
  refspec conform --adapter refspec.conformance.own:Own
  refspec conform --adapter my_engine.py:engine --level exact --junit report.xml
  refspec conform --command 'node engine.mjs'"""

COMPARE = """\
Find the first module where another implementation of a model differs from this one by more than rounding explains. Its
activations, of float32 or of 16 bits, lie in a file of safetensors under Hugging Face's names of modules, with the tokens as
input_ids; docs/conformance.md says how to write one. Exit code 0: none differs, 1: one does, 2: they cannot be compared."""

COMPARE_EPILOG = """\
examples:
  refspec golden --model tiny-target --ids 12,7,30 --out golden.safetensors
  refspec compare --model tiny-target --activations golden.safetensors"""

GOLDEN = """\
Write what each module computes from a text, in float64, under Hugging Face's names. With --rounds, also the cache after so many
greedy rounds of prompt lookup (gamma 4), some of whose guesses were rejected and rolled back."""

ABOUT_RULES = {
    "token": "accept each drafted token with probability min(1, p / q): the paper's rule",
    "block": "decide on the draft as a whole; on average, accepts at least as many tokens as token",
    "sample-match": "draw from the target, and accept a drafted token where it is the one drawn",
    "coupled": "target and draft draw with the same noise; accept where they agree",
    "inexact-typical": "accept whatever the target finds likely enough, and reject the rest",
    "inexact-lenience": "like token, but accept up to twice as often",
}


def about_rules() -> str:
    """One line a rule: what it does, and whether it keeps the target's distribution."""
    exactness = {True: "exact", False: "INEXACT", None: "unknown"}
    lines = [f"  {name:<17}{exactness[is_exact(rule)]:<9}{ABOUT_RULES[name]}" for name, rule in RULES.items()]
    heading = "verification rules (exact: the text has the target's distribution; p: the target's probability, q: the draft's):"
    return "\n".join([heading, *lines])


class Parser(argparse.ArgumentParser):
    """argparse, with a mistake raised as everywhere else, and the nearest name beside a misspelt one."""

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """In `--seed=--` two dashes are a value. argparse before 3.13 takes them out, and hands on an empty list."""
        if action.option_strings and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            message += did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        raise BadArgument(f"{message} ({self.prog} --help lists what there is)")


class Command(Parser):
    """The parser of one command, which keeps the options that were given as `given`: a default is not one of them."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known = self._option_string_actions
        before = itertools.takewhile(lambda each: each != "--", args)
        given = [each.partition("=")[0] for each in before if each.startswith("--")]
        for option in given:
            if option not in known:  # here, since argparse would name a missing option first
                self.error(f"{option} is no option of {self.prog}{did_you_mean(option, known)}")
        options, rest = super().parse_known_args(args, namespace)
        if rest:  # here, since argparse would send to the help of refspec itself
            quotes = "" if getattr(options, "prompt", None) is None else "; a prompt of several words needs quotes around it"
            self.error(f"unrecognized arguments: {' '.join(rest)}{quotes}")
        options.given = given
        return options, rest


@dataclass(frozen=True)
class Needs:
    """Options that have an effect only where something else was chosen."""

    options: tuple[str, ...]
    effective: Callable[[argparse.Namespace], object]
    otherwise: str


NEEDS = {
    "generate": (
        Needs(
            ("--gamma", "--verify", "--profile"),
            lambda options: options.ngram or options.draft is not None,
            "without a drafter; add --draft MODEL or --ngram, or leave it out",
        ),
        Needs(  # a line of JSONL may choose "gamma" and "temperature" for itself
            ("--profile",),
            lambda options: options.gamma == "auto" or options.jsonl is not None,
            "without --gamma auto; give both or neither",
        ),
        Needs(
            ("--top-k", "--top-p", "--min-p"),
            lambda options: options.temperature != 0 or options.jsonl is not None,
            "at --temperature 0, which takes the most likely token; leave one of them out",
        ),
        Needs(
            ("--date", "--enable-thinking", "--no-enable-thinking", "--template-var"),
            lambda options: options.chat or options.jsonl is not None,
            "without a chat; add --chat, or leave it out",
        ),
        Needs(("--batch",), lambda options: options.jsonl is not None, "without --jsonl, which has many prompts; add it"),
        Needs(
            ("--json",),
            lambda options: options.jsonl is None,
            "beside --jsonl, whose answers are JSON; leave it out",
        ),
    ),
    "prove": (
        Needs(("--verify",), lambda options: options.mutant is None, "beside --mutant, which has its own rule; leave one out"),
    ),
    "bench": (
        Needs(("--profile",), lambda options: options.gamma == "auto", "without --gamma auto; give both or neither"),
        Needs(
            ("--against", "--save-profile", "--times"),
            lambda options: options.batch is None,
            "beside --batch; leave one of them out",
        ),
    ),
}
NEEDS["trace"] = NEEDS["generate"]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Raises BadArgument for those that are none, and for those that would change nothing."""
    options = parser().parse_args(arguments)
    if options.command == "trace" and options.model is None:
        options.model = "tiny-target"
        options.draft = options.draft or (None if options.ngram else "tiny-draft")
    for needs in NEEDS.get(options.command, ()):
        for option in needs.options:
            if option in options.given and not needs.effective(options):
                raise BadArgument(f"{option} has no effect {needs.otherwise}")
    return options


def as_option(message: str, options: argparse.Namespace) -> str:
    """A message of the library about one argument ("top_p is 2; ...") as one about its option ("--top-p is 2; ...").

    The library names arguments as Python does, and begins with the name. Here the same names are those of the options.
    """
    name = message.partition(" is ")[0]
    if name not in vars(options):
        return message
    return f"--{name.replace('_', '-')}{message[len(name) :]}".replace("or None to", "or left out to")


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    top = Parser(prog="refspec", description="The reference for speculative decoding, in pure NumPy.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"refspec {refspec.__version__}")
    commands = top.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND", parser_class=Command)

    def add(name: str, short: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=short, description=description, epilog=epilog, formatter_class=raw, allow_abbrev=False
        )

    command = add("generate", "continue a text", GENERATE, f"{about_rules()}\n\n{GENERATE_EPILOG}")
    prompt, end = add_generation(command)
    prompt.add_argument("--jsonl", metavar="FILE", help="many prompts, one a line, from a file or - (see below)")
    prompt.add_argument(
        "--batch", type=int, default=1, metavar="N", help="with --jsonl: N texts at once, in shared passes (%(default)s)"
    )
    end.add_argument("--json", action="store_true", help="print one JSON object instead: text, ids, rounds and figures")

    short = "write a page to step through the rounds of a text"
    command = add("trace", short, TRACE, f"{about_rules()}\n\n{TRACE_EPILOG}")
    _, end = add_generation(command, default="tiny-target, and tiny-draft to draft")
    end.add_argument("--html", metavar="FILE", required=True, help="the page to write; a file of that name is replaced")
    command.set_defaults(jsonl=None)

    command = add("prove", "check a rule exactly, on models of fractions", PROVE, f"{about_rules()}\n\n{PROVE_EPILOG}")
    command.add_argument("--verify", choices=RULES, default="token", metavar="RULE", help="the rule, see below (%(default)s)")
    command.add_argument("--mutant", metavar="NAME", help="a planted bug of a rule or a drafter instead; list names them")
    command.add_argument("--vocab", type=int, metavar="N", default=3, help="tokens in the vocabulary (%(default)s)")
    command.add_argument("--gamma", type=int, metavar="N", default=2, help="drafted tokens a round (%(default)s)")
    command.add_argument("--horizon", type=int, metavar="N", default=4, help="tokens of text (%(default)s)")
    command.add_argument("--models", type=int, metavar="N", default=5, help="how many pairs of models to draw (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of the models (%(default)s)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead, its fractions as strings")

    command = add("conform", "test somebody's engine", CONFORM, CONFORM_EPILOG)
    engine = command.add_mutually_exclusive_group(required=True)
    engine.add_argument("--adapter", metavar="MODULE:NAME", help="the engine; or FILE.py:NAME")
    engine.add_argument("--command", dest="program", metavar="COMMAND", help="the engine as a program that speaks JSON lines")
    command.add_argument(
        "--level", choices=("replay", "exact", "sampled", "all"), help="how it is tested (the highest that it allows)"
    )
    command.add_argument("--budget", type=float, default=120.0, metavar="SECONDS", help="of the sampled level (%(default)s)")
    command.add_argument(
        "--limit",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="for one case; then it is cut off (%(default)s)",
    )
    command.add_argument("--xfail", metavar="FILE", help="known deviations, as JSON; one that does not occur fails the run")
    command.add_argument("--json", action="store_true", help="print one JSON object instead; with --level all, a list")
    command.add_argument("--junit", metavar="FILE", help="write the findings there as JUnit's XML")

    command = add("compare", "find the module where another implementation differs", COMPARE, COMPARE_EPILOG)
    command.add_argument("--model", required=True, help="a folder, or a name that `refspec models` lists")
    command.add_argument("--activations", required=True, metavar="FILE", help="theirs, as safetensors")
    command.add_argument("--json", action="store_true", help="print one JSON object instead, with every module")

    command = add("golden", "write what each module of a model computes", GOLDEN)
    command.add_argument("--model", required=True, help="a folder, or a name that `refspec models` lists")
    command.add_argument("--ids", required=True, help="the text, as token ids with commas between")
    command.add_argument("--rounds", type=int, default=0, metavar="N", help="add the cache after N rounds (%(default)s: none)")
    command.add_argument("--out", required=True, metavar="FILE", help="the file to write; one of that name is replaced")

    add_bench(add("bench", "measure this machine, and what speculation gains on it", BENCH, BENCH_EPILOG))
    command = add("calibrate", "measure once what --gamma auto goes by", CALIBRATE, CALIBRATE_EPILOG)
    command.add_argument("--model", help="the target (smollm2-135m if it was fetched, else tiny-target)")
    drafter = command.add_mutually_exclusive_group()
    drafter.add_argument(
        "--draft", metavar="MODEL", help="a smaller model or a head, to measure its cost too (tiny-draft for tiny-target)"
    )
    drafter.add_argument("--ngram", action="store_true", help="measure no draft model, and keep the cost that one had before")
    command.add_argument("--row-invariant", action="store_true", help="for generate --row-invariant, whose costs are others")
    command.add_argument("--even-if-busy", action="store_true", help="save figures that did not settle")
    command = add("sweep", "run an experiment of many cells", SWEEP, SWEEP_EPILOG)
    command.add_argument("plan", metavar="PLAN", help="a file of TOML, see below")
    command.add_argument(
        "--out", required=True, metavar="FILE", help="where the rows go, and where those that are there come from"
    )
    command.add_argument("--scheduler", metavar="ADDRESS", help="of a cluster of Dask's, in place of one on this machine")
    command.add_argument("--workers", type=int, metavar="N", help="processes on this machine (as many as there are cores)")
    short = "list the models that are known and those on disk"
    add("models", short, f"{short.capitalize()}.")

    command = add("demo", "show speculative decoding at work", DEMO, DEMO_EPILOG)
    command.add_argument("--gamma", type=int, metavar="N", default=4, help="drafted tokens a round (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="the same seed gives the same texts (%(default)s)")
    return top


def add_generation(command: argparse.ArgumentParser, default: str = "") -> tuple[Any, Any]:
    """What `generate` and `trace` share. The groups "prompt" and "length and output" take what each has of its own."""
    prompt = command.add_argument_group("prompt")
    prompt.add_argument("prompt", nargs="?", metavar="PROMPT", help="a text; standard input if it is - or left out")
    prompt.add_argument("--file", help="read the prompt from a file; as from a pipe, the newline at its very end is left out")
    prompt.add_argument("--chat", action="store_true", help="say it to the model as a user, by its own chat template")
    prompt.add_argument("--date", metavar="DATE", help="what a chat template takes for today, such as 2026-11-27 (today)")
    prompt.add_argument(
        "--enable-thinking", action=argparse.BooleanOptionalAction, help="the variable of that name in a chat template (not set)"
    )
    prompt.add_argument(
        "--template-var",
        action="append",
        default=[],
        type=variable_argument,
        metavar="KEY=JSON",
        help="any variable that a chat template reads; repeat it for several",
    )

    models = command.add_argument_group("models")
    target = "the target: a folder, or a name that `refspec models` lists" + (default and f" ({default})")
    models.add_argument("--model", required=not default, help=target)
    drafter = models.add_mutually_exclusive_group()
    drafter.add_argument("--draft", metavar="MODEL", help="a smaller model, a head or a table; auto: the best there is")
    drafter.add_argument("--ngram", action="store_true", help="draft by looking up what followed the same words before")
    models.add_argument(
        "--gamma", type=gamma_argument, default=4, help="drafted tokens a round (%(default)s), or auto: as many as pay"
    )
    models.add_argument("--profile", metavar="FILE", help="the costs that --gamma auto goes by, in place of this machine's")
    models.add_argument(
        "--row-invariant", action="store_true", help="greedy and coupled drafts change no token, whatever rounding does; slower"
    )
    models.add_argument(
        "--verify", choices=RULES, default="token", metavar="RULE", help="the verification rule, see below (%(default)s)"
    )

    sampling = command.add_argument_group("sampling")
    sampling.add_argument("--temperature", type=float, default=1.0, help="0 takes the most likely token (%(default)s)")
    sampling.add_argument("--top-k", type=int, help="keep the K most likely tokens", metavar="K")
    sampling.add_argument("--top-p", type=float, help="keep the most likely tokens up to a mass of P", metavar="P")
    sampling.add_argument("--min-p", type=float, help="keep tokens at least P times as likely as the likeliest", metavar="P")
    sampling.add_argument("--seed", type=int, default=0, help="the same seed gives the same text (%(default)s)")

    end = command.add_argument_group("length and output")
    end.add_argument("--max-new-tokens", type=int, default=64, metavar="N", help="(%(default)s)")
    end.add_argument(
        "--stop",
        action="append",
        type=stop_argument,
        help="what ends the text, in place of the model's own end tokens: a token id if it is all digits, else a text, which is "
        "not shown; repeat it for several",
    )
    return prompt, end


def add_bench(command: argparse.ArgumentParser) -> None:
    models = command.add_argument_group("models")
    models.add_argument("--model", help="the target (smollm2-135m if it was fetched, else tiny-target)")
    drafter = models.add_mutually_exclusive_group()
    drafter.add_argument("--draft", metavar="MODEL", help="a smaller model, a head, a table or auto (tiny-draft for tiny-target)")
    drafter.add_argument("--ngram", action="store_true", help="draft by looking up what followed the same words before (others)")
    models.add_argument("--gamma", type=gamma_argument, default="auto", help="drafted tokens a round, or %(default)s")
    models.add_argument("--profile", metavar="FILE", help="the costs that --gamma auto goes by, in place of this machine's")
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
    out.add_argument(
        "--batch",
        type=int,
        nargs="+",
        metavar="N",
        help="serve N users at once instead, for each N given: tokens/s of all and of each, plainly and with drafts",
    )
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


def variable_argument(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        if name.isidentifier():
            return name, strict_json(value)
    except (ValueError, RecursionError):
        pass
    raise argparse.ArgumentTypeError(
        f"{short(text)} is not KEY=JSON, such as effort='\"high\"' or enable_thinking=false"
    ) from None


def stop_argument(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text
