"""mini-infer: its round of speculation, `speculative_step`. Needs `pip install torch mini-infer`."""

from importlib.metadata import version
from typing import Any

from mini_infer.speculative.verifier import speculative_step

from refspec.conformance.adapter import Case
from refspec.conformance.adapters.parts import Rows, by_step


def _step(case: Case, ids: Any, gamma: int) -> tuple[tuple[int, ...], int]:
    new, accepted = speculative_step(Rows(case.target), Rows(case.draft), ids, gamma, case.sampling.temperature)
    return tuple(new), accepted


step = by_step(_step, "mini-infer, speculative_step", version("mini-infer"))
