"""specdec: the whole of `SpecDecoder.spec_gen`, its models tables and its tokenizer one that leaves ids as they are.

Needs `pip install torch transformers` and `pip install --no-deps specdec`.
"""

from importlib.metadata import version
from typing import Any

import torch
from specdec.decoder import SpecDecoder

from refspec.conformance.adapter import Case, Run
from refspec.conformance.adapters.parts import Answer, Rows, by_run, by_step
from refspec.decoding.lm import TableLM


class _Model:
    def __init__(self, table: TableLM) -> None:
        self._rows, self.read = Rows(table), list[int]()

    def __call__(self, ids: torch.Tensor, use_cache: bool = False) -> Answer:
        self.read.append(ids.shape[1])
        return self._rows(ids)


class _Ids:
    """A tokenizer whose texts are lists of ids."""

    def encode(self, ids: tuple[int, ...], return_tensors: str) -> torch.Tensor:
        return torch.tensor([ids])

    def decode(self, ids: torch.Tensor, skip_special_tokens: bool) -> list[int]:
        return ids.tolist()


def _decoder(case: Case) -> Any:
    decoder: Any = object.__new__(SpecDecoder)  # which would load its models
    vars(decoder).update(
        small_model=_Model(case.draft), big_model=_Model(case.target), tokenizer=_Ids(), device=torch.device("cpu")
    )
    return decoder


def _run(case: Case, generator: Any) -> Run:
    decoder = _decoder(case)
    text = tuple(decoder.spec_gen(case.prompt, case.max_new_tokens, case.gamma))[len(case.prompt) :]
    return Run(text, len(decoder.small_model.read), len(text) - len(decoder.big_model.read))


def _step(case: Case, ids: Any, gamma: int) -> tuple[tuple[int, ...], int]:
    decoder = _decoder(case)
    new = decoder.verify(ids, *decoder.generate_small(ids, gamma))
    return tuple(new), len(new) - 1


loop = by_run(_run, "specdec, spec_gen", version("specdec"), warps=(), stops=False)
step = by_step(_step, "specdec, verify", version("specdec"), warps=())
