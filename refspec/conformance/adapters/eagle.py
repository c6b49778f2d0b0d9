"""EAGLE and AngelSlim: `evaluate_posterior`, their test of a tree of drafts, on a tree with a single branch.

EAGLE draws its drafts, and AngelSlim's are the likeliest tokens. Both are taken from their files, since the packages need other
versions of transformers. Needs `pip install torch transformers` and `pip install --no-deps eagle-llm angelslim`.
"""

from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import torch
from transformers.generation import logits_process

from refspec.conformance.adapter import ByGenerator, Case
from refspec.conformance.adapters import require_no_ties
from refspec.conformance.adapters.borrowed import borrowed
from refspec.conformance.adapters.parts import by_step, logs

_PROCESSORS = {name: getattr(logits_process, name) for name in dir(logits_process) if name.startswith(("Logits", "T", "R"))}
_RANDOM = SimpleNamespace(random=lambda: torch.rand(1))  # in the place of Python's generator
WARPS = ("temperature", "top_p", "top_k")


def _functions(distribution: str, path: str) -> Any:
    names = ("evaluate_posterior", "prepare_logits_processor")
    return borrowed(distribution, path, *names, torch=torch, random=_RANDOM, Tuple=tuple, **_PROCESSORS)


def _processor(functions: Any, case: Case) -> Any:
    """None at temperature 0, as both engines have it."""
    require_no_ties(case)
    options = case.sampling
    if options.temperature == 0:
        return None
    return functions.prepare_logits_processor(options.temperature, 0.0, options.top_p or 0.0, options.top_k or 0)


def _eagle(case: Case, ids: Any, gamma: int) -> tuple[tuple[int, ...], int]:
    text, processor = tuple(ids[0].tolist()), _processor(EAGLE, case)
    drafted: tuple[int, ...] = ()
    rows = []
    for _ in range(gamma):
        logits = logs(case.draft.probs(text + drafted))
        rows.append((logits if processor is None else processor(None, logits))[0].softmax(-1))
        drafted += (int(rows[-1].argmax() if processor is None else torch.multinomial(rows[-1], 1)),)
    target = logs(case.target.probs(text + drafted, last=gamma + 1))[None]
    chances = torch.tensor([[1.0, *(row[token] for row, token in zip(rows, drafted, strict=True))]])
    candidates, places = torch.tensor([[text[-1], *drafted]]), [list(range(-1, gamma))]
    op = [row[None] for row in rows]
    _, accepted, row = EAGLE.evaluate_posterior(
        target, candidates, processor, chances, op, [[0] * (gamma + 1)], candidates, [[[]] * len(places[0])]
    )
    following = row.argmax() if processor is None else torch.multinomial(row, 1)
    return (*drafted[: int(accepted)], int(following)), int(accepted)


def _angelslim(case: Case, ids: Any, gamma: int) -> tuple[tuple[int, ...], int]:
    text, processor = tuple(ids[0].tolist()), _processor(ANGELSLIM, case)
    drafted: tuple[int, ...] = ()
    for _ in range(gamma):
        drafted += (int(case.draft.probs(text + drafted)[0].argmax()),)
    target = logs(case.target.probs(text + drafted, last=gamma + 1))[None]
    _, accepted, following = ANGELSLIM.evaluate_posterior(target, torch.tensor([[text[-1], *drafted]]), processor)
    return (*drafted[: int(accepted)], int(following)), int(accepted)


EAGLE = _functions("eagle-llm", "eagle/model/utils.py")
ANGELSLIM = _functions("angelslim", "angelslim/compressor/speculative/utils/util.py")
chain: ByGenerator = by_step(_eagle, "EAGLE, evaluate_posterior", version("eagle-llm"), warps=WARPS)
angelslim: ByGenerator = by_step(_angelslim, "AngelSlim, evaluate_posterior", version("angelslim"), warps=WARPS, one_hot_q=True)
