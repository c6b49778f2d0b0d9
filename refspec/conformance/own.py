"""refspec itself as one more engine: its own loop and rules on float64, drawing from the generator it is given."""

from dataclasses import dataclass
from typing import Any

from refspec.arrays import Array
from refspec.conformance.adapter import Case, Run
from refspec.decoding import loop, verify
from refspec.decoding.chance import accept_at, pick_at
from refspec.decoding.draft.model import ModelDrafter
from refspec.errors import BadArgument
from refspec.proof.exact import Rounds


@dataclass(frozen=True)
class Drawing:
    """Chance that draws each uniform from a generator, as `Seeded` does. Raises BadArgument for a race.

    >>> from refspec.conformance.answered import answered_law
    >>> from refspec.conformance.own import Drawing
    >>> answered_law(lambda generator: Drawing(generator).pick([0, 1]))
    {1: Fraction(1, 1)}
    """

    generator: Any

    def accept(self, p: Any, q: Any) -> bool:
        return accept_at(self.generator.random(), p, q)

    def pick(self, weights: Array) -> int:
        return pick_at(self.generator.random(), weights)

    def race(self, key: int, weights: Array) -> int:
        raise BadArgument("a race draws exponential clocks, which no branch answers; prove this rule with `refspec prove`")


@dataclass(frozen=True)
class Own:
    """An engine made of a rule of refspec's kind and a loop.

    >>> from refspec.conformance.checks import conform
    >>> from refspec.conformance.own import Own
    >>> {found.status for found in conform(Own())}
    {'conforms'}
    """

    rule: verify.Rule = verify.token
    rounds: Rounds = loop.rounds

    def __call__(self, case: Case, generator: Any) -> Run:
        made = tuple(
            self.rounds(
                case.target,
                ModelDrafter(case.draft),
                case.prompt,
                gamma=case.gamma,
                max_new_tokens=case.max_new_tokens,
                stop=case.stop,
                chance=Drawing(generator),
                verify=self.rule,
            )
        )
        tokens = tuple(token for each in made for token in each.tokens)
        return Run(tokens, sum(each.drafted for each in made), sum(each.accepted for each in made))
