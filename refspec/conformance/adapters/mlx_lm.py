"""mlx-lm: its loop with a draft model, `speculative_generate_step`, which keeps a drafted token iff its own sample is the same.

The models are tables with a real cache, as in `transformers.py` beside this. Needs `pip install 'mlx[cpu]' mlx-lm`.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx_lm.generate import generate_step, speculative_generate_step
from mlx_lm.sample_utils import make_logits_processors, make_sampler

from refspec.conformance.adapter import ByGenerator, Case, Dialect, Run, round_ended
from refspec.conformance.adapters import require_no_ties
from refspec.conformance.mlx_draws import drawing_from
from refspec.decoding.lm import TableLM


class Table(nn.Module):  # type: ignore[misc, unused-ignore]
    """A language model of mlx-lm whose logits are the logs of a table's rows. calls: how often it was asked."""

    def __init__(self, table: TableLM) -> None:
        super().__init__()
        self.layers = [nn.Module()]  # mlx-lm makes a cache for each
        self._table, self.calls = table, 0

    def __call__(self, tokens: mx.array, cache: Any) -> mx.array:
        self.calls += 1
        keys = tokens[:, None, :, None].astype(mx.float32)
        read = cache[0].update_and_fetch(keys, keys)[0]
        rows = self._table.probs(tuple(int(token) for token in read.flatten().tolist()), last=tokens.shape[1])
        with np.errstate(divide="ignore"):  # a probability of 0 is a logit of -inf
            return mx.array(np.log(rows), mx.float32)[None]


@lru_cache(maxsize=64)
def _model(table: TableLM) -> Table:
    return Table(table)


def run(case: Case, generator: Any, *, speculative: bool = True, **penalties: float) -> Run:
    """Without speculation too; penalties: those of mlx-lm that a case does not have."""
    require_no_ties(case, exactly_k=True)
    options, draft = case.sampling, Table(case.draft)
    steps = partial(speculative_generate_step, draft_model=draft, num_draft_tokens=case.gamma) if speculative else generate_step
    penalties = ({"repetition_penalty": case.repetition_penalty} if case.repetition_penalty != 1 else {}) | penalties
    accepted = 0
    tokens: list[int] = []

    def so_far() -> Run:
        return Run(tuple(tokens), draft.calls - (len(case.prompt) > 1 and speculative), accepted)

    with drawing_from(generator):
        made: Iterator[Any] = steps(
            mx.array(case.prompt, mx.uint32),
            model=_model(case.target),
            max_tokens=case.max_new_tokens,
            sampler=make_sampler(options.temperature, options.top_p or 0, options.min_p or 0, top_k=options.top_k or 0),
            logits_processors=make_logits_processors(**penalties) or None,
        )
        for token, _, *drafted in made:
            tokens.append(int(token))
            accepted += drafted == [True]
            if drafted == [False]:
                round_ended(generator, so_far())
    return so_far()


speculative = ByGenerator(
    run,
    dialect=Dialect(
        "mlx-lm, draft model",
        version("mlx-lm"),
        draws_intercepted=True,
        round_by_round=True,
        merge_from=3,
        seeds_in=True,
        warps=("repetition_penalty", "top_p", "min_p", "top_k", "temperature"),
        kv_dtype="float32",
        stops=False,
    ),
)
