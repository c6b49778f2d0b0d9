"""What a machine's passes cost, measured once and kept: what `AdaptiveDrafter` chooses by.

A stored profile and never a live timing, so that seed and profile fix the text (N11).
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from pathlib import Path

from refspec.brief import by_fields, short
from refspec.errors import BadProfile
from refspec.files import is_there, read_text, strict_json

MOST = sys.float_info.max
EMBEDDED = Path(__file__).parents[2] / "embedded" / "profiles"


@dataclass(frozen=True)
class Profile:
    """Costs in units of one plain decode step.

    verify: v(gamma), a round that checks gamma drafted tokens, gamma = 0, 1, ...; verify[0] is 1. draft: c, one token of a
    draft model. about: where it was measured. far: v(gamma) again in a longer text, as many; empty where it was measured in
    one. contexts: the tokens of text behind which `verify` and `far` were measured. gb_per_second: what one core reads from
    memory, and what all do, for the reader. heads: what a token of a draft head costs here, over what the head says that it
    does. Raises BadProfile for what can be no cost.

    >>> import refspec
    >>> refspec.Profile(verify=(1, 1.2, 1.5), draft=0.1).verify[1]
    1.2
    """

    verify: tuple[float, ...]
    draft: float
    about: str = ""
    far: tuple[float, ...] = ()
    contexts: tuple[int, ...] = ()
    gb_per_second: tuple[float, ...] = ()
    heads: float = 1.0

    __repr__ = by_fields

    def __post_init__(self) -> None:
        for name in ("verify", "far", "contexts", "gb_per_second"):
            given = getattr(self, name)
            if not (isinstance(given, list | tuple) and all(map(is_number, given))):
                raise BadProfile(f"{name} is {short(given)}; give a list of numbers")
        if not self.verify or self.verify[0] != 1 or not all(0 < cost <= MOST for cost in self.verify):
            raise BadProfile(
                f"verify is {list(self.verify)}; it holds the cost of drafting 0, 1, ... tokens, the first of them 1"
            )
        if self.far and (len(self.far), self.far[0]) != (len(self.verify), 1):
            raise BadProfile(f"far is {list(self.far)}; it is as long as verify, {len(self.verify)}, and begins with 1")
        if not all(0 < cost <= MOST for cost in self.far):
            raise BadProfile(f"far is {list(self.far)}; its costs are above 0 and finite")
        if not all(isinstance(each, Integral) for each in self.contexts):
            raise BadProfile(f"contexts is {short(self.contexts)}; give whole numbers of tokens")
        if self.far and not (len(self.contexts) == 2 and 0 <= self.contexts[0] < self.contexts[1]):
            raise BadProfile(f"contexts is {list(self.contexts)}; beside far it holds two lengths of text, the shorter first")
        for name in ("draft", "heads"):
            cost = getattr(self, name)
            if not (is_number(cost) and 0 <= cost <= MOST):
                raise BadProfile(f"{name} is {short(cost)}; it is the cost of one drafted token, at least 0")

    def behind(self, tokens: int) -> tuple[float, ...]:
        """v(gamma) in a text of so many tokens: on the line between the two lengths measured, flat beyond them.

        >>> import refspec
        >>> refspec.Profile((1, 1.5), 0, far=(1, 2.5), contexts=(100, 200)).behind(150)
        (1.0, 2.0)
        """
        if not self.far:
            return self.verify
        near, far = self.contexts
        share = min(max((tokens - near) / (far - near), 0.0), 1.0)
        return tuple(short + share * (long - short) for short, long in zip(self.verify, self.far, strict=True))

    @property
    def digest(self) -> str:
        """Eight digits that stand for all of its costs: with the seed, they fix the text on one machine.

        >>> import refspec
        >>> refspec.Profile((1, 2), 0, "here").digest == refspec.Profile((1, 2.0), 0.0).digest
        True
        """
        costs = [list(map(float, self.verify)), float(self.draft), list(map(float, self.far)), list(map(int, self.contexts))]
        if self.heads != 1:
            costs.append(float(self.heads))
        return hashlib.sha256(json.dumps(costs).encode()).hexdigest()[:8]

    @property
    def label(self) -> str:
        """How outputs name it.

        >>> import refspec
        >>> refspec.Profile((1, 2), 0, "by hand").label
        'profile 44ef0025 (by hand)'
        """
        return f"profile {self.digest} ({self.about or 'of a place it does not tell'})"

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Profile":
        """Raises BadProfile for a file that holds none."""
        if not is_there(Path(path), BadProfile):
            raise BadProfile(f"{path}: no such file; leave it out: `refspec calibrate` makes this machine's")
        try:
            given = strict_json(read_text(Path(path), kind=BadProfile))
            if not isinstance(given["verify"], list):
                raise TypeError("verify is no list")
            verify, draft = (tuple(map(float, given["verify"])), float(given["draft"]))
            far, rates = (tuple(map(float, given.get(name, ()))) for name in ("far", "gb_per_second"))
            contexts, heads = tuple(map(int, given.get("contexts", ()))), float(given.get("heads", 1))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise BadProfile(f'{path} is no profile ({error}); it is an object with "verify", a list, and "draft"') from None
        return cls(verify, draft, str(given.get("about", "")), far, contexts, rates, heads)

    @classmethod
    def embedded(cls, few_rows_are_cheap: bool) -> "Profile":
        """The one inside the package for machines whose BLAS multiplies a few rows at the cost of one, or for the others."""
        return cls.load(EMBEDDED / ("avx512.json" if few_rows_are_cheap else "other.json"))


def is_number(value: object) -> bool:
    """One of Python or NumPy, or a Fraction."""
    return isinstance(value, Real) and not isinstance(value, bool)


def of_rows(verify: Sequence[float], rows: int) -> float:
    """What a pass of so many rows costs, where one of 1, 2, ... costs verify[0], verify[1], ...

    Beyond what was measured, a straight line through the second half of that; at one cost a row where only one was.

    >>> from refspec.decoding.draft.profile import of_rows
    >>> [of_rows((1, 1.5, 2), rows) for rows in (0, 2, 3, 5)]
    [0, 1.5, 2, 3.0]
    """
    most = len(verify)
    if rows <= most:
        return verify[rows - 1] if rows else 0
    slope = (verify[-1] - verify[most // 2 - 1]) / (most - most // 2) if most > 1 else 1
    return verify[-1] + max(slope, 0) * (rows - most)
