"""Everything that one run of the command measured; as JSON by these names."""

from dataclasses import dataclass

from refspec.bench.costs import Curve, DraftCost, LookupCost
from refspec.bench.machine import Loading, Machine, Roofline
from refspec.bench.passes import ContextCost, Decode, Prefill
from refspec.bench.peers import Comparison, Peer
from refspec.bench.results import Results


@dataclass(frozen=True)
class Setup:
    """What was asked for. draft: a model's name, or None for n-gram lookup. left_out: own prompts that did not fit.

    passes: over the prompts; runs: of every other measurement, at least. profile: what gamma auto went by; None where gamma
    was a number.
    """

    model: str
    draft: str | None
    row_invariant: bool
    gamma: int | str
    temperature: float
    max_new_tokens: int
    prompts: str
    chat: bool
    left_out: int
    passes: int
    runs: int
    seed: int
    profile: str | None


@dataclass(frozen=True)
class Passes:
    """What single passes take."""

    machine: Machine
    loading: Loading
    prefill: tuple[Prefill, ...]
    roofline: Roofline
    decode: Decode
    curves: tuple[Curve, ...]
    draft_cost: DraftCost
    contexts: tuple[ContextCost, ...]
    lookups: tuple[LookupCost, ...]


@dataclass(frozen=True)
class Against:
    peer: Peer
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Bench:
    setup: Setup
    passes: Passes
    results: Results
    against: Against | None
