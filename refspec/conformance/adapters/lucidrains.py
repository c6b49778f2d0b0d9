"""speculative-decoding (lucidrains): the whole of its loop, with its cache. Needs `pip install torch speculative-decoding`.

The networks are tables; a cache is [1, n, 1], the tokens themselves: a row is looked up under what the cache says was read.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from speculative_decoding.speculative_decoding import Cache, speculative_decoding

from refspec.conformance.adapter import Case, Run, round_ended
from refspec.conformance.adapters.parts import by_run, logs
from refspec.decoding.lm import TableLM, Tokens


class Net:
    """ids [1, n] -> logits of those that its cache does not hold. calls: how often it was asked."""

    def __init__(self, table: TableLM, gamma: int = 0, round_begins: Callable[[Tokens], None] | None = None) -> None:
        self._table, self._gamma, self._round_begins, self.calls = table, gamma, round_begins, 0

    def __call__(self, ids: torch.Tensor, *, cache: Any = None, return_cache: bool, seq_start_pos: Any = None) -> Any:
        if self._round_begins and self.calls and self.calls % self._gamma == 0:
            self._round_begins(tuple(ids[0].tolist()))
        self.calls += 1
        before = ids[:, :0, None] if cache is None else cache[0]
        read = torch.cat((before, ids[:, before.shape[1] :, None]), dim=1)
        rows = self._table.probs(tuple(read.flatten().tolist()), last=ids.shape[1] - before.shape[1])
        return logs(rows)[None], Cache(read, None)


def _run(case: Case, generator: Any) -> Run:
    def round_begins(text: Tokens) -> None:
        round_ended(generator, Run(text[len(case.prompt) :], draft.calls))

    target, draft = Net(case.target), Net(case.draft, case.gamma, round_begins)
    text, _ = speculative_decoding(
        target,
        draft,
        torch.tensor([case.prompt]),
        len(case.prompt) + case.max_new_tokens,
        gamma=case.gamma,
        temperature=case.sampling.temperature,
        filter_thres=0.0,  # which keeps every token
    )
    return Run(tuple(text[0].tolist()), draft.calls)


loop = by_run(
    _run,
    "speculative-decoding (lucidrains)",
    version("speculative-decoding"),
    warps=("temperature",),
    stops=False,
    ties="open",
    round_by_round=True,
    merge_from=3,
)
