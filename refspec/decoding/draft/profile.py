"""What a machine's passes cost, measured once and kept: what `AdaptiveDrafter` chooses by.

A stored profile and never a live timing, so that seed and profile fix the text (N11).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from refspec.brief import by_fields
from refspec.errors import BadProfile

EMBEDDED = Path(__file__).parents[2] / "embedded" / "profiles"


@dataclass(frozen=True)
class Profile:
    """Costs in units of one plain decode step.

    verify: v(gamma), a target's pass over gamma + 1 tokens, gamma = 0, 1, ...; verify[0] is 1. draft: c, one token of a
    draft model. about: where it was measured.

    >>> import refspec
    >>> refspec.Profile(verify=(1, 1.2, 1.5), draft=0.1).verify[1]
    1.2
    """

    verify: tuple[float, ...]
    draft: float
    about: str = ""

    __repr__ = by_fields

    def __post_init__(self) -> None:
        if not self.verify or self.verify[0] != 1 or not all(0 < cost < float("inf") for cost in self.verify):
            raise BadProfile(
                f"verify is {list(self.verify)}; it holds the cost of drafting 0, 1, ... tokens, the first of them 1"
            )
        if not 0 <= self.draft < float("inf"):
            raise BadProfile(f"draft is {self.draft}; it is the cost of one drafted token, at least 0")

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Profile":
        """Raises BadProfile for a file that holds none."""
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(given["verify"], list):
                raise TypeError("verify is no list")
            verify, draft = (tuple(map(float, given["verify"])), float(given["draft"]))
        except FileNotFoundError:
            raise BadProfile(f"{path}: no such file; `refspec bench --save-profile {path}` writes one") from None
        except (ValueError, TypeError, KeyError, OSError, RecursionError, OverflowError) as error:
            raise BadProfile(f'{path} is no profile ({error}); it is an object with "verify", a list, and "draft"') from None
        return cls(verify, draft, str(given.get("about", "")))

    @classmethod
    def embedded(cls, few_rows_are_cheap: bool) -> "Profile":
        """The one inside the package for machines whose BLAS multiplies a few rows at the cost of one, or for the others."""
        return cls.load(EMBEDDED / ("avx512.json" if few_rows_are_cheap else "other.json"))
