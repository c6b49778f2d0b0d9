"""mlx-dspark: `_spec_sample_accept`, its rule in MLX.

Needs `pip install 'mlx[cpu]'` and `pip install --no-deps mlx-dspark`: the rule is taken from its file.
"""

from importlib.metadata import version

import mlx.core as mx

from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.mlx_rule import by_mlx_rule
from refspec.decoding.lm import Tokens

_sampling = borrowed("mlx-dspark", "mlx_dspark/sampling.py", "truncate_probs", "sample_probs", mx=mx)
_dspark = borrowed(
    "mlx-dspark",
    "mlx_dspark/generate.py",
    "_spec_sample_accept",
    mx=mx,
    truncate_probs=_sampling.truncate_probs,
    sample_probs=_sampling.sample_probs,
)


def _rule(tokens: Tokens, draft_rows: mx.array, target_rows: mx.array) -> tuple[int, int]:
    found: tuple[int, int] = _dspark._spec_sample_accept(mx.log(target_rows), list(tokens), draft_rows, 1.0)
    return found


rule = by_mlx_rule(_rule, "mlx-dspark, _spec_sample_accept", version("mlx-dspark"))
