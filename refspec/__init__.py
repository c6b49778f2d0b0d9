"""refspec: the reference for speculative decoding, in pure NumPy.

>>> import refspec
>>> out = refspec.generate("tiny-target", "ROMEO:", drafter="tiny-draft", gamma=4, max_new_tokens=24, seed=1)
>>> len(out.tokens), len(out.rounds) < 24
(24, True)
"""

import sys

import refspec.interrupts  # noqa: F401  first, before what takes time
from refspec.batch import generate_batch
from refspec.decode import autoregressive, sequence_law, speculative
from refspec.decoding import draft, verify
from refspec.decoding.chance import Chance, Seeded, Tape
from refspec.decoding.draft import Draft, Drafter
from refspec.decoding.draft.adaptive import AdaptiveDrafter
from refspec.decoding.draft.coupled import CoupledDrafter
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import LanguageModel, TableLM
from refspec.decoding.round import Generation, Round
from refspec.errors import RefspecError
from refspec.generate import Output, generate, stream
from refspec.models.from_torch import from_torch
from refspec.models.model import Model, load
from refspec.models.sampling import Sampling
from refspec.proof import distance, exact, theory
from refspec.proof.exact import law

__version__ = "0.1.0"

# The halves lie in folders of their own; what is imported often keeps its short name: `from refspec.verify import block`.
for module in (draft, verify, exact, theory, distance):
    sys.modules[f"refspec.{module.__name__.rpartition('.')[2]}"] = module
del module

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
    "Sampling",
    "Seeded",
    "TableLM",
    "Tape",
    "autoregressive",
    "distance",
    "draft",
    "exact",
    "from_torch",
    "generate",
    "generate_batch",
    "law",
    "load",
    "sequence_law",
    "speculative",
    "stream",
    "theory",
    "verify",
]
