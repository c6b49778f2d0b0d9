"""What several adapters of PyTorch engines share: how a verification rule, or a step of one round, becomes an engine."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from refspec.arrays import Array
from refspec.conformance.adapter import ByGenerator, Case, Dialect, Run, round_ended
from refspec.conformance.own import WARPS, Own
from refspec.conformance.torch_draws import drawing_from
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.lm import TableLM, Tokens
from refspec.decoding.verify import Verdict
from refspec.models.sampling import Sampling

# (tokens [n], draft rows [n, v], target rows [n + 1, v]) -> how many are accepted, and the token after them
Rule = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[int, int]]


class Answer(NamedTuple):
    """What a model returns: logits [1, n, v], for those who take them by name or by place."""

    logits: torch.Tensor
    cache: None = None


class Rows:
    """A table as a model: ids [1, n] -> the logs of its rows [1, n, v], in float32."""

    def __init__(self, table: TableLM) -> None:
        self._table = table

    def __call__(self, ids: torch.Tensor) -> Answer:
        return Answer(logs(self._table.probs(tuple(ids[0].tolist()), last=ids.shape[1]))[None])


def logs(rows: Array) -> torch.Tensor:
    with np.errstate(divide="ignore"):  # a probability of 0 is a logit of -inf
        return torch.tensor(np.log(rows), dtype=torch.float32)


def by_rule(rule: Rule, name: str, version: str, **more: Any) -> ByGenerator:
    """An engine's rule in refspec's loop, behind a draft model. It sees rows alone, in float32, and draws from torch."""

    def judge(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        if not draft.tokens:
            return Verdict(0, chance.pick(target_probs[0]))
        rows = [draft.row(i, like=target_probs[i]) for i in range(len(draft.tokens))]
        p, q = (torch.tensor(np.array(each), dtype=torch.float32) for each in (target_probs, rows))
        accepted, token = rule(torch.tensor(draft.tokens), q, p)
        return Verdict(int(accepted), int(token))

    own = Own(judge)
    return _made(own.answered, name, version, {"warps": WARPS, "padded": True, "top_k_ties": True} | more)


def by_step(step: Callable[[Case, Any, int], tuple[tuple[int, ...], int]], name: str, version: str, **more: Any) -> ByGenerator:
    """An engine's function of one round in a loop of our own, which ends where it should (N9).

    step: (case, ids [1, n], how many to draft) -> the new tokens, and how many of them were accepted drafts.
    """

    ways: dict[str, Any] = {"warps": ("temperature",)} | more

    def run(case: Case, generator: Any) -> Run:
        tokens, drafted, accepted = case.prompt, 0, 0
        end = len(tokens) + case.max_new_tokens
        while len(tokens) < end:
            gamma = min(case.gamma, end - len(tokens) - 1)
            if gamma:
                new, kept = step(case, torch.tensor([tokens]), gamma)
            else:
                new, kept = (_alone(case, tokens, ways["warps"]),), 0
            new = next((new[: i + 1] for i, token in enumerate(new) if token in case.stop), new)
            tokens, drafted, accepted = tokens + new, drafted + gamma, accepted + min(kept, len(new))
            round_ended(generator, Run(tokens[len(case.prompt) :], drafted, accepted))
            if new[-1] in case.stop:
                break
        return Run(tokens[len(case.prompt) :], drafted, accepted)

    return _made(run, name, version, ways)


def by_run(run: Callable[[Case, Any], Run], name: str, version: str, **more: Any) -> ByGenerator:
    """An engine's whole loop, (case, generator) -> Run. The generator is what torch draws from meanwhile, and need not be used.

    It says `round_by_round=True` where it calls `round_ended`.
    """
    return _made(run, name, version, {"round_by_round": False} | more)


def _alone(case: Case, tokens: Tokens, warps: tuple[str, ...]) -> int:
    """The last token of a text, where there is no room for a draft."""
    row = case.target.probs(tokens)
    for warp in warps:  # one after the other, in the engine's order
        with np.errstate(divide="ignore"):
            row = Sampling(**{warp: getattr(case.sampling, warp)})(np.log(row))
    return int(torch.multinomial(torch.tensor(row[0]), 1))


def _made(run: Callable[[Case, Any], Run], name: str, version: str, more: dict[str, Any]) -> ByGenerator:
    def drawn(case: Case, generator: Any) -> Run:
        with drawing_from(generator), torch.no_grad():
            return run(case, generator)

    ways: dict[str, Any] = {"draws_intercepted": True, "round_by_round": True, "seeds_in": True, "kv_dtype": "float32"}
    return ByGenerator(drawn, Dialect(name, version, **(ways | more)))
