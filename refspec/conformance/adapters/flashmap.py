"""FlashMap: the whole of its loop, `spec_generate`, with its cache. Needs `pip install torch transformers flashmap`.

Its draft is a block of rows that go by the text and not by each other. Here each of them is the draft's row behind the text.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import torch
from flashmap import modeling_flashmap as flashmap

from refspec.conformance.adapter import Case, Run, round_ended
from refspec.conformance.adapters.parts import by_run, logs
from refspec.decoding.lm import Tokens


class _Target:
    """A model of transformers whose keys are the tokens themselves. read: how long its inputs were."""

    def __init__(self, case: Case) -> None:
        self._table, self.text, self.read = case.target, tuple[int, ...](), list[int]()
        self.generation_config = SimpleNamespace(eos_token_id=list(case.stop) or None)

    def get_input_embeddings(self) -> None: ...

    get_output_embeddings = get_input_embeddings

    def __call__(self, ids: torch.Tensor, past_key_values: Any, logits_to_keep: int = 0, **_: Any) -> Any:
        keys = ids[:, None, :, None].float()
        self.text = tuple(int(token) for token in past_key_values.update(keys, keys, 0)[0].flatten())
        self.read.append(ids.shape[1])
        rows = self._table.probs(self.text, last=ids.shape[1])
        return SimpleNamespace(logits=logs(rows)[None, -logits_to_keep:])


class _Draft:
    """What `spec_generate` asks of its own model."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, case: Case, round_begins: Callable[[Tokens], None]) -> None:
        self._case, self._text, self._round_begins, self.asked = case, case.prompt, round_begins, 0
        self.config = SimpleNamespace(block_size=case.gamma)

    def check_target(self, target: Any) -> None: ...

    def extend_context(self, cache: Any, features: torch.Tensor) -> None:
        """features [1, n, 1]: the tokens that are kept."""
        self._kept = tuple(features.flatten().tolist())
        self._text = self._kept if not self.asked else self._text + self._kept

    @contextmanager
    def target_features(self, target: _Target) -> Iterator[Callable[[], torch.Tensor]]:
        yield lambda: torch.tensor(target.text[-target.read[-1] :])[None, :, None]

    def draft(self, anchor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        text = (*self._text, int(anchor))
        self._round_begins(text)
        self.asked += 1
        row = logs(self._case.draft.probs(text))
        return row.expand(1, self._case.gamma, -1)


def _run(case: Case, generator: Any) -> Run:
    def round_begins(text: Tokens) -> None:
        round_ended(generator, Run(text[len(case.prompt) :], draft.asked * case.gamma))

    before, flashmap.FlashMapCache = flashmap.FlashMapCache, lambda *_, **__: None
    try:
        draft, target = _Draft(case, round_begins), _Target(case)
        found = flashmap.FlashMapDraftModel.spec_generate(
            draft, target, torch.tensor([case.prompt]), case.max_new_tokens, case.sampling.temperature
        )
    finally:
        flashmap.FlashMapCache = before
    kept = sum(length - 1 for length in found.acceptance_lengths)
    return Run(tuple(found.sequences[0, len(case.prompt) :].tolist()), draft.asked * case.gamma, kept)


loop = by_run(_run, "FlashMap, spec_generate", version("flashmap"), warps=("temperature",), round_by_round=True, merge_from=3)
