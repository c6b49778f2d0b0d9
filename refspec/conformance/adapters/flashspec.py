"""flashspec: its token rule in one step, and that of drafts without a row. Needs `pip install torch flashspec`."""

from importlib.metadata import version

import torch
from flashspec.sampling.rejection import rejection_step, rejection_step_onehot

from refspec.conformance.adapters.parts import by_rule


def _rule(tokens: torch.Tensor, draft_rows: torch.Tensor, target_rows: torch.Tensor) -> tuple[int, int]:
    accepted, token = rejection_step(tokens[None], draft_rows[None].log(), target_rows[None].log())[0].tolist()
    return accepted, token


def _one_hot(tokens: torch.Tensor, draft_rows: torch.Tensor, target_rows: torch.Tensor) -> tuple[int, int]:
    accepted, token = rejection_step_onehot(tokens[None], target_rows[None].log())[0].tolist()
    return accepted, token


rejection = by_rule(_rule, "flashspec, rejection_step", version("flashspec"))
one_hot = by_rule(_one_hot, "flashspec, rejection_step_onehot", version("flashspec"), one_hot_q=True)
