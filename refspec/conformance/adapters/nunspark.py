"""nunspark: `sample_accepted_path`, its rule for a tree of drafts in MLX, on a tree of one branch.

Needs `pip install 'mlx[cpu]'` and `pip install --no-deps nunspark`: the rule is taken from its file. It casts each uniform by
`float`, in whose place stands `casts.Float`. Its own loop is left out: it unpacks a cache's state as mlx-lm had it before 0.32.
"""

from importlib.metadata import version

import mlx.core as mx

from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.mlx_rule import by_mlx_rule
from refspec.conformance.casts import Float
from refspec.decoding.lm import Tokens

_shape = borrowed("nunspark", "nunspark/tree_shape.py", "TreeShape")
_tree = borrowed(
    "nunspark",
    "nunspark/tree_spec.py",
    *("sample_accepted_path", "_categorical_from_probs"),
    mx=mx,
    float=Float,
    TreeShape=_shape.TreeShape,
)


def _rule(tokens: Tokens, draft_rows: mx.array, target_rows: mx.array) -> tuple[int, int]:
    chain = _shape.TreeShape([1] * len(tokens))  # whose node i + 1 is drafted token i
    named = dict(enumerate((-1, *tokens)))
    accepted, token, _ = _tree.sample_accepted_path(
        chain, named, dict(enumerate(mx.log(draft_rows))), dict(enumerate(mx.log(target_rows))), temp=1.0
    )
    return len(accepted), token


rule = by_mlx_rule(_rule, "nunspark, sample_accepted_path", version("nunspark"))
