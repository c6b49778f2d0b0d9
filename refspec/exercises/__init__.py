"""The exercises of the course: each checks a function of yours and says what is wrong with it, exactly where the thing is exact.

>>> from refspec import exercises
>>> exercises.acceptance(lambda p, q: sum(min(each) for each in zip(p, q)))
✓ right on 4 of 4 cases.
>>> exercises.acceptance(lambda p, q: sum(p * q))
✗ For p = 1/2 1/3 1/6, q = 1/4 1/4 1/2 you say 7/24; it is 2/3.
That is what comes of: the chance that two independent draws agree.

A check is true where you passed. It raises nothing: what your function raises is told in one line.
"""

from refspec.exercises.chances import (
    acceptance,
    acceptance_rate,
    expected_tokens,
    pick,
    residual,
    text_chance,
    tokens_per_call,
    top_p,
    total_variation,
)
from refspec.exercises.course import DRAFT, NAMES, TARGET
from refspec.exercises.machine import attention, best_gamma, goes_wrong, keep, lookup, one_guess_pays, rows_that_stay
from refspec.exercises.task import Report, Task
from refspec.exercises.verdicts import accuse, drafter, one_token, rule, suspects
from refspec.exercises.zoo import ZOO

__all__ = [
    "DRAFT",
    "NAMES",
    "TARGET",
    "ZOO",
    "Report",
    "Task",
    "acceptance",
    "acceptance_rate",
    "accuse",
    "attention",
    "best_gamma",
    "drafter",
    "expected_tokens",
    "goes_wrong",
    "keep",
    "lookup",
    "one_guess_pays",
    "one_token",
    "pick",
    "residual",
    "rows_that_stay",
    "rule",
    "suspects",
    "text_chance",
    "tokens_per_call",
    "top_p",
    "total_variation",
]
