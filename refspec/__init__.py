"""refspec: the reference for speculative decoding, in pure NumPy.

>>> import refspec
>>> model = refspec.load("smollm2-135m")
>>> refspec.generate(model, "The capital of France is", drafter=refspec.NgramDrafter(), temperature=0).text
"""

from refspec.decoding import draft, verify
from refspec.decoding.autoregressive import autoregressive
from refspec.decoding.chance import Chance, Seeded, Tape
from refspec.decoding.draft import Draft, Drafter
from refspec.decoding.draft.adaptive import AdaptiveDrafter
from refspec.decoding.draft.coupled import CoupledDrafter
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import LanguageModel, TableLM
from refspec.decoding.loop import Generation, Round, speculative
from refspec.errors import RefspecError
from refspec.generate import Output, generate, start
from refspec.models.model import Model, load
from refspec.proof import distance, exact, theory
from refspec.proof.exact import law

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
