"""Whose draft is it? The name of its target that a head or a table has in config.json, beside the target that is there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refspec.brief import short


def of_another_name(folder: Path, what: str, given: Mapping[str, Any], name: str | None) -> str | None:
    """What is wrong, where both tell a name and the names differ (N12 has it so for token maps); IBM's heads tell none.

    given: the draft's config.json. name: the target's, as its `name` says it.

    >>> from pathlib import Path
    >>> from refspec.models.whose import of_another_name
    >>> of_another_name(Path("head"), "a draft head", {"target": "tiny"}, "tiny")
    """
    said = given.get("target")
    if said is None or name is None or said == name:
        return None
    return (
        f"{folder} is {what} for {short(said)}, and the target is {short(name)}; if these are one model under two names, take "
        f"the key target out of {folder / 'config.json'}"
    )
