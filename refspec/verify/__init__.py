"""Verification rules: how many drafted tokens to keep, and which token follows them.

A rule is a function `(draft, target_probs, chance) -> Verdict`. target_probs is [n + 1, v] for n drafted tokens: row i
is p after the first i of them. One rule a file, named `*_rule.py` since `token.py` would hide the standard library's.
"""

from collections.abc import Callable

from refspec.arrays import Array
from refspec.chance import Chance
from refspec.draft import Draft
from refspec.verify.token_rule import residual, token
from refspec.verify.verdict import Verdict

Rule = Callable[[Draft, Array, Chance], Verdict]

RULES: dict[str, Rule] = {"token": token}

__all__ = ["RULES", "Rule", "Verdict", "residual", "token"]
