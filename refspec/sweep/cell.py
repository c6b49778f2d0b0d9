"""One cell: a generation, and what is to be known of it. It runs on any worker, which loads each model once."""

from dataclasses import asdict
from functools import cache
from typing import Any

import refspec
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.profile import Profile
from refspec.decoding.verify import RULES
from refspec.generate import generate
from refspec.given import AnyDrafter
from refspec.models.drafts import load_draft
from refspec.models.model import Model, load
from refspec.models.profiles import conditions
from refspec.sweep.plan import Cell, digest

Row = dict[str, Any]


@cache
def loaded(name: str, row_invariant: bool) -> Model:
    return load(name, row_invariant=row_invariant)


@cache
def loaded_draft(name: str, row_invariant: bool) -> AnyDrafter:
    return load_draft(name, row_invariant=row_invariant)


def run(cell: Cell) -> Row:
    """The row of a cell, as JSON: with the cell itself, so that it can be run again. What goes wrong is its `error`.

    >>> from refspec.sweep.cell import run
    >>> from refspec.sweep.plan import Plan
    >>> plan = Plan.of({"models": ["tiny-draft"], "prompts": ["ROMEO:"], "drafters": ["ngram"], "max_new_tokens": 3})
    >>> row = run(plan.cells[0])
    >>> len(row["tokens"]), row["error"], row["cell"]["draft"]
    (3, None, 'ngram')
    """
    row = {"key": digest(cell), "cell": cell, "refspec": refspec.__version__, "error": None}
    try:
        return row | made(cell)
    except Exception as error:  # a drafter's, or the memory's: the other cells go on
        return row | {"error": f"{type(error).__name__}: {error}"}


def made(cell: Cell) -> Row:
    asked = dict(cell)
    model = loaded(asked.pop("model"), row_invariant := asked.pop("row_invariant"))
    draft, rule, profile = asked.pop("draft"), RULES[asked.pop("verify")], asked.pop("profile", None)
    drafters: dict[str, AnyDrafter] = {"none": None, "ngram": NgramDrafter()}
    drafter = drafters[draft] if draft in drafters else loaded_draft(draft, row_invariant)
    out = generate(model, asked.pop("prompt"), drafter=drafter, verify=rule, profile=profile and as_profile(profile), **asked)
    return {
        "machine": conditions(model),
        "text": out.text,
        "tokens": list(out.tokens),
        "prompt_tokens": list(out.prompt_tokens),
        "finish_reason": out.finish_reason,
        **{name: value for name, value in asdict(out.stats).items() if name != "tokens"},
    }


def as_profile(given: dict[str, Any]) -> Profile:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Profile(**fields)
