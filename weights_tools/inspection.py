"""What a model folder holds, and whether refspec can run it: the loader's own answer, where that takes a few seconds.

Of weights beyond READ_WHOLE only the headers are read; what loading alone shows (a tensor that is missing, misshaped or not
finite) is then left to loading.
"""

import math
from collections import Counter
from pathlib import Path

from refspec.errors import BadConfig, RefspecError, one_line
from refspec.files import read_json
from refspec.models.home import find
from refspec.models.model import load, words
from refspec.transformer.config import read_config
from refspec.transformer.weights import READ_AS, Header, tensor_headers

READ_WHOLE = 2 << 30  # bytes in float32


def describe(model: str) -> tuple[str, bool]:
    """A few lines on a model given as a folder or by its name, and whether refspec runs it."""
    folder = find(model)
    facts = {"folder": str(folder), "architecture": _architecture(folder)}
    refusals: list[str] = []
    headers: dict[str, Header] = {}
    try:
        facts["embeddings"] = "tied: the output head is the embedding" if read_config(folder).tied else "untied"
    except RefspecError as error:
        refusals.append(str(error))
    try:
        headers = tensor_headers(folder)
    except RefspecError as error:
        refusals.append(str(error))
    else:
        facts |= _tensor_facts(headers)
        unread = sorted({header.dtype for header in headers.values()} - READ_AS.keys())
        if unread:
            refusals.append(f"tensors in {', '.join(unread)}; it reads {', '.join(READ_AS)}")
    if not refusals:
        try:
            facts["refspec"] = _answer(folder, headers)
        except RefspecError as error:
            refusals.append(str(error))
    if refusals:
        facts["refspec"] = "refuses it: " + "; ".join(refusals)
    # whatever a file put into them: what is not printable would reach the terminal
    return "\n".join(f"{name:<14}{one_line(fact)}" for name, fact in facts.items()), not refusals


def _answer(folder: Path, headers: dict[str, Header]) -> str:
    """That refspec runs it, and how far that is known. Raises what loading raises."""
    if 4 * sum(math.prod(header.shape) for header in headers.values()) <= READ_WHOLE:
        load(folder)
        return "runs it"
    words(folder, read_config(folder).vocab_size)
    return "runs it, as far as config, tokenizer and headers tell; the weights themselves were not read"


def _architecture(folder: Path) -> str:
    try:
        raw = read_json(folder / "config.json")
    except BadConfig:
        return "unknown"  # the refusal says what is wrong with it
    named = raw.get("architectures")
    return " ".join(str(each) for each in (raw.get("model_type", "unknown"), *(named if isinstance(named, list) else ())))


def _tensor_facts(headers: dict[str, Header]) -> dict[str, str]:
    parameters: Counter[str] = Counter()
    for header in headers.values():
        parameters[header.dtype] += math.prod(header.shape)
    size = sum(file.stat().st_size for file in {header.file for header in headers.values()})
    return {
        "tensors": str(len(headers)),
        "parameters": f"{parameters.total():,}",
        "dtypes": ", ".join(f"{dtype} ({count:,} parameters)" for dtype, count in parameters.most_common()),
        "size on disk": f"{size / 1e6:,.1f} MB",
    }
