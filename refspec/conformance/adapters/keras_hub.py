"""Keras Hub: the whole of `SpeculativeSampler`, on Keras' PyTorch backend. Needs `pip install torch keras-hub`, no TensorFlow.

Draft and target are functions of the text so far. The target is asked a row at a time, which is its way without `verify_next`.
"""

import os
from importlib.metadata import version
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported for the first time

import torch
from keras_hub.samplers import RandomSampler, SpeculativeSampler

from refspec.conformance.adapter import Case, Run
from refspec.conformance.adapters.parts import by_run, logs
from refspec.decoding.lm import TableLM


class _Next:
    """(prompt [1, n], cache, index) -> the row behind prompt[:index]. calls: how often it was asked."""

    def __init__(self, table: TableLM) -> None:
        self._table, self.calls = table, 0

    def __call__(self, prompt: torch.Tensor, cache: Any, index: Any) -> tuple[torch.Tensor, None, Any]:
        self.calls += 1
        return logs(self._table.probs(tuple(prompt[0, : int(index)].tolist()))), None, cache


def _run(case: Case, generator: Any) -> Run:
    draft, target, options = _Next(case.draft), _Next(case.target), case.sampling
    sampler = SpeculativeSampler(
        num_speculative_tokens=case.gamma,
        base_sampler=RandomSampler() if options.temperature else None,
        temperature=options.temperature or 1.0,
    )
    room = torch.zeros(case.max_new_tokens, dtype=torch.int64)
    text = sampler(
        next=target, prompt=torch.cat((torch.tensor(case.prompt), room))[None], index=len(case.prompt), draft_next=draft
    )
    rounds = target.calls // (case.gamma + 1)
    return Run(tuple(text[0, len(case.prompt) :].tolist()), draft.calls, case.max_new_tokens - rounds)


sampler = by_run(_run, "Keras Hub, SpeculativeSampler", version("keras-hub"), warps=("temperature",), stops=False)
