"""refspec: the reference for speculative decoding, in pure NumPy.

>>> import refspec
>>> model = refspec.load("smollm2-135m")
>>> refspec.generate(model, "The capital of France is", drafter=refspec.NgramDrafter(), temperature=0).text
"""

from refspec import distance, draft, exact, theory, verify
from refspec.autoregressive import autoregressive
from refspec.chance import Chance, Seeded, Tape
from refspec.draft import Draft, Drafter
from refspec.draft.adaptive import AdaptiveDrafter
from refspec.draft.coupled import CoupledDrafter
from refspec.draft.model import ModelDrafter
from refspec.draft.ngram import NgramDrafter
from refspec.errors import RefspecError
from refspec.exact import law
from refspec.generate import Output, generate, start
from refspec.lm import LanguageModel, TableLM
from refspec.loop import Generation, Round, speculative
from refspec.model import Model, load
from refspec.profile import Profile

__version__ = "0.1.0"

__all__ = [
    "AdaptiveDrafter",
    "Chance",
    "CoupledDrafter",
    "Draft",
    "Drafter",
    "Generation",
    "LanguageModel",
    "Model",
    "ModelDrafter",
    "NgramDrafter",
    "Output",
    "Profile",
    "RefspecError",
    "Round",
    "Seeded",
    "TableLM",
    "Tape",
    "autoregressive",
    "distance",
    "draft",
    "exact",
    "generate",
    "law",
    "load",
    "speculative",
    "start",
    "theory",
    "verify",
]
