"""What drafts guess at every token of a target's greedy answers, recorded once, so that choices among them can be replayed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import refspec
from refspec.decoding.draft import Draft, Drafter, GoOn, cost_of, drafting
from refspec.decoding.lm import Tokens
from refspec.decoding.question import Asking, at_once
from refspec.models.drafts import load_draft
from refspec.models.eagle_drafter import EagleDrafter
from refspec.models.sampling import Sampling

DEEPEST = 8  # guesses of one draft


class Guesses(NamedTuple):
    """Of one draft at each token of an answer: what it guesses, how sure it is of each guess, and what a guess costs."""

    tokens: list[list[int]]
    sure: list[list[float]]
    cost: float


class Answer(NamedTuple):
    category: str
    prompt: Tokens
    tokens: Tokens
    guesses: dict[str, Guesses]


class Known:
    """A target that has read a text: what a head asks it."""

    def __init__(self, model: refspec.Model, tokens: Tokens) -> None:
        lm = model.language_model(temperature=0)
        lm.features(())
        lm.probs(tokens)
        self.network, self.name, self.rows = model.network, model.name, model.config.vocab_size
        self.vocab_size, self.sampling = model.vocab_size, Sampling(temperature=0)
        self._features = lm.features(tokens)

    def features(self, tokens: Tokens) -> Any:
        return self._features[: len(tokens) - 1]


class Recorded:
    """Guesses as they were recorded, in place of the head that made them."""

    state, usual = None, EagleDrafter.usual

    def __init__(self, answer: Answer, name: str) -> None:
        self.answer, self.guesses = answer, answer.guesses[name]

    def cost(self, tokens: Tokens) -> float:
        return self.guesses.cost

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Draft:
        return at_once(self.asking_while(tokens, gamma, chance, lambda chances: len(chances) < gamma))

    def asking_while(self, tokens: Tokens, gamma: int, chance: refspec.Chance, go_on: GoOn) -> Asking[Draft]:
        yield from ()
        i = len(tokens) - len(self.answer.prompt)
        made = range(len(self.guesses.tokens[i]) + 1) if i else ()  # before its first pass the target has no features
        n = next((n for n in made if n == made[-1] or not go_on(self.guesses.sure[i][:n])), 0)
        return Draft(tuple(self.guesses.tokens[i][:n]))


def record(model: refspec.Model, category: str, prompt: Tokens, tokens: Tokens, names: Sequence[str]) -> Answer:
    text = prompt + tokens
    target, found = Known(model, text), {}
    for name in names:
        drafter: Drafter = load_draft(name)(target)  # type: ignore[operator, arg-type, assignment]
        guesses = Guesses([], [], cost_of(drafter, text) or 0.0)
        for start in range(len(prompt), len(text)):
            sure: list[float] = []

            def go_on(chances: Sequence[float], sure: list[float] = sure) -> bool:
                sure[:] = [round(float(each), 4) for each in chances]
                return len(chances) < DEEPEST

            draft = at_once(drafting(drafter, text[:start], DEEPEST, refspec.Seeded(0), go_on))
            guesses.tokens.append(list(draft.tokens))
            guesses.sure.append(sure or [0.0] * len(draft.tokens))
        found[name] = guesses
    return Answer(category, prompt, tokens, found)


def recorded(path: Path, head: dict[str, Any]) -> list[Answer]:
    """What is in the file, which this makes if it isn't there; half a line at its end is what an interrupted run left."""
    if not path.exists():
        path.write_text(json.dumps(head) + "\n", encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):  # else a run that only prints leaves the file alone, since another may be reading it
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    first, *lines = text.splitlines()[: text.count("\n")]
    if json.loads(first) != head:
        raise SystemExit(f"{path} is of another run: {first}; give another --out")
    answers = []
    for line in map(json.loads, lines):
        guesses = {name: Guesses(*each) for name, each in line[3].items()}
        answers.append(Answer(line[0], tuple(line[1]), tuple(line[2]), guesses))
    return answers


def append(path: Path, answer: Answer) -> None:
    """A whole line, or none that counts."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(answer) + "\n")
