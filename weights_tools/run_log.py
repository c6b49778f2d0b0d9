"""What a run leaves behind to look at: `log.csv`, one row an evaluation, and `loss.png`, drawn from it."""

import csv
from pathlib import Path

FIELDS = ("step", "seconds", "lr", "train", "held_out", "bits_per_byte", "acceptance", "acceptance_text",
          "acceptance_2", "acceptance_3", "acceptance_4", "acceptance_5", "acceptance_6", "tokens_a_call")  # fmt: skip
Row = dict[str, float]


def write_rows(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def plot(path: Path, rows: list[Row]) -> None:
    """The loss curves as a picture; silently nothing without matplotlib, since the CSV says the same."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for key in ("train", "held_out", "acceptance"):
        points = [(row["step"], row[key]) for row in rows if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=key.replace("_", "-"))
    axes.set_xlabel("step")
    axes.set_ylabel("nats a token" if not any("acceptance" in row for row in rows) else "loss; acceptance")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
