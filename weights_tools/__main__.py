"""The command line: `python -m weights_tools COMMAND`. One line on standard error and exit code 2 for a mistake.

Heavy libraries are imported where a command needs them: nothing else waits for PyTorch, or misses it.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from refspec.cli.arguments import Parser
from refspec.cli.exits import INTERRUPTED, MISTAKE, READER_LEFT, SUCCESS, leave, require_streams
from refspec.errors import BadArgument, RefspecError, refused
from refspec.interrupts import Heard
from refspec.models.home import EMBEDDED, KNOWN, find, folder_of, home
from weights_tools.errors import MissingLibrary
from weights_tools.fetch import fetch, is_present
from weights_tools.inspection import describe
from weights_tools.outputs import require_collection, require_file, require_folder, require_run, require_table
from weights_tools.settings import (
    CollectSettings,
    DistillSettings,
    HeadSettings,
    PassageSettings,
    TableSettings,
    TrainSettings,
    add_options,
    check,
    chosen,
)

PROGRAM = "weights_tools"

TRAIN = """\
Train a GPT-2 and its byte-level vocabulary on one text, on a CPU, until the loss on the held-out tenth stops falling.
OUT is a model folder with the best weights so far; checkpoint, log.csv and loss.png go to the run folder. After Ctrl-C or
a kill the same command goes on, and follows the same curve."""

DISTILL = """\
Teach a draft its target's law, on sequences that both write (DistillSpec, arXiv 2310.08461). OUT is a model folder with the
best weights so far, by acceptance at temperature 1; checkpoint, log.csv and loss.png go to the run folder. After Ctrl-C or
a kill the same command goes on, and follows the same curve.

Memory, beside both models, goes to logits: 2 bytes * sequences * length * vocabulary for the target's, which are kept for a
round, and about 30 bytes * batch * length * vocabulary while learning. SmolLM2, with 49,152 tokens, takes 6.2 GB in all with
the defaults and 2.6 GB with --sequences 16 --length 128 --batch 4."""

COLLECT = """\
Let a target write chats, many at once, and keep each with the features that the target had on the way. Prompts are those of a
file, and then what the target writes itself when the user's turn is left open. After Ctrl-C or a kill the same command goes
on."""

PASSAGES = """\
Write long prompts for `collect`: passages of answers that the target gave, to be summarised or asked about. A head that learned
from short texts alone guesses badly in long ones."""

TABLE = """\
Count an n-gram table over text that `collect` gathered: what the target usually says behind each few tokens. Prompt lookup asks
it where the text itself has no guess."""

TRAIN_HEAD = """\
Train a head that drafts from the target's own features, on text that `collect` gathered. OUT has the best weights so far, by the
tokens that a chain of its guesses yields on held-out texts; checkpoint, log.csv and loss.png go to the run folder. After Ctrl-C
or a kill the same command goes on. A run learns from the texts that it began with; on more of them its head is trained further,
with --start and another --out."""

EVALUATE = """\
Print as Markdown what a trained pair is worth: held-out loss beside a trigram's, and acceptance before and after distilling.
All three models are GPT-2s of one vocabulary."""


def main(arguments: Sequence[str] | None = None) -> int:
    with Heard():
        return run(arguments)


def run(arguments: Sequence[str] | None) -> int:
    interrupted = "nothing was done"
    try:
        try:
            require_streams()
            options = parser().parse_args(arguments)
            interrupted = options.interrupted
            return options.run(options) or SUCCESS  # most commands have no answer but that they are done
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        return leave("", READER_LEFT, PROGRAM)
    except KeyboardInterrupt:
        return leave(f"interrupted; {interrupted}", INTERRUPTED, PROGRAM)
    except RefspecError as error:
        return leave(str(error), MISTAKE, PROGRAM)
    except OSError as error:  # a full disk, a folder that may not be written
        return leave(refused(error), MISTAKE, PROGRAM)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):  # which is how PyTorch says it
            raise
        return leave("not enough memory for this; choose a smaller model or batch", MISTAKE, PROGRAM)


def place() -> str:
    """Where fetched models go, for the help, which is there also for a user without a home."""
    try:
        return f"{home() / 'models'} (REFSPEC_HOME moves it)"
    except BadArgument as error:
        return f"no folder yet: {error}"


def parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {name:<17}{about}" for name, about in [*EMBEDDED.items(), *((m.name, m.about) for m in KNOWN.values())])
    raw = argparse.RawDescriptionHelpFormatter
    top = Parser(
        prog="python -m weights_tools",
        description="Fetch and inspect the weights that refspec runs; train, distil and evaluate a pair of small models.",
        epilog=f"models known by name:\n{known}\n\nthe fetched ones are kept in {place()}",
        formatter_class=raw,
        allow_abbrev=False,
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, short: str, long: str, *examples: str) -> argparse.ArgumentParser:
        lines = [f"  python -m weights_tools {name} {example}" for example in examples]
        heading = "example:" if len(lines) == 1 else "examples:"
        return commands.add_parser(
            name, help=short, description=long, epilog="\n".join([heading, *lines]), formatter_class=raw, allow_abbrev=False
        )

    short = "download a model and convert it where needed"
    command = add("fetch", short, f"{short.capitalize()}.", "smollm2-135m")
    command.set_defaults(run=run_fetch, interrupted="nothing was kept")
    command.add_argument("name", help=f"{', '.join(KNOWN)}, or owner/name of a Hugging Face repository")
    command.add_argument("--force", action="store_true", help="fetch it again even if it is there")

    short = "say what a model folder holds and whether refspec can run it"
    command = add("inspect", short, f"{short.capitalize()}: exit code 2 if it cannot.", "tiny-target")
    command.set_defaults(run=run_inspect, interrupted="nothing was kept")
    command.add_argument("model", help="a folder, or the name of a model")

    resumable = "the same command goes on from the last checkpoint"
    command = add(
        "train", "train a small GPT-2 on a text", TRAIN,
        "--corpus corpus.txt --out my-target",
        "--corpus corpus.txt --out my-text-draft --tokenizer my-target --layers 1 --width 128 --heads 4 --dropout 0",
    )  # fmt: skip
    command.set_defaults(run=run_train, interrupted=resumable)
    files = add_files(command, "a UTF-8 text; its last tenth is held out")
    either = files.add_mutually_exclusive_group()
    either.add_argument("--tokenizer", metavar="MODEL", help="a model whose vocabulary to use, instead of learning one")
    either.add_argument("--start", metavar="MODEL", help="a GPT-2 to train further, with its own vocabulary and shape")
    add_options(command.add_argument_group("settings"), vars(TrainSettings()))

    command = add(
        "distill", "teach a draft its target's law", DISTILL,
        "--target tiny-target --draft tiny-draft --corpus corpus.txt --out my-draft",
        "--target smollm2-135m --layers 0 1 28 29 --corpus corpus.txt --out smollm2-draft --sequences 16 --length 128 --batch 4",
    )  # fmt: skip
    command.set_defaults(run=run_distill, interrupted=resumable)
    files = add_files(command, "a UTF-8 text to take prompts from; its last tenth is held out")
    files.add_argument("--target", metavar="MODEL", required=True, help="a GPT-2 or a model of the Llama family: folder or name")
    start = files.add_mutually_exclusive_group(required=True)
    start.add_argument("--draft", metavar="MODEL", help="the model to start from")
    start.add_argument("--layers", type=int, nargs="+", metavar="N", help="start from these layers of a Llama-family target")
    add_options(command.add_argument_group("settings"), vars(DistillSettings()))

    command = add(
        "collect", "let a target write the text that its drafts learn from", COLLECT,
        "--target smollm2-135m --out smollm2-text --tokens 1000000",
        "--target smollm2-135m --out smollm2-text --prompts my-prompts.jsonl --tokens 200000",
    )  # fmt: skip
    command.set_defaults(run=run_collect, interrupted="what is complete is kept, and the same command goes on")
    command.add_argument(
        "--target", metavar="MODEL", required=True, help="a model of the Llama family that chats: folder or name"
    )
    command.add_argument("--out", type=as_path, required=True, help="the folder of the collection: a file a text")
    command.add_argument(
        "--prompts", type=as_path, metavar="FILE", help='JSONL with "category" and "prompt" in each line: answered first'
    )
    add_options(command, {"threads": 1})
    add_options(command.add_argument_group("settings"), vars(CollectSettings()))

    command = add(
        "passages", "write long prompts out of a target's own text", PASSAGES,
        "--target smollm2-135m --text smollm2-text --out long.jsonl",
    )  # fmt: skip
    command.set_defaults(run=run_passages, interrupted="nothing was kept")
    command.add_argument("--target", metavar="MODEL", required=True, help="the model that wrote the text: folder or name")
    command.add_argument("--text", type=as_path, nargs="+", required=True, metavar="FOLDER", help="collections of its own text")
    command.add_argument("--out", type=as_path, required=True, metavar="FILE", help="JSONL to write, for `collect --prompts`")
    add_options(command, vars(PassageSettings()))

    command = add(
        "table", "count what a target usually says next", TABLE,
        "--target smollm2-135m --text smollm2-text --out my-table",
    )  # fmt: skip
    command.set_defaults(run=run_table, interrupted="nothing was kept")
    command.add_argument("--target", metavar="MODEL", required=True, help="the model whose text it is: folder or name")
    command.add_argument("--text", type=as_path, nargs="+", required=True, metavar="FOLDER", help="collections of its own text")
    command.add_argument("--out", type=as_path, required=True, help="the folder of the table to write")
    add_options(command, vars(TableSettings()))

    command = add(
        "train-head", "train a small draft head on a target's own text", TRAIN_HEAD,
        "--target smollm2-135m --text smollm2-text --out my-head",
    )  # fmt: skip
    command.set_defaults(run=run_train_head, interrupted=resumable)
    add_options(command, {"threads": 1, "checkpoint_seconds": 120.0})
    files = command.add_argument_group("files")
    files.add_argument("--target", metavar="MODEL", required=True, help="a model of the Llama family: folder or name")
    files.add_argument("--text", type=as_path, nargs="+", required=True, metavar="FOLDER", help="collections of its own text")
    files.add_argument("--start", metavar="HEAD", help="a head of this kind to train further: folder or name")
    files.add_argument("--out", type=as_path, required=True, help="the folder of the head to write")
    files.add_argument("--run-folder", type=as_path, metavar="RUN", help="for checkpoint, log and plot (OUT.run)")
    add_options(command.add_argument_group("settings"), vars(HeadSettings()))

    command = add(
        "evaluate", "say what a trained pair is worth", EVALUATE,
        "--corpus corpus.txt --target my-target --draft my-draft --text-draft my-text-draft",
    )  # fmt: skip
    command.set_defaults(run=run_evaluate, interrupted="nothing was kept")
    command.add_argument("--corpus", type=as_path, required=True, help="the text that the pair was trained on")
    command.add_argument("--target", metavar="MODEL", required=True, help="the target: folder or name")
    command.add_argument("--draft", metavar="MODEL", required=True, help="the draft after distillation")
    command.add_argument("--text-draft", metavar="MODEL", required=True, help="the draft before it")
    add_options(command, {"threads": 1})
    return top


def as_path(text: str) -> Path:
    if not text:  # a variable of the shell that was not set; pathlib would take it for the folder one is in
        raise argparse.ArgumentTypeError("it is empty; give a path")
    return Path(text)


def add_files(command: argparse.ArgumentParser, corpus: str) -> argparse._ArgumentGroup:
    """What training and distillation read and write, and how they run."""
    add_options(command, {"threads": 1, "checkpoint_seconds": 120.0})
    files = command.add_argument_group("files")
    files.add_argument("--corpus", type=as_path, required=True, help=corpus)
    files.add_argument("--out", type=as_path, required=True, help="the model folder to write")
    files.add_argument("--run-folder", type=as_path, metavar="RUN", help="for checkpoint, log and plot (OUT.run)")
    return files


def run_fetch(options: argparse.Namespace) -> None:
    if is_present(options.name) and not options.force:
        print(f"{options.name} is already in {folder_of(options.name)} (--force fetches it again)")
    else:
        print(f"{options.name} is ready in {fetch(options.name, force=options.force)}")


def run_inspect(options: argparse.Namespace) -> int:
    text, runs = describe(options.model)
    print(text)
    return 0 if runs else 2


SHAPE = ("vocab", "context", "layers", "width", "heads")  # settings that a model to start from has already


def run_train(options: argparse.Namespace) -> None:
    defaults = TrainSettings()
    if options.start is not None:
        for name in SHAPE:
            if getattr(options, name) != getattr(defaults, name):
                raise BadArgument(f"start {options.start} brings its own shape and vocabulary; leave out --{name}")
    settings = chosen(options, TrainSettings)
    start = None if options.start is None else find(options.start)
    vocabulary = start if options.tokenizer is None else find(options.tokenizer)
    run = run_folder(options, {"the model to start from": start, "the model whose vocabulary is used": vocabulary})
    start_pytorch(options.threads)
    from weights_tools.model_folder import load_gpt2, load_tokenizer
    from weights_tools.train import train

    tokenizer = load_tokenizer(vocabulary) if vocabulary else None
    model = load_gpt2(start) if start else None
    if model:
        settings = replace(settings, **vars(model.shape))
    train(options.corpus, options.out, run, settings, tokenizer=tokenizer, start=model,
          checkpoint_seconds=options.checkpoint_seconds)  # fmt: skip


def run_distill(options: argparse.Namespace) -> None:
    settings = chosen(options, DistillSettings)
    target, draft = find(options.target), options.draft and find(options.draft)
    run = run_folder(options, {"the target": target, "the draft to start from": draft})
    start_pytorch(options.threads)
    from weights_tools.corpus import encode, read_split
    from weights_tools.distill import distill
    from weights_tools.model_folder import load_tokenizer, require_same_vocabulary
    from weights_tools.networks import draft_from_layers, load_network
    from weights_tools.texts import name_of

    if draft:
        require_same_vocabulary(target, draft)
    corpus = encode(read_split(options.corpus), load_tokenizer(target))
    student = load_network(draft) if draft else draft_from_layers(target, options.layers)
    distill(load_network(target), student, corpus, options.out, run, settings, target_name=name_of(target),
            checkpoint_seconds=options.checkpoint_seconds)  # fmt: skip


def run_collect(options: argparse.Namespace) -> None:
    settings, target = chosen(options, CollectSettings), find(options.target)
    require_folder("out", options.out, {"the target": target})
    require_collection(options.out)
    start_pytorch(options.threads)
    from weights_tools.collect import collect, read_prompts

    counts = collect(target, options.out, settings, read_prompts(options.prompts) if options.prompts else [])
    for (kind, temperature), tokens in sorted(counts.items()):
        print(f"{kind:>6} prompts, temperature {temperature:g}: {tokens:,} answer tokens")


def run_passages(options: argparse.Namespace) -> None:
    settings, target = chosen(options, PassageSettings), find(options.target)
    require_file("out", options.out, {"the target": target} | texts_of(options))
    start_pytorch(1)
    from weights_tools.passages import write_passages

    print(f"{options.out}: {write_passages(target, options.text, options.out, settings)} prompts")


def run_table(options: argparse.Namespace) -> None:
    settings, target = chosen(options, TableSettings), find(options.target)
    require_folder("out", options.out, {"the target": target} | texts_of(options))
    require_table(options.out)
    start_pytorch(1)
    from weights_tools.table import count_table

    table, tokens = count_table(target, options.text, options.out, settings)
    print(f"{options.out}: {table}, of {tokens:,} tokens")


def run_train_head(options: argparse.Namespace) -> None:
    settings, target, start = chosen(options, HeadSettings), find(options.target), options.start and find(options.start)
    run = run_folder(options, {"the head to start from": start, "the target": target} | texts_of(options))
    start_pytorch(options.threads)
    from weights_tools.train_head import train_head

    best = train_head(
        target, options.text, options.out, run, settings, start=start, checkpoint_seconds=options.checkpoint_seconds
    )
    print(f"{options.out}: " + ", ".join(f"{name} {value:.3f}" for name, value in best.items()))


def run_evaluate(options: argparse.Namespace) -> None:
    target, draft, text_draft = (find(name) for name in (options.target, options.draft, options.text_draft))
    start_pytorch(options.threads)
    from weights_tools.evaluation import report

    print(report(options.corpus, target, draft, text_draft), end="")


def texts_of(options: argparse.Namespace) -> dict[str, Path]:
    return {f"the text in {folder}": folder for folder in options.text}


def run_folder(options: argparse.Namespace, read: Mapping[str, Path | None]) -> Path:
    """Where checkpoint, log and plot go. Raises, before anything is done, where that or `out` cannot be, or is read."""
    check({"checkpoint_seconds": options.checkpoint_seconds})
    out = options.out.resolve() if options.out.name in ("", "..") else options.out  # which have no name to put .run behind
    run: Path = options.run_folder or Path(f"{out}.run")
    given = {role: path for role, path in read.items() if path}
    require_folder("out", options.out, given)
    require_folder("run_folder", run, given | {"out": options.out})
    require_run(options.out, run)
    return run


def start_pytorch(threads: int) -> None:
    check({"threads": threads})
    try:
        import torch
    except ImportError as error:
        raise MissingLibrary(f"training needs PyTorch ({error}): pip install '.[train]'") from error
    torch.set_num_threads(threads)


if __name__ == "__main__":
    sys.exit(main())
