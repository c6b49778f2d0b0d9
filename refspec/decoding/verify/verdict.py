"""What a verification rule answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

AnyRule = TypeVar("AnyRule", bound=Callable[..., "Verdict"])


@dataclass(frozen=True)
class Verdict:
    """Keep the first `accepted` drafted tokens, then emit `token`: a correction, or the bonus token after full acceptance.

    exact: whether the rule that says so keeps the target's law.
    """

    accepted: int
    token: int
    exact: bool = True


def looks_ahead(rule: AnyRule) -> AnyRule:
    """Says of a rule that a later drafted token can decide on an earlier one. The loop lets no racing drafter near it (N6)."""
    rule.looks_ahead = True  # type: ignore[attr-defined]
    return rule
