"""The walls between the rooms: who may import whom, who may draw, and what `import refspec` costs."""

import ast
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

import refspec

ROOT = Path(refspec.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each folder or file of refspec may import, beside itself. The probability half never names the network half.
ANYONE = {"errors", "arrays", "brief", "compose", "numeric", "files"}
FRONT = {"decoding", "proof", "transformer", "models", "given", "generate", "batch", "decode", "transcript"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "arrays": set(),
    "brief": set(),
    "compose": set(),
    "numeric": {"errors", "brief"},
    "files": {"errors"},
    "interrupts": set(),
    "decoding": ANYONE,
    "proof": ANYONE | {"decoding"},
    "conformance": ANYONE | {"decoding", "proof", "models"},
    "transformer": ANYONE,
    "models": ANYONE | {"decoding", "transformer"},
    "given": ANYONE | {"decoding", "models"},
    "transcript": ANYONE | {"decoding", "models", "proof"},
    "generate": ANYONE | {"decoding", "models", "transformer", "given", "transcript"},
    "batch": ANYONE | {"decoding", "models", "given", "generate"},
    "decode": ANYONE | {"decoding", "proof", "given"},
    "trace": ANYONE | {"decoding", "transformer", "models", "generate"},
    "cli": ANYONE | FRONT | {"bench", "sweep", "conformance", "trace", "interrupts", "__version__"},
    "bench": ANYONE | FRONT | {"cli"},  # whose colours and tables it prints with
    "sweep": ANYONE | {"decoding", "models", "given", "generate", "__version__"},
    "plot": ANYONE | {"decoding"},
    "exercises": ANYONE | {"decoding", "proof", "models", "transformer", "conformance"},
    "__init__": ANYONE | FRONT | {"interrupts"},
    "__main__": {"cli"},
}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms of refspec that a file imports from, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides the room it enters"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("refspec.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    assert imports(path) <= MAY_IMPORT[room(path)] | {room(path)}


def test_only_their_commands_import_the_benchmark() -> None:
    assert [path.name for path in FILES if room(path) == "cli" and "bench" in imports(path)] == ["bench.py", "calibrate.py"]


def test_nothing_outside_chance_draws() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert path.name == "chance.py" or not any(
            word in text for word in ("np.random", "import random", "from random", "secrets")
        ), path


WALL = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("safetensors", "tokenizers", "tqdm", "jinja2", "gguf", "huggingface_hub", "torch"):
            raise ImportError(f"{name} is behind the wall")

sys.meta_path.insert(0, Wall())
"""


def test_the_probability_half_runs_where_only_numpy_exists() -> None:
    """In a fresh interpreter that cannot import anything else from outside the standard library."""
    program = """
import refspec.decoding
import refspec
coin = refspec.TableLM({(): [0.5, 0.5]})
out = refspec.speculative(coin, refspec.ModelDrafter(coin), (), gamma=2, max_new_tokens=6, chance=refspec.Seeded(0))
assert len(out.tokens) == 6
"""
    subprocess.run([sys.executable, "-c", WALL + program], check=True)


COMMANDS = ("", "generate", "trace", "prove", "conform", "compare", "golden", "bench", "calibrate", "models", "demo")


def test_help_is_there_where_only_numpy_exists() -> None:
    """In one interpreter, since what one command imports is not taken back: nothing behind the wall is ever there."""
    program = f"""
from refspec.cli.main import main
for command in {COMMANDS}:
    print("\\n--help of", command)
    try:
        main([*command.split(), "--help"])
    except SystemExit as end:
        assert end.code == 0
"""
    said = subprocess.run([sys.executable, "-c", WALL + program], check=True, capture_output=True, text=True)
    helps = said.stdout.split("\n--help of")[1:]
    assert len(helps) == len(COMMANDS)
    for command, text in zip(COMMANDS, helps, strict=True):
        assert text.startswith(f" {command}\nusage: refspec {command}".rstrip())


# `help(refspec.stream)` must show what a person can say, so it writes down again what the loop takes.
SAID_TWICE = {("steps", "stream")}


def parameters(path: Path) -> list[tuple[str, set[str]]]:
    """Each function of a file, methods and nested ones too, with the names of its parameters, `self` and `cls` left out."""
    functions = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef))
    return [
        (each.name, {given.arg for given in (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)} - {"self", "cls"})
        for each in functions
    ]


def test_a_list_of_parameters_is_written_once() -> None:
    """No two functions of refspec share more than six names of parameters; `**options: Unpack[...]` or `fed_by` pass them on.

    It compares the parameters of every pair of functions in every file, by name alone.
    """
    functions = [each for path in FILES for each in parameters(path)]
    alike = {(a, b) for (a, ours), (b, theirs) in combinations(functions, 2) if len(ours & theirs) > 6}
    assert {tuple(sorted(pair)) for pair in alike} == SAID_TWICE
