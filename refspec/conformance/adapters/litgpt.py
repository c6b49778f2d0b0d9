"""LitGPT: its loop with a draft model, `generate`, and its round alone, `speculative_decoding`.

The functions are taken from their files, since the package imports Lightning. Needs `pip install torch` and
`pip install --no-deps litgpt`. The models are tables whose cache is the text: what is read is what was written by position.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import torch
import torch._dynamo

from refspec.conformance.adapter import Case, Run
from refspec.conformance.adapters import require_no_ties
from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.parts import by_run, by_step, logs
from refspec.decoding.lm import TableLM

_FILE = "litgpt/generate/speculative_decoding.py"
_base = borrowed(
    "litgpt",
    "litgpt/generate/base.py",
    *("sample", "next_token", "multinomial_num_samples_1", "sample_top_p"),
    torch=torch,
    GPT=Any,
    Any=Any,
)
litgpt = borrowed(
    "litgpt",
    _FILE,
    *("sample", "speculative_decoding", "generate"),
    torch=torch,
    F=torch.nn.functional,
    GPT=Any,
    Any=Any,
    Iterator=Iterator,
    next_token=_base.next_token,
    sample_top_p=_base.sample_top_p,
    multinomial_num_samples_1=_base.multinomial_num_samples_1,
)
WARPS = ("top_k", "temperature", "top_p")


class Table:
    """A model of LitGPT: ids [1, n] at positions [n] -> logits [1, n, v]. calls: how long its inputs were."""

    max_seq_length = 64

    def __init__(self, table: TableLM, text: tuple[int, ...] = ()) -> None:
        self._table, self._text, self.calls = table, list(text), list[int]()

    def modules(self) -> Iterator["Table"]:
        yield self

    def __call__(self, idx: torch.Tensor, input_pos: torch.Tensor, input_pos_maxp1: int | None = None) -> torch.Tensor:
        start, new = int(input_pos[0]), idx[0].tolist()
        assert start <= len(self._text), "a hole in the cache"
        self._text[start:] = new
        self.calls.append(len(new))
        return logs(self._table.probs(tuple(self._text), last=len(new)))[None]


def _options(case: Case) -> Mapping[str, Any]:
    require_no_ties(case, exactly_k=True)
    options = case.sampling
    return {"temperature": options.temperature, "top_k": options.top_k, "top_p": 1.0 if options.top_p is None else options.top_p}


def _round(case: Case, ids: Any, gamma: int) -> tuple[tuple[int, ...], int]:
    before = tuple(ids[0, :-1].tolist())
    target, draft = Table(case.target, before), Table(case.draft, before)
    new = litgpt.speculative_decoding(
        draft, target, ids[0, -1:], torch.tensor([len(before)]), len(before) + 1, gamma, **_options(case)
    )
    return tuple(new.tolist()), len(new) - 1


def _run(case: Case, generator: Any) -> Run:
    target = Table(case.target)
    tokens, rate = litgpt.generate(
        Table(case.draft),
        target,
        torch.tensor(case.prompt),
        len(case.prompt) + case.max_new_tokens,
        speculative_k=case.gamma,
        stop_tokens=case.stop,
        include_prompt=False,
        **_options(case),
    )
    drafted = sum(target.calls[1:]) - len(target.calls[1:])
    return Run(tuple(tokens.tolist()), drafted, round(rate * drafted))


step = by_step(_round, "LitGPT, speculative_decoding", version("litgpt"), warps=WARPS)
loop = by_run(_run, "LitGPT, generate", version("litgpt"), warps=WARPS)
