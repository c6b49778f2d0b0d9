"""csaq-quant: its self-speculative loop, `_generate_speculative`, in which the quantised weights draft for the full ones.

Needs `pip install torch transformers` and `pip install --no-deps csaq-quant`. Here tables are swapped in the place of weights.
"""

from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import torch
from csaq.inference import CSAQInferenceEngine

from refspec.conformance.adapter import Case, Run
from refspec.conformance.adapters.parts import by_run, logs


class _Swapped:
    """A model that reads what is in its cache: a layer of two tensors [1, 1, n, 1], the tokens themselves."""

    config = SimpleNamespace(eos_token_id=None)

    def __init__(self, case: Case) -> None:
        self._case, self.table, self.drafted = case, case.draft, 0

    def eval(self) -> None: ...

    def __call__(self, input_ids: torch.Tensor, past_key_values: Any, use_cache: bool) -> Any:
        keys = input_ids[:, None, :, None]
        read = keys if past_key_values is None else torch.cat((past_key_values[0][0], keys), dim=2)
        self.drafted += self.table is self._case.draft
        rows = self.table.probs(tuple(read.flatten().tolist()), last=input_ids.shape[1])
        return SimpleNamespace(logits=logs(rows)[None], past_key_values=((read, read),))


def _run(case: Case, generator: Any) -> Run:
    engine, model = object.__new__(CSAQInferenceEngine), _Swapped(case)
    vars(engine).update(model=model, device=torch.device("cpu"), tokenizer=None, verbose=False, telemetry={"total_tokens": 0})
    engine.telemetry |= {"accepted_tokens": 0, "backpressure_events": 0}
    engine._ensure_draft_state = engine._swap_to_draft = lambda: setattr(model, "table", case.draft)
    engine._swap_to_verify = lambda: setattr(model, "table", case.target)
    text, report = engine._generate_speculative(
        input_ids=torch.tensor([case.prompt]),
        max_new_tokens=case.max_new_tokens,
        lookahead=case.gamma,
        temperature=case.sampling.temperature,
        top_p=1.0,
    )
    return Run(tuple(text[0, len(case.prompt) :].tolist()), model.drafted, report.tokens_accepted)


loop = by_run(_run, "csaq-quant, self-speculative", version("csaq-quant"), warps=("temperature",), stops=False)
