"""DFlash: `_rejection_sample`, its rule in PyTorch. Needs `pip install torch` and `pip install --no-deps dflash`."""

from importlib.metadata import version

import torch

from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.parts import by_rule

_dflash = borrowed("dflash", "dflash/model.py", "_rejection_sample", "_sample_probs", torch=torch)


def _rule(tokens: torch.Tensor, draft_rows: torch.Tensor, target_rows: torch.Tensor) -> tuple[int, int]:
    accepted, token = _dflash._rejection_sample(tokens[None], target_rows[None], draft_rows[None])
    return accepted, int(token)


rejection = by_rule(_rule, "DFlash, _rejection_sample", version("dflash"))
