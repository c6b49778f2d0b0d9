"""tpu-inference (vLLM on TPUs): `rejection_sample` in JAX, which runs on a CPU as well.

Needs `pip install jax` and `pip install --no-deps tpu-inference`: the functions are taken from their file. In the place of
`jax.random` stands what hands out the draws that are given.
"""

from collections.abc import Sequence
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, Optional

import jax
import numpy as np
from jax import numpy as jnp

from refspec.arrays import Array
from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.kernels import Tests, sampled

_given: dict[str, Any] = {}
_random = SimpleNamespace(
    PRNGKey=jax.random.PRNGKey,
    split=lambda key: (key, key),
    uniform=lambda key, shape: _given["uniforms"].reshape(shape),
    exponential=lambda key, shape: jnp.broadcast_to(_given["clocks"], shape),
)
_tpu = borrowed(
    "tpu-inference",
    "tpu_inference/layers/jax/sample/rejection_sampler.py",
    *("rejection_sample", "_random_rejection_sample_with_segment", "_sample_recovered_tokens", "_get_segment_info"),
    jax=SimpleNamespace(Array=jax.Array, nn=jax.nn, ops=jax.ops, random=_random),
    jnp=jnp,
    Optional=Optional,
    PLACEHOLDER_TOKEN_ID=-1,
)


def judge(
    tokens: Sequence[int], draft_rows: Array, target_rows: Array, accept: Sequence[float], race: Array, bonus: int
) -> tuple[int, int]:
    _given.update(uniforms=jnp.array(accept, jnp.float32), clocks=jnp.array(race, jnp.float32))
    p, q = (jnp.array(np.array(rows), jnp.float32) for rows in (target_rows[:-1], draft_rows))
    new = _tpu.rejection_sample(
        jnp.array(tokens), jnp.array([len(tokens)]), q, p, jnp.array([bonus]), True, jax.random.PRNGKey(0)
    )
    kept = [int(token) for token in new if token >= 0]
    return len(kept) - 1, kept[-1]


_NAME = "tpu-inference, rejection_sample"
tests = Tests(judge, _NAME, version("tpu-inference"))
rejection = sampled(judge, _NAME, version("tpu-inference"))
