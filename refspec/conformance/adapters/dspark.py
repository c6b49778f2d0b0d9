"""dspark-mlx: `speculative_sample_accept`, its rule, in NumPy.

Needs `pip install --no-deps dspark-mlx`: the rule is taken from its file.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.numpy_rule import by_numpy_rule
from refspec.decoding.lm import Tokens

_dspark = borrowed(
    "dspark-mlx",
    "dspark_mlx/verify.py",
    *("AcceptResult", "speculative_sample_accept", "_resample_residual", "_normalize", "_result"),
    np=np,
    dataclass=dataclass,
)


def _rule(tokens: Tokens, draft_rows: Array, target_rows: Array, generator: Any) -> tuple[int, int]:
    found = _dspark.speculative_sample_accept(np.array(tokens), draft_rows, target_rows, generator)
    return found.n_accepted, int(found.tokens[-1])


rule = by_numpy_rule(_rule, "dspark-mlx, speculative_sample_accept", version("dspark-mlx"))
