"""The log of a run as a table and as a picture."""

import csv
import sys
from pathlib import Path

import pytest

from weights_tools.run_log import FIELDS, plot, write_rows

ROWS = [{"step": 4, "seconds": 0.5, "lr": 0.1, "train": 3.0, "held_out": 3.5, "bits_per_byte": 2.0},
        {"step": 8, "seconds": 1.5, "lr": 0.2, "train": 2.0, "held_out": 2.5, "bits_per_byte": 1.0}]  # fmt: skip


def test_the_table_has_a_column_a_figure_and_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "a" / "new" / "log.csv"
    for rows in (ROWS, ROWS[:1]):
        write_rows(path, rows)
        with path.open(newline="") as file:
            header, *lines = csv.reader(file)
        assert header == list(FIELDS)
        assert lines == [[str(row.get(name, "")) for name in FIELDS] for row in rows]


def test_the_picture_shows_each_curve_and_says_what_its_axis_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is in the optional extra `train`")
    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    plot(tmp_path / "loss.png", ROWS)
    plot(tmp_path / "distil.png", [{"step": 1, "train": 0.5, "acceptance": 0.25}])
    curves = [{line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines} for figure in drawn]
    assert curves == [
        {"train": [[4, 3], [8, 2]], "held-out": [[4, 3.5], [8, 2.5]]},
        {"train": [[1, 0.5]], "acceptance": [[1, 0.25]]},
    ]
    assert [figure.axes[0].get_ylabel() for figure in drawn] == ["nats a token", "loss; acceptance"]
    assert [figure.axes[0].get_xlabel() for figure in drawn] == ["step", "step"]
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.undo()
    for figure in drawn:
        pyplot.close(figure)
    assert pyplot.get_fignums() == []


def test_without_matplotlib_there_is_no_picture_and_no_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot(tmp_path / "loss.png", ROWS)
    assert list(tmp_path.iterdir()) == []
