"""The loop with scripted losses and figures: which rate a step gets, what is logged, which weights are kept, when it ends."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

from refspec.errors import BadArgument, BadWeights  # noqa: E402
from weights_tools import checkpoint, training_loop  # noqa: E402
from weights_tools import train as training  # noqa: E402
from weights_tools.corpus import encode, read_split, train_tokenizer, training_batch  # noqa: E402
from weights_tools.errors import CannotWrite  # noqa: E402
from weights_tools.model_folder import load_gpt2, load_tokenizer  # noqa: E402
from weights_tools.settings import DistillSettings, TrainSettings  # noqa: E402
from weights_tools.torch_gpt2 import Shape, TorchGPT2  # noqa: E402
from weights_tools.training_loop import Task, repeat  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """matplotlib takes longer over its picture than all the rest; test_run_log.py draws one."""
    monkeypatch.setattr(training_loop, "plot", lambda path, rows: None)


@dataclass
class Script:
    """A task whose losses and figures are written down. Its one weight counts the steps that were done on it."""

    figures: Sequence[float]  # of the evaluations, in order
    total: int = 12
    sign: int = -1
    newest: float = 1.0
    loss: Callable[[int], float] = float
    rates: list[tuple[float, ...]] = field(default_factory=list)
    learned: list[int] = field(default_factory=list)
    evaluated: list[int] = field(default_factory=list)  # the steps done at each evaluation
    saved: list[int] = field(default_factory=list)
    given: bool = False
    out: Path = Path("out")
    of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.module = torch.nn.Linear(1, 1)
        for parameter in self.module.parameters():
            parameter.data.zero_()
        first = torch.optim.SGD([{"params": [self.module.weight]}, {"params": [self.module.bias]}], lr=9.0)
        self.parts = [first, torch.optim.SGD([torch.zeros(1)], lr=9.0)]

    def task(self) -> Task:
        return Task("step", self.total, self.module, self.parts, self.learn, self.evaluate, "held_out", self.sign,
                    self.save, self.out, self.of, self.newest, self.given)  # fmt: skip

    def save(self) -> None:
        self.saved.append(self.steps())
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "model.safetensors").touch()

    def steps(self) -> int:
        return int(self.module.weight.item())

    def learn(self, number: int) -> float:
        self.rates.append(tuple(group["lr"] for part in self.parts for group in part.param_groups))
        self.learned.append(number)
        self.module.weight.data += 1
        return self.loss(number)

    def evaluate(self) -> dict[str, float]:
        self.evaluated.append(self.steps())
        figure = self.figures[len(self.evaluated) - 1]
        return {"held_out": figure, "bits_per_byte": -figure}  # a figure beside it that says the opposite

    def run(self, folder: Path, **settings: Any) -> dict[str, float]:
        self.out = settings.pop("out", folder / "out")
        more = {name: settings.pop(name) for name in ("start", "checkpoint_seconds") if name in settings}
        return repeat(self.task(), TrainSettings(**({"evaluate_every": 2, "patience": 99} | settings)), folder, **more)


def log(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_step_is_done_once_at_the_rate_of_its_number_in_every_group(tmp_path):
    script = Script([9, 8, 7, 6, 5], total=10)
    script.run(tmp_path, lr=8.0, warmup=2, decay=0.5, steps=777)
    assert script.learned == list(range(10))
    expected = [4, 8, 8, 8, 8, 8, 6.4, 4.8, 3.2, 1.6]
    assert np.allclose(script.rates, [[rate] * 3 for rate in expected])
    assert [float(row["lr"]) for row in log(tmp_path)] == pytest.approx([expected[at] for at in (1, 3, 5, 7, 9)])


def test_only_a_run_that_began_with_these_weights_goes_on(tmp_path):
    def script(weight: float, given: bool = True) -> Script:
        made = Script([4, 3, 2, 1, 0, 0], given=given)
        made.module.weight.data += weight
        return made

    script(0).run(tmp_path)
    for other in (script(1), script(1e-7)):
        with pytest.raises(BadArgument, match="has other weights to start from: give the same, or begin"):
            other.run(tmp_path)
    script(0).run(tmp_path)
    for weight in (0, 1):  # its own first weights are nobody's concern: they may be fitted anew
        script(weight, given=False).run(tmp_path / "own")


WHAT = ("out", "target", "texts", "corpus", "vocabulary")


@pytest.mark.parametrize("what", WHAT)
def test_only_a_run_of_the_same_goes_on(what, tmp_path):
    def script(**other: str) -> Script:
        return Script([4, 3, 2, 1, 0, 0], of={each: f"my {each}" for each in WHAT[1:]} | other)

    script().run(tmp_path)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    made = script() if what == "out" else script(**{what: "another"})
    known = {"out": str(tmp_path / "out"), "target": "my target"}
    says = {"texts": f"learned from other texts: give just those, or .* with --start {tmp_path / 'out'} and a new --out"}
    plain = f"has other {what}{re.escape(f' ({known[what]})') if what in known else ''}: give the same, or begin another"
    with pytest.raises(BadArgument, match=says.get(what, plain)):
        made.run(tmp_path, out=tmp_path / "elsewhere") if what == "out" else made.run(tmp_path)
    assert made.saved == made.learned == []
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


def test_a_checkpoint_of_old_goes_on(tmp_path):
    Script([4, 3], total=4).run(tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt")
    given = state.pop("of")["weights to start from"]
    torch.save(state | {"given": given}, tmp_path / "checkpoint.pt")
    later = Script([2, 1, 0, 0], of={"target": "any", "texts": "any"})
    later.run(tmp_path)
    assert later.learned == list(range(4, 12))
    torch.save(state | {"given": "others"}, tmp_path / "checkpoint.pt")
    with pytest.raises(BadArgument, match="other weights to start from"):
        Script([2, 1, 0, 0]).run(tmp_path)


def test_weights_that_are_gone_are_no_success(tmp_path):
    """The best ones are nowhere else: what goes on could only write later ones."""
    for total in (4, 12):  # at its end, and on its way
        Script([4, 3], total=4).run(tmp_path / str(total))
        (tmp_path / str(total) / "out" / "model.safetensors").unlink()
        again = Script([2, 1, 0, 0], total=total)
        with pytest.raises(
            BadArgument, match=r"out no longer holds the weights .*: put them back, or begin another with a new --out"
        ):
            again.run(tmp_path / str(total))
        assert again.learned == again.saved == []


def test_there_is_a_checkpoint_before_there_are_weights(tmp_path):
    """So that a run that is killed at any moment finds its own weights to be its own, and writes those that are missing."""
    script, start = Script([5] * 6), {"held_out": 5.0, "bits_per_byte": 0.0}
    seen: list[bool] = []
    save = script.save

    def dies() -> None:
        save()  # of the files that `save` writes, the next one would be missing
        seen.append((tmp_path / "checkpoint.pt").is_file())
        raise MemoryError("the process dies here")

    script.save = dies
    for _ in range(2):
        with pytest.raises(MemoryError):
            script.run(tmp_path, start=start)
    script.save = save
    script.run(tmp_path, start=start)
    assert (seen, script.saved) == ([True, True], [0, 0, 0])


def test_it_evaluates_now_and_then_and_at_the_end(tmp_path):
    script = Script([5, 4, 3, 2], total=10)
    assert script.run(tmp_path, evaluate_every=3) == {"held_out": 2, "bits_per_byte": -2}
    assert script.evaluated == script.saved == [3, 6, 9, 10]
    assert [row["step"] for row in log(tmp_path)] == ["3", "6", "9", "10"]
    assert [row["held_out"] for row in log(tmp_path)] == ["5", "4", "3", "2"]
    assert Script([5], total=1).run(tmp_path / "short", evaluate_every=3)["held_out"] == 5


@pytest.mark.parametrize(
    ("sign", "saved", "best"),
    [(-1, [2, 4, 8], 2.0), (1, [2, 6, 12], 6.0)],
)
def test_the_weights_kept_are_the_best_by_the_figure_that_decides(sign, saved, best, tmp_path):
    script = Script([4, 3, 5, 2, 2, 6], sign=sign)
    assert script.run(tmp_path)["held_out"] == best
    assert script.saved == saved  # no better is only as good


@pytest.mark.parametrize(("sign", "start", "saved"), [(-1, 3.0, [0, 8]), (1, 5.0, [0, 12]), (-1, 1.0, [0]), (1, 6.0, [0])])
def test_what_there_was_before_the_first_step_is_to_be_beaten(sign, start, saved, tmp_path):
    script = Script([4, 3, 5, 2, 2, 6], sign=sign)
    best = script.run(tmp_path, start={"held_out": start, "bits_per_byte": 0})
    assert script.saved == saved
    assert best["held_out"] == (script.figures[saved[-1] // 2 - 1] if saved[-1] else start)


@pytest.mark.parametrize(("patience", "steps"), [(1, 4), (2, 10), (3, 12)])
def test_it_ends_after_so_many_evaluations_without_a_new_best(patience, steps, tmp_path):
    script = Script([3, 4, 2, 2, 5, 1])
    script.run(tmp_path, patience=patience)
    assert script.steps() == steps


def test_the_loss_that_is_logged_is_a_moving_average_that_begins_at_the_first(tmp_path):
    script = Script([1, 1, 1], total=3, newest=0.25, loss=lambda number: [8.0, 4.0, 16.0][number])
    script.run(tmp_path, evaluate_every=1)
    # 8, then 3/4 * 8 + 1/4 * 4 = 7, then 3/4 * 7 + 1/4 * 16 = 9.25
    assert [float(row["train"]) for row in log(tmp_path)] == [8, 7, 9.25]
    plain = Script([1, 1, 1], total=3, loss=lambda number: [8.0, 4.0, 16.0][number])
    plain.run(tmp_path / "plain", evaluate_every=1)
    assert [float(row["train"]) for row in log(tmp_path / "plain")] == [8, 4, 16]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_it_before_the_checkpoint(loss, tmp_path):
    script = Script([1], loss=lambda number: loss if number == 3 else 1.0)
    with pytest.raises(BadArgument, match=f"step 3 gave a loss of {loss}; lower --lr"):
        script.run(tmp_path, evaluate_every=50)
    assert torch.load(tmp_path / "checkpoint.pt")["progress"]["number"] == 0


def test_a_run_goes_on_with_its_weights_optimisers_best_patience_and_time(tmp_path):
    first = Script([3, 4], total=4, newest=0.5)
    first.run(tmp_path, patience=3)
    first.parts[0].state[first.module.weight]["momentum_buffer"] = torch.ones(1)
    state = torch.load(tmp_path / "checkpoint.pt")
    assert state["progress"]["stale"] == 1
    assert state["progress"]["seconds"] > 0
    then = Script([3.5, 3.25, 0, 0], total=12, newest=0.5)
    assert then.run(tmp_path, patience=3)["held_out"] == 3  # the first best, and two more without a better one
    assert then.learned == [4, 5, 6, 7]
    assert then.steps() == 8
    assert then.saved == []
    assert [row["step"] for row in log(tmp_path)] == ["2", "4", "6", "8"]
    assert torch.load(tmp_path / "checkpoint.pt")["progress"]["seconds"] > state["progress"]["seconds"]
    losses = [0.0]
    for number in range(1, 8):
        losses.append(0.5 * losses[-1] + 0.5 * number)
    assert [float(row["train"]) for row in log(tmp_path)] == [losses[at] for at in (1, 3, 5, 7)]


def test_a_checkpoint_is_written_when_its_time_has_come_and_at_the_end(tmp_path, monkeypatch):
    """A clock that goes on by one second a look: three looks a step, and one more after each checkpoint."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(training_loop.time, "monotonic", lambda: float(next(ticks)))
    written: list[int] = []
    monkeypatch.setattr(checkpoint, "save", lambda path, state: written.append(state["progress"]["number"]))
    script = Script([1.0] * 6)
    script.run(tmp_path, checkpoint_seconds=5)
    assert (written[0], written[-1]) == (0, 12)
    gaps = np.diff(written[:-1])
    assert set(gaps) == {3}
    written.clear()
    Script([1.0] * 6).run(tmp_path / "rarely", checkpoint_seconds=1000)
    assert written == [0, 12]
    seconds = [float(row["seconds"]) for row in log(tmp_path / "rarely")]
    assert seconds[0] > 0
    assert seconds == sorted(set(seconds))
    assert seconds[-1] < next(ticks)  # the time of the run, not of the clock


def test_settings_of_a_run_may_not_change_on_the_way_but_for_how_far_it_goes():
    settings = vars(DistillSettings()) | vars(TrainSettings())
    checkpoint.check_same(settings, settings | {"steps": 1, "rounds": 2, "patience": 3})
    for name in settings.keys() - {"steps", "rounds", "patience"}:
        with pytest.raises(BadArgument, match=f"other settings for {name}: use them"):
            checkpoint.check_same(settings, settings | {name: "other"})
    with pytest.raises(BadArgument, match="other settings for seed"):
        checkpoint.check_same({}, {"seed": 0})


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file"
    checkpoint.replace_atomically(path, lambda scratch: scratch.write_text("old"))

    def half(scratch: Path) -> None:
        scratch.write_text("ne")
        assert path.read_text() == "old"
        raise OSError("the disk is full")

    with pytest.raises(CannotWrite, match="the disk is full"):
        checkpoint.replace_atomically(path, half)
    assert path.read_text() == "old"
    checkpoint.replace_atomically(path, lambda scratch: scratch.write_text("new"))
    assert [(each.name, each.read_text()) for each in path.parent.iterdir()] == [("file", "new")]


def test_a_checkpoint_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("the checkpoint ran code",))

    torch.save({"settings": Trap()}, tmp_path / "checkpoint.pt")
    with pytest.raises(BadWeights, match="is damaged, so that this run cannot go on; begin another with a new --out"):
        checkpoint.load(tmp_path / "checkpoint.pt")
    assert checkpoint.load(tmp_path / "none.pt") is None


TINY = TrainSettings(steps=1, layers=1, width=8, heads=2, vocab=270, context=8, batch=3, lr=0.01, warmup=0, decay=1.0,
                     dropout=0.0, evaluate_every=1, seed=3)  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over a lazy dog and " * 40 + "zaza zaza zaza " * 15, encoding="utf-8")
    return path


def test_the_loss_is_of_the_next_token_at_every_position_of_the_batch(text, tmp_path):
    """Two steps at a rate of next to nothing; the log smooths, with a share of 0.05 for the newer loss."""
    training.train(text, tmp_path / "model", tmp_path / "run", replace(TINY, steps=2, lr=1e-9))
    tokenizer = load_tokenizer(tmp_path / "model")
    corpus = encode(read_split(text), tokenizer)
    torch.manual_seed(3)
    untrained = TorchGPT2(Shape(tokenizer.get_vocab_size(), 8, 1, 8, 2))
    losses = []
    for step in (0, 1):
        total = 0.0
        for row in training_batch(corpus.train, step, batch=3, context=8, seed=3):
            laws = untrained(torch.tensor(row[None, :-1]))[0].double().log_softmax(-1)
            total -= sum(laws[at, row[at + 1]].item() for at in range(8))
        losses.append(total / 24)
    rows = log(tmp_path / "run")
    expected = [losses[0], 0.95 * losses[0] + 0.05 * losses[1]]
    assert losses[1] != pytest.approx(losses[0], rel=1e-4)
    assert [float(row["train"]) for row in rows] == pytest.approx(expected, rel=1e-6)  # float32, and the steps of 1e-9
    saved = training.held_out_loss(load_gpt2(tmp_path / "model"), corpus)
    for row in rows:
        assert float(row["held_out"]) == pytest.approx(saved, abs=1e-3)  # the folder is in float16
        assert float(row["bits_per_byte"]) == pytest.approx(corpus.bits_per_byte(float(row["held_out"])))


def test_each_step_of_each_seed_drops_out_something_else(text, tmp_path, monkeypatch):
    seeds: list[int] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        seeds.append(torch.initial_seed())
        return training_batch(*arguments, **options)

    monkeypatch.setattr(training, "training_batch", noted)
    for run, seed in (("one", 0), ("two", 1), ("one again", 0)):
        training.train(text, tmp_path / run, tmp_path / f"{run}.run", replace(TINY, steps=3, seed=seed))
    assert len(set(seeds[:6])) == 6
    assert seeds[6:] == seeds[:3]


def test_the_vocabulary_is_learned_from_the_training_part_alone(text, tmp_path):
    training.train(text, tmp_path / "model", tmp_path / "run", TINY)
    vocabulary = load_tokenizer(tmp_path / "model").get_vocab()
    assert len(vocabulary) == 270
    assert not [token for token in vocabulary if "za" in token]  # the commonest pair of the held-out part
    assert vocabulary == train_tokenizer(read_split(text)[0], 270).get_vocab()


def test_a_run_that_goes_on_keeps_its_vocabulary_and_the_best_it_had(text, tmp_path):
    """A model to train further would be better than nothing, but is not the best."""
    training.train(text, tmp_path / "model", tmp_path / "run", TINY)
    first = load_tokenizer(tmp_path / "run").get_vocab()
    training.train(text, tmp_path / "model", tmp_path / "run", replace(TINY, steps=2))
    assert load_tokenizer(tmp_path / "run").get_vocab() == load_tokenizer(tmp_path / "model").get_vocab() == first
    tokenizer, weights = load_tokenizer(tmp_path / "model"), []
    for _ in range(2):
        training.train(text, tmp_path / "on", tmp_path / "on.run", replace(TINY, steps=3), tokenizer=tokenizer,
                       start=load_gpt2(tmp_path / "model"))  # fmt: skip
        weights.append(load_gpt2(tmp_path / "on").state_dict()["transformer.wte.weight"])
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], load_gpt2(tmp_path / "model").state_dict()["transformer.wte.weight"])


def test_dropout_is_in_the_steps_and_not_in_what_is_measured(text, tmp_path):
    settings = replace(TINY, dropout=0.9, steps=3, lr=1e-6)
    training.train(text, tmp_path / "with", tmp_path / "with.run", settings)
    training.train(text, tmp_path / "without", tmp_path / "without.run", replace(settings, dropout=0.0))
    for dropped, plain in zip(log(tmp_path / "with.run"), log(tmp_path / "without.run"), strict=True):
        assert dropped["train"] != plain["train"]  # in each step, those after an evaluation as well
        assert float(dropped["held_out"]) == pytest.approx(float(plain["held_out"]), abs=1e-4)  # rates of 1e-6


def test_a_text_that_repeats_itself_is_learned(tmp_path):
    """The next letter is certain; a model that had learned another position would be sure of a wrong one, far above ln 8."""
    path = tmp_path / "text.txt"
    path.write_text("abcdefgh" * 100)
    settings = replace(TINY, steps=40, lr=0.05, vocab=257, evaluate_every=20)
    assert training.train(path, tmp_path / "model", tmp_path / "run", settings) < 1.5
