"""The rows of a sweep: one line of JSON each, on the disk before the next is awaited. What is there is not run again."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from refspec.errors import BadArgument, reason
from refspec.sweep.cell import Row
from refspec.sweep.plan import Cell, Plan, digest

Runner = Callable[[Sequence[Cell]], Iterator[Row]]  # the rows of cells, as they come, in any order


@dataclass(frozen=True)
class Swept:
    """cells: of the plan. kept: those that were there before. failed: those whose row is an error. missing: without a row."""

    cells: int
    kept: int
    failed: int
    missing: int


def finish(plan: Plan, out: Path, run: Runner) -> Swept:
    """Run the cells that have no row in `out` yet. Raises BadArgument for a file of another plan, or of something else.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from refspec.sweep import cell
    >>> from refspec.sweep.plan import Plan
    >>> from refspec.sweep.results import finish
    >>> plan = Plan.of({"models": ["tiny-draft"], "prompts": ["ROMEO:"], "seeds": [0, 1], "max_new_tokens": 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         print(finish(plan, Path(folder) / "rows.jsonl", lambda cells: map(cell.run, cells)))
    Swept(cells=2, kept=0, failed=0, missing=0)
    Swept(cells=2, kept=2, failed=0, missing=0)
    """
    failed = there(plan, out)
    left = [each for each in plan.cells if digest(each) not in failed]
    kept = len(failed)
    with out.open("a", encoding="ascii") as file:
        for row in tqdm(run(left) if left else (), total=len(plan.cells), initial=kept, desc="cells", disable=None):
            file.write(json.dumps({**row, "plan": plan.digest}, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            failed[row["key"]] = row["error"] is not None
    return Swept(len(plan.cells), kept, sum(failed.values()), len(plan.cells) - len(failed))


def there(plan: Plan, out: Path) -> dict[str, bool]:
    """{key: whether it failed} of the rows in the file; a last line that was cut off is taken away."""
    if not out.exists():
        return {}
    try:
        data = out.read_bytes()
    except OSError as error:
        raise BadArgument(f"{out} cannot be read ({reason(error)})") from None
    whole = data[: data.rfind(b"\n") + 1]
    found: dict[str, bool] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            mine, key, failed = row["plan"] == plan.digest, row["key"], row["error"] is not None
        except (ValueError, TypeError, KeyError):
            raise BadArgument(f"{out}, line {number} is no row of a sweep; give another --out") from None
        if not mine:
            raise BadArgument(
                f"{out} has the rows of another plan (line {number}: {row['plan']}, this is {plan.digest}); give another --out"
            )
        found[key] = failed
    if len(whole) < len(data):
        os.truncate(out, len(whole))
    return found
