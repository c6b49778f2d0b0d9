"""The bug zoo: bugs that people have written, planted one by one, each to be found by the property suite.

Each names who wrote it, "several" where many did. Bugs of several candidates at one node wait for that rule: candidates without
replacement scored as if with, re-sorted by q before the tests, the residual not normalised between them, duplicates
removed but scored with q.
"""

from mutants import bets, block, caches, chance, drafters, loop, rules, warps
from mutants.planting import Mutant

ALL: dict[str, Mutant] = {
    mutant.name: mutant for room in (rules, block, loop, drafters, bets, warps, chance, caches) for mutant in room.MUTANTS
}
