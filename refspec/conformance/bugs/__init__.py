"""The bugs that the kit knows by name, each as a whole engine: refspec with one part wrong.

They are those of refspec's own test suite, written down apart; the tests hold each against its twin there. A deviation whose
law equals one of theirs is explained by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from refspec.conformance.bugs import parts, rules
from refspec.conformance.bugs.uniforms import SharesDraftNoise, SkipsCertain
from refspec.conformance.own import Own
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Drafter


@dataclass(frozen=True)
class Bug:
    """what: in words. engine: refspec with this bug.

    >>> from refspec.conformance.bugs import BUGS
    >>> BUGS["always-accepts"].what
    'every drafted token passes'
    """

    name: str
    what: str
    engine: Own


def _own(name: str, what: str, **parts: object) -> Bug:
    return Bug(name, what, Own(name=name, **parts))  # type: ignore[arg-type]


def _sharing(drafter: Drafter, chance: Chance, only_refused: bool = False) -> tuple[Any, Any]:
    both = SharesDraftNoise(drafter, chance, only_refused)
    return both, both


_ALL = (
    *(_own(name, what, rule=rule) for name, (what, rule) in rules.WRONG.items()),
    _own(
        "draft-noise-reused",
        "the noise that drew the refused token also draws its replacement",
        beside=partial(_sharing, only_refused=True),
    ),
    _own("draft-and-target-share-draws", "draft and target draw from one seed each, the same", beside=_sharing),
    _own(
        "certain-tests-draw-nothing",
        "a test that is certain to pass takes no uniform: another order of draws than the vectors', with the right law",
        beside=lambda drafter, chance: (drafter, SkipsCertain(chance)),
    ),
    *(_own(name, what, rounds=rounds) for name, (what, rounds) in parts.LOOPS.items()),
    *(_own(name, what, drafter=drafter) for name, (what, drafter) in parts.DRAFTERS.items()),
    *(_own(name, what, **chance) for name, (what, chance) in parts.CHANCE.items()),
    *(_own(name, what, warp=warp) for name, (what, warp) in parts.WARPS.items()),
    _own("processors-miss-the-prompt", "logits processors see the new tokens alone", ignores_prompt=True),
)
BUGS: Mapping[str, Bug] = {each.name: each for each in _ALL}
