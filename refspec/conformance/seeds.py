"""The same seed gives the same text, whatever was decoded before it (R19): what cannot be made again cannot be reported."""

from collections.abc import Sequence
from functools import partial
from typing import cast

from refspec.conformance.adapter import Case, Engine, Sampled
from refspec.conformance.answers import as_runs
from refspec.conformance.asking import Asking
from refspec.conformance.checks import require
from refspec.conformance.findings import Finding

CHECK, LEVEL = "same-seed", "sampled"
SEEDS = range(20)  # that are asked for twice, the second time from the last to the first


def same_seed(engine: Engine, cases: Sequence[Case], asking: Asking | None = None) -> Finding:
    """What the longest of these cases that the engine takes shows.

    >>> from refspec.conformance.cases import CHECKS
    >>> from refspec.conformance.own import Own
    >>> from refspec.conformance.seeds import same_seed
    >>> same_seed(Own(), CHECKS["multi-round-law"].cases).status
    'conforms'
    """
    longest = sorted(cases, key=lambda case: -case.max_new_tokens)
    ask = asking or Asking()
    found = (ask(partial(_twice, engine, case), CHECK, case.name, LEVEL) for case in longest)
    none = Finding(CHECK, "any", LEVEL, "skipped", detail="it takes none of the cases of multi-round-law")
    return next((each for each in found if each.status != "skipped"), none)


def _twice(engine: Engine, case: Case) -> Finding:
    require(case, engine.dialect)
    first, again = (as_runs(cast(Sampled, engine).sampled(case, seeds), seeds) for seeds in (SEEDS, SEEDS[::-1]))
    for seed, one, other in zip(SEEDS, first, again[::-1], strict=True):
        if one.tokens != other.tokens:
            why = f"seed {seed} gave {one.tokens}, and then {other.tokens}"
            return Finding(CHECK, case.name, LEVEL, "deviates", detail=why)
    return Finding(CHECK, case.name, LEVEL, "conforms")
