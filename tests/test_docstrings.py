"""What the docstrings say is so: every example runs, every public object has one, and every shape line holds."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import pytest

import refspec
from refspec import draft, exercises, verify
from refspec.decoding import chance
from refspec.generate import Output, Run
from refspec.models import chat, model, sampling, tokenizer
from refspec.proof import distance, exact, interval, theory
from refspec.transformer import ops, plain

MODULES = sorted(each.name for each in pkgutil.walk_packages(refspec.__path__, "refspec.") if not each.name.endswith("__main__"))
# They import torch or another engine: run with the peers, where that is installed.
ENGINES = ("refspec.conformance.torch_", "refspec.conformance.mlx_", "refspec.conformance.adapters.")
WITH_METHODS = (model.Model, tokenizer.Tokenizer, Run, Output)

NO_EXAMPLE = {
    # protocols: those who fulfil them have the examples
    "Chance",
    "Drafter",
    "LanguageModel",
    # the parent of all errors, never raised itself
    "RefspecError",
    # needs a model that the package does not hold: one with a chat template, a Llama
    "Tokenizer.chat",
    "llama",
    # needs PyTorch: tests/peers/test_from_torch.py runs it
    "from_torch",
}


def own(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """The functions and classes that a module defines, without those whose names begin with an underscore."""
    for name, each in vars(module).items():
        if (inspect.isfunction(each) or inspect.isclass(each)) and each.__module__ == module.__name__ and name[0] != "_":
            yield name, each


def public() -> dict[str, Any]:
    """Every public function and class, and the public methods and properties of the classes that people call."""
    found: dict[str, Any] = {}
    drawn = [importlib.import_module("refspec.plot")] if importlib.util.find_spec("matplotlib") else []
    for module in (refspec, verify, exercises, *drawn):
        listed = ((name, getattr(module, name)) for name in module.__all__)
        found |= {name: each for name, each in listed if inspect.isfunction(each) or inspect.isclass(each)}
    for module in (chance, chat, distance, draft, exact, interval, model, ops, plain, sampling, theory, tokenizer):
        found |= {f"{name} in {module.__name__}": each for name, each in own(module)}
    for kind in WITH_METHODS:
        methods = {name: each for name, each in vars(kind).items() if inspect.isfunction(each) or isinstance(each, property)}
        found |= {f"{kind.__name__}.{name}": each for name, each in methods.items() if name[0] != "_"}
    return found


PUBLIC = public()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.peers if name.startswith(ENGINES) else ()) for name in ("refspec", *MODULES)]
)
def test_examples_run(name: str) -> None:
    """Each with nothing in scope but what it imports itself."""
    if name.startswith(("refspec.bench.plots", "refspec.plot")):
        pytest.importorskip("matplotlib", reason="needs the optional extra: pip install '.[plot]'")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(ENGINES):
            raise
        pytest.skip(f"needs {error.name}")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    with np.printoptions(legacy=False, precision=8, suppress=False, linewidth=130):
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, name, globs={}):
            said: list[str] = []
            runner.run(test, out=said.append)
            assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_is_documented_with_an_example(name: str) -> None:
    said = inspect.getdoc(PUBLIC[name])
    assert said, f"{name} has no docstring"
    assert (">>>" in said) != (name.partition(" ")[0] in NO_EXAMPLE), said


def test_the_list_of_exceptions_is_no_longer_than_needed() -> None:
    assert {name.partition(" ")[0] for name in PUBLIC} >= NO_EXAMPLE


# --- shape lines: `x [h, n, e], cos and sin [n, e] -> [h, n, e]: ...` ---

# All different, but for what must agree: d = h * e, and the mask hides nothing.
SIZES = {"n": 5, "m": 11, "k": 7, "seen": 11, "d": 24, "h": 6, "g": 3, "e": 4, "v": 13, "inner": 9, "...": 2}
OTHERS = {"eps": 1e-5, "scale": 1.0, "h": 6, "heads": 6, "k": 2, "p": 0.5, "temperature": 1.0}
NEEDS_A_MODEL = {"logits", "gpt2", "llama"}


def size(axis: str) -> int:
    """Of an axis such as "n", "..." or "h * e" or "e / 2"."""
    if "*" in axis:
        return prod(map(size, axis.split("*")))
    whole, _, divisor = axis.partition("/")
    return SIZES[whole.strip()] // int(divisor or 1)


def shape(axes: str) -> tuple[int, ...]:
    return tuple(map(size, axes.split(",")))


def with_shape_lines() -> Iterator[tuple[Any, dict[str, str], str]]:
    """Functions whose docstring begins with a shape line: the function, the shape of each argument, that of the result."""
    for function in (each for module in (ops, plain, sampling) for _, each in own(module)):
        arguments, _, result = (function.__doc__ or "").partition("\n")[0].partition(" -> [")
        if result and function.__name__ not in NEEDS_A_MODEL:
            named = re.findall(r"([a-z_, ]+) \[([^]]+)\]", arguments)
            yield (
                function,
                {name: axes for names, axes in named for name in re.findall(r"[a-z_]+", names)},
                result.partition("]")[0],
            )


LINES = list(with_shape_lines())


@pytest.mark.parametrize(("function", "shapes", "result"), LINES, ids=lambda each: getattr(each, "__qualname__", ""))
def test_shape_lines_hold(function: Any, shapes: dict[str, str], result: str) -> None:
    random = np.random.default_rng(0)
    width = shape(next(iter(shapes.values())))[-1]  # of the weights that no line mentions

    def argument(name: str) -> Any:
        if name in ("mask", "kept"):
            return np.ones(shape(shapes[name]), bool)
        if name in ("weight", "bias"):
            return random.random(width)
        return random.random(shape(shapes[name])) if name in shapes else OTHERS[name]

    made = function(**{name: argument(name) for name in inspect.signature(function).parameters})
    assert made.shape == shape(result)


def test_most_functions_have_a_shape_line() -> None:
    assert len(LINES) > 20


def test_generate_explains_the_options_that_it_shares() -> None:
    """`help(refspec.generate)` sends nobody elsewhere."""
    assert (inspect.getdoc(refspec.stream) or "nothing") in (refspec.generate.__doc__ or "")
