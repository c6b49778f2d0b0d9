"""What a draft is, by its folder: a model of its own, a head that reads the target's features, or a table of the target's text.

`auto` stands for the best that the package has for a target: prompt lookup, with its table and its head where it brings them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from refspec.brief import short
from refspec.decoding.draft import Drafter
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.several import Several
from refspec.decoding.lm import LanguageModel
from refspec.decoding.optional import optional
from refspec.errors import BadArgument
from refspec.files import is_there, read_json
from refspec.models import home
from refspec.models.eagle_drafter import eagle_drafter, eagle_fits
from refspec.models.model import Model, load
from refspec.models.speculator import speculator_drafter
from refspec.models.table_file import misfit, read_table

AUTO = "auto"


def table_drafter(folder: Path, target: LanguageModel) -> Drafter:
    """Prompt lookup that asks the table in a folder where the text has no guess."""
    return NgramDrafter(table=read_table(folder, target.vocab_size, optional(target, "name")))


# config.json's model_type -> from folder and target to a drafter
KINDS: dict[str, Callable[[Path, Any], Drafter]] = {
    "eagle": eagle_drafter,
    "mlp_speculator": speculator_drafter,
    "ngram-table": table_drafter,
}


# the same, of those inside the package -> from folder, config.json and target to whether it is one for this target
FITS: dict[str, Callable[[Path, Any, Any], bool]] = {
    "eagle": eagle_fits,
    "ngram-table": lambda folder, given, target: not misfit(folder, given, target.vocab_size, optional(target, "name")),
}


def load_draft(name: str | Path, *, row_invariant: bool = False) -> Model | Callable[[LanguageModel], Drafter]:
    """The draft of this name or folder: a Model, or a function from the target to a Drafter. Errors are those of `load`.

    >>> from refspec.models.drafts import load_draft
    >>> load_draft("tiny-draft").name
    'tiny-draft'
    """
    if name == AUTO:
        return best_for
    folder = home.find(name)
    kind = read_json(folder / "config.json").get("model_type") if is_there(folder / "config.json") else None
    make = KINDS.get(kind) if isinstance(kind, str) else None
    return load(name, row_invariant=row_invariant) if make is None else lambda target: make(folder, target)


def best_for(target: LanguageModel) -> Drafter:
    """What `auto` stands for.

    Raises BadArgument for a Model or a name: a head reads the features of the one cache that a text has.

    >>> import refspec
    >>> from refspec.models.drafts import best_for
    >>> best_for(refspec.load("tiny-target").language_model())
    NgramDrafter(longest=8, shortest=1)
    """
    if isinstance(target, Model) or not hasattr(target, "probs"):
        what = (
            f"{short(target.name)} is a model, which may have many" if isinstance(target, Model) else f"{short(target)} is none"
        )
        raise BadArgument(
            f"auto is made for the cache that a text is decoded with, and {what}: give model.language_model(), or "
            'drafter="auto" to generate'
        )
    made: dict[str, Drafter] = {}
    for folder in map(home.embedded, home.EMBEDDED_DRAFTS):
        about = read_json(folder / "config.json")
        kind = about["model_type"]
        if about["target"] == optional(target, "name") and FITS[kind](folder, about, target):
            made[kind] = KINDS[kind](folder, target)
    lookup = made.get("ngram-table", NgramDrafter())
    return Several(lookup, made["eagle"]) if "eagle" in made else lookup
