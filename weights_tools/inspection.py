"""What a model folder holds, and whether refspec would run it: from config.json and the headers, no weights are read.

A refusal is refspec's own, from its reader of configurations and of headers, repeated here. What only loading shows
(a tensor that is missing, misshaped or not finite) is left to loading.
"""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from refspec.errors import RefspecError
from refspec.models.home import find
from refspec.transformer.config import read_config
from refspec.transformer.weights import READ_AS, Header, tensor_headers


def describe(model: str) -> tuple[str, bool]:
    """A few lines on a model given as a folder or by its name, and whether refspec runs it."""
    folder = find(model)
    raw = _raw_config(folder)
    facts = {"folder": str(folder), "architecture": _architecture(raw)}
    refusals = []
    try:
        facts["embeddings"] = "tied: the output head is the embedding" if read_config(folder).tied else "untied"
    except RefspecError as error:
        refusals.append(str(error))
    try:
        headers = tensor_headers(folder)
    except RefspecError as error:
        refusals.append(str(error))
    else:
        facts |= _tensor_facts(headers, folder)
        unread = sorted({header.dtype for header in headers.values()} - READ_AS.keys())
        if unread:
            refusals.append(f"tensors in {', '.join(unread)}; it reads {', '.join(READ_AS)}")
    facts["refspec"] = "refuses it: " + "; ".join(refusals) if refusals else "runs it, as far as config and headers tell"
    return "\n".join(f"{name:<14}{fact}" for name, fact in facts.items()), not refusals


def _raw_config(folder: Path) -> dict[str, Any]:
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # read_config says what is wrong with it
    return raw if isinstance(raw, dict) else {}


def _architecture(raw: dict[str, Any]) -> str:
    return " ".join([str(raw.get("model_type", "unknown")), *map(str, raw.get("architectures") or ())])


def _tensor_facts(headers: dict[str, Header], folder: Path) -> dict[str, str]:
    parameters: Counter[str] = Counter()
    for header in headers.values():
        parameters[header.dtype] += math.prod(header.shape)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return {
        "tensors": str(len(headers)),
        "parameters": f"{parameters.total():,}",
        "dtypes": ", ".join(f"{dtype} ({count:,} parameters)" for dtype, count in parameters.most_common()),
        "size on disk": f"{size / 1e6:,.1f} MB",
    }
