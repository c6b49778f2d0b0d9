"""`refspec sweep`: a plan's cells, rows that are kept, and a sweep that goes on where it was killed."""

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import refspec
from refspec.cli.main import main
from refspec.errors import BadArgument
from refspec.sweep import cell, cluster
from refspec.sweep.plan import Cell, Plan, digest
from refspec.sweep.results import Swept, finish

PLAN: dict[str, Any] = {
    "models": ["tiny-draft"],
    "drafters": ["none", "ngram", "tiny-draft"],
    "gammas": [1, 3],
    "prompts": ["ROMEO:"],
    "seeds": [0, 1],
    "max_new_tokens": 4,
}

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="needs the optional extra: pip install '.[sweep]'"
)


def here(cells: Sequence[Cell]) -> Iterator[cell.Row]:
    """A runner without a cluster."""
    return map(cell.run, cells)


# --- plans ---


def test_the_cells_are_the_product_of_the_lists() -> None:
    plan = Plan.of(PLAN)
    assert len(plan.cells) == 12
    assert len({digest(each) for each in plan.cells}) == 12
    assert plan.cells[0] == {
        "model": "tiny-draft",
        "prompt": "ROMEO:",
        "draft": "none",
        "verify": "token",
        "gamma": 1,
        "temperature": 1.0,
        "seed": 0,
        "max_new_tokens": 4,
        "row_invariant": False,
    }
    assert Plan.of(PLAN).digest == plan.digest
    assert Plan.of(PLAN | {"seeds": [0, 2]}).digest != plan.digest


def test_a_cell_holds_the_costs_that_it_bets_by(tmp_path: Path) -> None:
    (auto,) = Plan.of({"models": ["tiny-draft"], "prompts": ["x"], "drafters": ["ngram"], "gammas": ["auto"]}).cells
    assert auto["profile"]["verify"][0] == 1
    row = cell.run(auto | {"max_new_tokens": 3})
    assert (row["error"], len(row["tokens"])) == (None, 3)
    refspec.Profile((1, 9.0), 0.5, "mine").save(tmp_path / "mine.json")
    plan = PLAN | {"gammas": ["auto"], "profile": str(tmp_path / "mine.json")}
    assert Plan.of(plan).cells[0]["profile"]["verify"] == [1, 9.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modles": []}, r"'modles' is no key of a plan \(did you mean models\?\)"),
        ({"models": None}, "models is missing; it is a list of names or folders"),
        ({"models": "tiny-draft"}, "models is 'tiny-draft'; it is a list of names"),
        ({"prompts": []}, r"prompts is \[\]; it is a list of texts"),
        ({"prompts": [""]}, "prompts holds ''"),
        ({"gammas": [1, "many"]}, "gammas holds 'many'"),
        ({"gammas": [True]}, "gammas holds True"),
        ({"rules": ["tokne"]}, "rules holds 'tokne'"),
        ({"seeds": [1, 1]}, "seeds holds a value twice"),
        ({"seeds": [-1]}, "seeds holds -1"),
        ({"temperatures": ["hot"]}, "temperatures holds 'hot'"),
        ({"max_new_tokens": 1.5}, r"max_new_tokens is 1\.5; it is a whole number"),
        ({"row_invariant": 1}, "row_invariant is 1; it is true or false"),
        ({"profile": "x.json"}, "profile has no effect"),
    ],
)
def test_what_is_no_plan_is_said(change: dict[str, Any], message: str) -> None:
    given = {name: value for name, value in (PLAN | change).items() if value is not None}
    with pytest.raises(BadArgument, match=message):
        Plan.of(given)


# --- rows ---


def test_a_row_is_what_generate_makes_and_can_be_run_again() -> None:
    asked = Plan.of(PLAN).cells[-1]
    row = json.loads(json.dumps(cell.run(asked)))
    out = refspec.generate("tiny-draft", "ROMEO:", drafter="tiny-draft", gamma=3, max_new_tokens=4, seed=1)
    assert (row["tokens"], row["text"], row["acceptance_rate"]) == (list(out.tokens), out.text, out.stats.acceptance_rate)
    assert (row["cell"], row["key"], row["refspec"]) == (asked, digest(asked), refspec.__version__)
    assert "tiny-draft" in row["machine"]
    again = cell.run(row["cell"])
    assert (again["tokens"], again["key"]) == (row["tokens"], row["key"])


def test_a_sweep_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    """Behind any byte of its file."""
    plan, out = Plan.of(PLAN | {"drafters": ["none"]}), tmp_path / "rows.jsonl"
    assert finish(plan, out, here) == Swept(4, 0, 0, 0)
    whole = out.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in (0, 1, ends[0] - 1, ends[0], ends[0] + 1, ends[2] - 1, len(whole) - 1, len(whole)):
        out.write_bytes(whole[:cut])
        asked: list[Cell] = []

        def counting(cells: Sequence[Cell], asked: list[Cell] = asked) -> Iterator[cell.Row]:
            asked.extend(cells)
            return here(cells)

        kept = sum(end <= cut for end in ends)
        assert finish(plan, out, counting) == Swept(4, kept, 0, 0)
        assert len(asked) == 4 - kept
        rows = [json.loads(line) for line in out.read_text(encoding="ascii").splitlines()]
        assert [row["tokens"] for row in rows] == [json.loads(line)["tokens"] for line in whole.splitlines()]


def test_each_row_is_on_the_disk_before_the_next_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, out, synced = Plan.of(PLAN | {"drafters": ["none"]}), tmp_path / "rows.jsonl", []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(len(out.read_text().splitlines())), real(file)))

    def watched(cells: Sequence[Cell]) -> Iterator[cell.Row]:
        for i, row in enumerate(here(cells)):
            assert synced == list(range(1, i + 1))
            yield row

    finish(plan, out, watched)
    assert synced == [1, 2, 3, 4]


def test_a_cell_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    plan, out = Plan.of(PLAN | {"drafters": ["none", "no-such-model"], "seeds": [0]}), tmp_path / "rows.jsonl"
    assert finish(plan, out, here) == Swept(4, 0, 2, 0)
    errors = [json.loads(line)["error"] for line in out.read_text().splitlines()]
    assert [error and error.partition(":")[0] for error in errors] == [None, None, "ModelNotFound", "ModelNotFound"]
    assert finish(plan, out, here) == Swept(4, 4, 2, 0)


def test_a_cell_that_is_lost_is_missing(tmp_path: Path) -> None:
    plan, out = Plan.of(PLAN | {"drafters": ["none"]}), tmp_path / "rows.jsonl"
    assert finish(plan, out, lambda cells: here(cells[:3])) == Swept(4, 0, 0, 1)
    assert finish(plan, out, here) == Swept(4, 3, 0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hello\n", "line 1 is no row of a sweep"),
        ('{"plan": "x"}\n', "line 1 is no row of a sweep"),
        ('{"plan": "x", "key": "y", "error": null}\n', "has the rows of another plan"),
    ],
)
def test_a_file_of_something_else_is_left_alone(content: str, message: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_text(content)
    with pytest.raises(BadArgument, match=message):
        finish(Plan.of(PLAN), out, here)
    assert out.read_text() == content


# --- the command ---


def write_plan(path: Path, **change: Any) -> Path:
    given = PLAN | change
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]  # JSON's lists and texts are TOML's
    path.write_text("\n".join(lines))
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main([str(each) for each in arguments])
    return code, capsys.readouterr().err


def test_the_command_keeps_rows_and_counts_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refspec.cli.sweep.require", lambda: None)
    monkeypatch.setattr(cluster.Cluster, "__call__", lambda self, cells: here(cells))
    plan, out = write_plan(tmp_path / "plan.toml"), tmp_path / "rows.jsonl"
    code, err = said(capsys, "sweep", plan, "--out", out, "--workers", 1)
    assert (code, err.splitlines()[-1]) == (0, "12 cells, 0 were there before, 0 failed")
    assert Plan.read(plan) == Plan.of(PLAN)
    other = write_plan(tmp_path / "other.toml", seeds=[7])
    code, err = said(capsys, "sweep", other, "--out", out)
    assert (code, "has the rows of another plan" in err, len(err.splitlines())) == (2, True, 1)


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        ("models = [", (), "is not TOML"),
        ("colours = [1]", (), "'colours' is no key of a plan"),
        (None, (), "No such file"),
        ('models = ["a"]\nprompts = ["b"]', ("--workers", 0), "--workers is 0"),
        ('models = ["a"]\nprompts = ["b"]', ("--workers", 2, "--scheduler", "tcp://x:1"), "--workers has no effect"),
        ('models = ["a"]\nprompts = ["b"]', ("--out", "no/such/folder/rows.jsonl"), "cannot be written"),
    ],
)
def test_mistakes_are_one_line(
    content: str | None, more: tuple[Any, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.toml"
    if content is not None:
        path.write_text(content)
    code, err = said(capsys, "sweep", path, "--out", tmp_path / "rows.jsonl", *more)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(BadArgument, match=r"pip install '\.\[sweep\]'"):
        cluster.require()


@needs_dask
@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_two_processes_make_the_rows_that_one_makes(tmp_path: Path) -> None:
    plan, out = Plan.of(PLAN), tmp_path / "rows.jsonl"
    assert finish(plan, out, cluster.Cluster(None, 2)) == Swept(12, 0, 0, 0)
    for line in out.read_text().splitlines():
        row = json.loads(line)
        assert row["tokens"] == cell.run(row["cell"])["tokens"]


@needs_dask
@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense", "xyz://a"):
        with pytest.raises(BadArgument, match="where none answers"):
            list(cluster.Cluster(address, None)([]))
