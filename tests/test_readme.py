"""The README does what it says: its commands run, its listings are the code, its output is what comes, and it stays short.

So do the links of all pages, and the plain lines that the fast files quote.
"""

import ast
import contextlib
import inspect
import io
import re
import shlex
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from refspec.cli.arguments import parser
from refspec.cli.main import main
from refspec.decoding import loop
from refspec.decoding.verify import token_rule

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```$", README, re.M | re.S)


def sessions() -> list[tuple[list[str], str]]:
    """Each `$ command` of an indented block, as arguments, and the output quoted below it."""
    blocks = re.findall(r"^    \$ (?:.*\n)(?:(?:    .*)?\n)*", README, re.M)
    found = []
    for block in blocks:
        command, _, output = re.sub(r"^    ", "", block, flags=re.M).replace("\\\n", "").partition("\n")
        found.append((shlex.split(command.removeprefix("$ "), comments=True), output))
    return found


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints, its text and its figures."""
    assert arguments[0] == "refspec"
    main(arguments[1:])
    out, err = capsys.readouterr()
    return out + err


def words(text: str) -> list[str]:
    """Of prose and headings: without fenced and indented code, tables, images and addresses; what holds a letter or digit."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"^(    .*|\|.*|!\[.*)$", "", text, flags=re.M)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return [word for word in text.split() if re.search(r"\w", word)]


def test_words_are_counted_outside_of_listings() -> None:
    text = "# One\n\ntwo [three](http://no.no) - `four`\n\n    no\n\n| no |\n|---|\n\n```sh\nno\n```\n\n![no](no.png)\nfive\n"
    assert len(words(text)) == 5


def test_it_is_short() -> None:
    assert len(words(README)) <= 900


def test_the_first_two_shell_blocks_are_those_that_ci_runs() -> None:
    assert fenced("sh")[:2] == ["pip install . && refspec demo", "pip install '.[test]' && pytest"]


def test_the_loop_is_the_file() -> None:
    """From the first line after the checks to the last."""
    lines = inspect.getsource(loop.steps).splitlines()
    start = lines.index("    tokens = tuple(prompt)")
    assert inspect.cleandoc("\n".join(lines[start:])) in fenced("python")


def test_the_token_rule_is_the_file() -> None:
    """Without its decorator and its docstring."""
    lines = inspect.getsource(token_rule).splitlines()
    rule = next(node for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.FunctionDef) and node.name == "token")
    docstring = rule.body[0]
    assert "\n".join([lines[rule.lineno - 1], *lines[docstring.end_lineno : rule.end_lineno]]) in fenced("python")


def programs() -> list[str]:
    return [block for block in fenced("python") if "import refspec" in block]


def test_the_python_blocks_run() -> None:
    assert len(programs()) == 2
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for program in programs():
            exec(program, {})
    assert printed.getvalue().strip()


def test_the_probabilities_are_those_of_the_program() -> None:
    program = programs()[-1]
    names: dict[str, Any] = {}
    *first, last = ast.parse(program).body
    exec(compile(ast.Module(first, []), "README.md", "exec"), names)
    assert isinstance(last, ast.Expr)
    found = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
    quoted = re.findall(r"\(([\d, ]+)\): Fraction\((\d+), (\d+)\)", program.splitlines()[-1])
    assert quoted
    for text, above, below in quoted:
        assert found[tuple(map(int, text.split(", ")))] == Fraction(int(above), int(below))


def test_the_rules_and_drafters_of_ones_own_are_off_by_what_the_page_says() -> None:
    page = (ROOT / "docs" / "test-your-engine.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)\n```$", page, re.M | re.S)
    names: dict[str, Any] = {}
    *first, last = ast.parse(program).body
    exec(compile(ast.Module(first, []), "test-your-engine.md", "exec"), names)
    assert isinstance(last, ast.Expr)
    found = eval(compile(ast.Expression(last.value), "test-your-engine.md", "eval"), names)
    assert f"# {found}" == program.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "output"), sessions(), ids=lambda each: " ".join(each)[:40] if isinstance(each, list) else ""
)
def test_the_commands_exist(arguments: list[str], output: str) -> None:
    assert arguments[0] == "refspec"
    parser().parse_args(arguments[1:])
    assert output.strip()


def without_seconds(output: str) -> list[str]:
    return [re.sub(r" +\d+\.\d\d$", "", line.strip()) for line in output.strip().splitlines()]


PROOFS = [each for each in sessions() if each[0][1] == "prove"]


def test_two_checks_are_quoted() -> None:
    assert len(PROOFS) == 2


@pytest.mark.parametrize(("arguments", "output"), PROOFS, ids=["rule", "mutant"])
def test_the_quoted_check_is_what_comes(arguments: list[str], output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert without_seconds(run(arguments, capsys)) == without_seconds(output)


@pytest.mark.real
@pytest.mark.usefixtures("smollm2_folder")
@pytest.mark.parametrize(
    ("arguments", "output"), [each for each in sessions() if each[0][1] == "generate"], ids=["gains", "loses"]
)
def test_the_quoted_text_is_what_comes(arguments: list[str], output: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Text and figures, up to the times."""
    assert run(arguments, capsys).partition("prefill")[0].split() == output.partition("prefill")[0].split()


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"(?<!!)\[[^]]*\]\(([^)#]+)\)", text)
    links = [link for link in links if not link.startswith("made/")]  # docs/check_site.py follows those
    assert not [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()]


@pytest.mark.parametrize("name", ["gpt2", "llama", "ops", "cache", "linear"])
def test_the_plain_lines_that_a_trick_replaces_stand_in_plain(name: str) -> None:
    folder = ROOT / "refspec" / "transformer"
    docstring = ast.get_docstring(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8")))
    plain = (folder / "plain.py").read_text(encoding="utf-8")
    tricks = re.findall(r"Plain: (.*?)(?=\n- |\n\n|\Z)", docstring or "", re.S)
    quoted = [line for trick in tricks for line in re.findall(r"`([^`]+)`", trick)]
    assert quoted
    for line in quoted:
        assert all(part in plain for part in line.split("...")), line
