"""economize: its verifier for sampling, on one text and on a batch. Needs `pip install torch economize`."""

from importlib.metadata import version

import torch
from economize.decoding import DecodeConfig
from economize.decoding.protocols import Draft
from economize.decoding.selectors import TopPSampler
from economize.decoding.verifiers import RejectionVerifier

from refspec.conformance.adapters.parts import by_rule

_verifier = RejectionVerifier(DecodeConfig(verifier="rejection"))


def _one(tokens: torch.Tensor, draft_rows: torch.Tensor, target_rows: torch.Tensor) -> tuple[int, int]:
    history = torch.zeros(1 + len(tokens), dtype=torch.long)
    return _verifier.verify(target_rows.log(), tokens.tolist(), draft_rows, TopPSampler(), history, 1)


def _batch(tokens: torch.Tensor, draft_rows: torch.Tensor, target_rows: torch.Tensor) -> tuple[int, int]:
    draft = Draft(tokens[None], [len(tokens)], draft_rows[None])
    accepted, following = _verifier.verify_batch(
        target_rows.log()[None], draft, TopPSampler(), torch.zeros(1, 1 + len(tokens), dtype=torch.long), [1]
    )
    return int(accepted[0]), int(following[0])


one = by_rule(_one, "economize, rejection, one text", version("economize"))
batch = by_rule(_batch, "economize, rejection, a batch", version("economize"))
