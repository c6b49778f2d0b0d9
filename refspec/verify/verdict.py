"""What a verification rule answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Keep the first `accepted` drafted tokens, then emit `token`: a correction, or the bonus token after full acceptance.

    exact: whether the rule that says so keeps the target's law.
    """

    accepted: int
    token: int
    exact: bool = True
