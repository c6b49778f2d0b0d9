"""Verification rules: how many drafted tokens to keep, and which token follows them.

A rule is a function `(draft, target_probs, chance) -> Verdict`. target_probs is [n + 1, v] for n drafted tokens: row i
is p after the first i of them. It says with `@claims` whether its text has the target's distribution, and whether it looks ahead.
One rule a file, named `*_rule.py` since `token.py` would hide the standard library's.
"""

from collections.abc import Callable
from fractions import Fraction

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft
from refspec.decoding.verify.block_rule import block
from refspec.decoding.verify.coupled_rule import coupled
from refspec.decoding.verify.inexact_lenience_rule import inexact_lenience
from refspec.decoding.verify.inexact_typical_rule import inexact_typical
from refspec.decoding.verify.sample_match_rule import sample_match
from refspec.decoding.verify.token_rule import residual, token
from refspec.decoding.verify.verdict import Verdict, claims, is_exact

Rule = Callable[[Draft, Array, Chance], Verdict]

# By their names on the command line: what keeps the target's distribution, and what does not.
EXACT: dict[str, Rule] = {"token": token, "block": block, "sample-match": sample_match, "coupled": coupled}
INEXACT: dict[str, Rule] = {
    "inexact-typical": inexact_typical(),
    "inexact-lenience": inexact_lenience(Fraction(1, 2)),  # no token more than twice as likely as it should be
}
RULES = EXACT | INEXACT

__all__ = [
    "EXACT",
    "INEXACT",
    "RULES",
    "Rule",
    "Verdict",
    "block",
    "claims",
    "coupled",
    "inexact_lenience",
    "inexact_typical",
    "is_exact",
    "residual",
    "sample_match",
    "token",
]
