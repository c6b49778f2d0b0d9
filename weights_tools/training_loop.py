"""The loop around training and distillation: learn, evaluate now and then, keep the best, go on after any kill.

Whatever is random in a step is a function of its number, and a checkpoint holds all else, so a run that was killed follows
the same curve, bit for bit, when it is started again.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from types import FrameType

import torch
from torch import nn
from tqdm import tqdm

from refspec.errors import BadArgument, BadWeights
from weights_tools import checkpoint
from weights_tools.optimiser import learning_rate
from weights_tools.outputs import CHECKPOINT
from weights_tools.run_log import Row, plot, write_rows
from weights_tools.settings import Settings


@dataclass(frozen=True)
class Task:
    """What is repeated, on which weights, and what counts as better."""

    unit: str  # "step" or "round"
    total: int
    module: nn.Module
    parts: list[torch.optim.Optimizer]
    learn: Callable[[int], float]  # does the step of this number and returns its loss
    evaluate: Callable[[], Row]
    measure: str  # the figure in that row which decides
    sign: int  # 1 where more of it is better, -1 where less is
    save: Callable[[], None]  # writes the weights, the best so far, into `out`
    out: Path
    of: Mapping[str, str]  # what else the run is of: names or fingerprints, which must be the same to go on
    newest: float = 1.0  # share of the newest loss in the one that is logged, the rest being its past
    given: bool = False  # whether the module comes with somebody's weights, of which the same must be given again to go on


@dataclass
class Progress:
    """Where a run stands, beside its weights."""

    number: int = 0  # steps or rounds done
    seconds: float = 0.0
    loss: float = 0.0
    stale: int = 0  # evaluations since the best
    best: Row | None = None
    rows: list[Row] = field(default_factory=list)


def repeat(task: Task, settings: Settings, run: Path, *, start: Row | None = None, checkpoint_seconds: float = 120.0) -> Row:
    """Go on from the last checkpoint until the total is reached or patience ends. Returns the best evaluation.

    `start` is what the weights were worth before the first step, if that is already something to beat.
    """
    path = run / CHECKPOINT
    given = weights_given(task)
    of = {"out": str(task.out.resolve()), **task.of, "weights to start from": given}
    before = resumed(path, task, settings, of)
    at = before or Progress(best=start)

    def keep() -> None:
        weights = {"model": task.module.state_dict(), "optimisers": [part.state_dict() for part in task.parts]}
        checkpoint.save(path, {"settings": asdict(settings), "of": of, "progress": asdict(at)} | weights)

    if before is None:
        keep()  # before there are weights in `out`, so that they are known as this run's
    if at.best and not at.number:
        task.save()  # again, where it was killed while it wrote them
    elif at.best and not any(task.out.glob("*.safetensors")):
        raise BadArgument(f"{task.out} no longer holds the weights that the run to resume wrote there: put them back, or "
                          f"{checkpoint.ANOTHER}")  # fmt: skip

    bar = tqdm(total=task.total, initial=at.number, desc=run.stem, unit=task.unit, mininterval=1.0, disable=None)
    saved_at = since = time.monotonic()
    with bar, ctrl_c_waits() as interrupted:
        while at.number < task.total and at.stale < settings.patience and not interrupted.is_set():
            lr = learning_rate(at.number, peak=settings.lr, warmup=settings.warmup, steps=task.total, decay=settings.decay)
            for group in (group for part in task.parts for group in part.param_groups):
                group["lr"] = lr
            loss = task.learn(at.number)
            if not math.isfinite(loss):
                raise BadArgument(f"{task.unit} {at.number} gave a loss of {loss}; lower --lr, and {checkpoint.ANOTHER}")
            at.loss = loss if at.number == 0 else (1 - task.newest) * at.loss + task.newest * loss
            at.number += 1
            now = time.monotonic()
            at.seconds, since = at.seconds + now - since, now
            if at.number % settings.evaluate_every == 0 or at.number == task.total:
                figures = task.evaluate()
                at.stale += 1
                if at.best is None or task.sign * figures[task.measure] > task.sign * at.best[task.measure]:
                    at.best, at.stale = figures, 0
                    task.save()
                at.rows.append({"step": at.number, "seconds": round(at.seconds, 1), "lr": lr, "train": at.loss} | figures)
                write_rows(run / "log.csv", at.rows)
                plot(run / "loss.png", at.rows)
            bar.update()
            bar.set_postfix(loss=f"{at.loss:.4f}", best=f"{at.best[task.measure]:.4f}" if at.best else "-", refresh=False)
            if time.monotonic() - saved_at > checkpoint_seconds:
                keep()
                saved_at = time.monotonic()
        keep()
    if interrupted.is_set():
        raise KeyboardInterrupt
    if at.best is None:
        raise BadArgument(f"the run to resume is at {task.unit} {at.number} already; give more {task.unit}s than that")
    return at.best


def weights_given(task: Task) -> str:
    """The fingerprint of the weights that the module came with; empty where they were nobody's."""
    tensors = task.module.state_dict().items() if task.given else ()
    return checkpoint.fingerprint(part for name, each in tensors for part in (name, bytes_of(each))) if tensors else ""


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def resumed(path: Path, task: Task, settings: Settings, of: Mapping[str, str]) -> Progress | None:
    """Where the checkpoint left off, its weights put in place; None without one. Raises BadArgument for another run's."""
    state = checkpoint.load(path)
    if state is None:
        return None
    try:
        checkpoint.check_same(state["settings"], asdict(settings))
        old = {"weights to start from": state["given"]} if "given" in state else {}
        checkpoint.check_same_run(old | state.get("of", {}), of)
        task.module.load_state_dict(state["model"])
        for part, saved in zip(task.parts, state["optimisers"], strict=True):
            part.load_state_dict(saved)
        return Progress(**state["progress"])
    except BadArgument:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # PyTorch's words on weights of another shape
        raise BadWeights(f"{path} is not of this model; {checkpoint.ANOTHER}") from error


@contextmanager
def ctrl_c_waits() -> Iterator[Event]:
    """Ctrl-C only sets the event, so that a step is finished and kept. A second one interrupts at once."""
    pressed = Event()

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)
        os.write(2, b"\nfinishing what is under way; Ctrl-C again stops at once\n")  # print may not be called in here

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
