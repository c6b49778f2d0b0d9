"""How far a verification rule takes the text from the target's distribution: an exact number, 0 for an exact rule.

>>> from fractions import Fraction
>>> from refspec.distance import distance
>>> from refspec.verify import inexact_lenience
>>> distance(inexact_lenience(Fraction(1, 2)), [Fraction(1, 3), Fraction(2, 3)], [Fraction(2, 3), Fraction(1, 3)])
Fraction(1, 3)

Total variation, by enumerating the rule itself. Rows and models are of Fractions or integers; floats are refused. Texts
go by `sequence_law`, and raise CannotMerge where that does: then enumerate `speculative` by `exact.law`.
"""

from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding import lm
from refspec.decoding.autoregressive import autoregressive
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, Drafter
from refspec.decoding.lm import LanguageModel
from refspec.decoding.verify import Rule
from refspec.proof.exact import law, sequence_law, total_variation


def distance(rule: Rule, target_row: Sequence[Any] | Array, draft_row: Sequence[Any] | Array) -> Fraction:
    """Of one token: the one that stands where one token was drafted. Rows are [v].

    >>> from fractions import Fraction
    >>> import refspec
    >>> from refspec.distance import distance
    >>> half, third = Fraction(1, 2), Fraction(1, 3)
    >>> distance(refspec.verify.token, [half, half], [third, 1 - third])
    Fraction(0, 1)
    >>> distance(refspec.verify.inexact_lenience(half), [half, half], [third, 1 - third])
    Fraction(1, 6)
    """
    target_row, draft_row = lm.distribution(target_row), lm.distribution(draft_row)

    def emitted(chance: Chance) -> int:
        draft = Draft((chance.pick(draft_row),), draft_row[None], start=0)
        # the second row is that of the bonus token, which is not looked at
        verdict = rule(draft, np.stack([target_row, target_row]), chance)
        return draft.tokens[0] if verdict.accepted else verdict.token

    return total_variation(law(emitted), dict(enumerate(target_row)))


def text_distance(
    rule: Rule,
    target: LanguageModel,
    drafter: Drafter,
    prompt: Sequence[int] = (),
    *,
    gamma: int,
    max_new_tokens: int,
    stop: Collection[int] = (),
) -> Fraction:
    """Of whole texts, by the production loop: every round, its corrections and bonus tokens included.

    Options: gamma, max_new_tokens and stop, as in `speculative`.

    >>> from fractions import Fraction
    >>> import refspec
    >>> from refspec.distance import text_distance
    >>> target, draft = (refspec.TableLM({(): [Fraction(p, 4), Fraction(4 - p, 4)]}) for p in (2, 1))
    >>> rule = refspec.verify.inexact_lenience(Fraction(1, 2))
    >>> text_distance(rule, target, refspec.ModelDrafter(draft), gamma=2, max_new_tokens=2)
    Fraction(1, 4)
    """
    plain = law(lambda chance: autoregressive(target, prompt, max_new_tokens=max_new_tokens, stop=stop, chance=chance))
    speculated = sequence_law(target, drafter, prompt, gamma=gamma, max_new_tokens=max_new_tokens, stop=stop, verify=rule)
    return total_variation(speculated, plain)
