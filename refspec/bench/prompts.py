"""The prompts, by category: the package's own, or a file's."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short

import refspec
from refspec.cli.engine import as_prompt as with_chat
from refspec.cli.requests import Request, as_prompt, read_lines
from refspec.decoding.lm import Tokens
from refspec.errors import BadArgument, ContextExceeded
from refspec.files import strict_json
from refspec.generate import prompt_ids
from refspec.models.cached_lm import check_ids
from refspec.models.model import Model

OWN = Path(refspec.__file__).parent / "embedded" / "prompts.jsonl"


@dataclass(frozen=True)
class Prompt:
    """where: in which file and line it stands."""

    category: str
    prompt: str | Tokens
    where: str


def read(file: str | None, limit: int | None) -> list[Prompt]:
    """The prompts of a JSONL file, or the package's own; at most `limit` a category. Raises BadArgument, with the line."""
    seen: Counter[str] = Counter()
    found = []
    for where, _, line in read_lines(str(OWN) if file is None else file):
        prompt = from_line(line, where)
        seen[prompt.category] += 1
        if limit is None or seen[prompt.category] <= limit:
            found.append(prompt)
    if not found:
        raise BadArgument(f'{file} has no prompts; each line is an object with "category" and "prompt"')
    return found


def from_line(line: bytes, where: str) -> Prompt:
    try:
        given = strict_json(line)
    except ValueError as error:
        raise BadArgument(f"{where}: not JSON ({error})") from None
    if not isinstance(given, dict) or not {"category", "prompt"} <= given.keys():
        raise BadArgument(f'{where}: an object with "category" and "prompt" is needed')
    if not isinstance(given["category"], str):
        raise BadArgument(f"{where}: category is {short(given['category'])}; it is a text")
    try:
        return Prompt(given["category"], as_prompt(given["prompt"]), where)
    except BadArgument as error:
        raise BadArgument(f"{where}: {error}") from None


def has_chat(model: Model) -> bool:
    """Whether the model has a chat template. Raises BadTokenizer where it has one that cannot be run."""
    return model.tokenizer is not None and model.tokenizer.has_chat


def encode(model: Model, prompts: list[Prompt], *, chat: bool, new_tokens: int, leave_out: bool) -> list[tuple[str, Tokens]]:
    """(category, ids) of each. Where one does not fit with its new tokens: left out, or ContextExceeded."""
    if model.tokenizer is None and any(isinstance(each.prompt, str) for each in prompts):
        raise BadArgument(
            f'{model.name} has no tokenizer.json; give token ids, as {{"category": "ids", "prompt": [1, 2]}} in --prompts FILE'
        )
    context, found = model.config.context, []
    for each in prompts:
        try:
            tokens = prompt_ids(model, with_chat(model, Request(each.prompt, {}, chat=chat)))
            check_ids(tokens, model.config.vocab_size)
        except BadArgument as error:
            raise BadArgument(f"{each.where}: {error}") from None
        if len(tokens) + new_tokens <= context:
            found.append((each.category, tokens))
        elif not leave_out:
            raise ContextExceeded(
                f"{each.where}: {len(tokens)} tokens and {new_tokens} new ones do not fit in {model.name}'s context of "
                f"{context}; shorten the prompt or lower --max-new-tokens"
            )
    if not found:
        raise ContextExceeded(f"no prompt and {new_tokens} new tokens fit in {model.name}'s context of {context}")
    return found
