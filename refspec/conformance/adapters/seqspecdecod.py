"""sequential-speculative-decoding: its three ways to do a round. Needs `pip install torch sequential-speculative-decoding`."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from seqspecdecod.capped_hsd import capped_hsd_step
from seqspecdecod.naive_hsd import naive_hsd_step
from seqspecdecod.standard_sd import standard_speculative_step

from refspec.conformance.adapter import ByGenerator, Case
from refspec.conformance.adapters.parts import Rows, by_step


def _engine(step: Callable[..., Any], **more: Any) -> ByGenerator:
    def one_round(case: Case, ids: Any, gamma: int) -> tuple[tuple[int, ...], int]:
        t = case.sampling.temperature
        longer, accepted, _ = step(Rows(case.draft), Rows(case.target), ids, gamma, t, t)
        return tuple(longer[0, ids.shape[1] :].tolist()), accepted

    return by_step(
        one_round, f"sequential-speculative-decoding, {step.__name__}", version("sequential-speculative-decoding"), **more
    )


standard = _engine(standard_speculative_step)
naive_hsd = _engine(naive_hsd_step, block=True)
capped_hsd = _engine(capped_hsd_step, block=True)
