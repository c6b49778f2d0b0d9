"""DFlash: `_rejection_sample`, its rule in MLX. Needs `pip install 'mlx[cpu]'` and `pip install --no-deps dflash`."""

from importlib.metadata import version

import mlx.core as mx

from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.mlx_rule import by_mlx_rule
from refspec.decoding.lm import Tokens

_dflash = borrowed("dflash", "dflash/model_mlx.py", "_rejection_sample", "_sample_probs", mx=mx)


def _rule(tokens: Tokens, draft_rows: mx.array, target_rows: mx.array) -> tuple[int, int]:
    found: tuple[int, int] = _dflash._rejection_sample(mx.array([tokens]), target_rows[None], draft_rows[None])
    return found


rejection = by_mlx_rule(_rule, "DFlash, _rejection_sample in MLX", version("dflash"))
