"""What the loop demands of its parts: of what it is given at the start, and of every answer on the way.

The parts may be anybody's. What is wrong with one is said by name, before it becomes a wrong text.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Draft, Drafter, drafting
from refspec.decoding.lm import LanguageModel, Tokens, require_distributions, require_same_vocabulary
from refspec.decoding.optional import optional
from refspec.decoding.question import Asking, Question
from refspec.decoding.verify import Rule, Verdict
from refspec.errors import BadArgument, BadProbabilities, BrokenDrafter, BrokenRule
from refspec.numeric import whole

Propose = Callable[[Tokens, int, Chance], Asking[Draft]]
Score = Callable[[Tokens, int], Asking[Array]]


def before(target: LanguageModel, drafter: Drafter, verify: Rule, gamma: int, max_new_tokens: int) -> None:
    """Raises BadArgument for a number out of range or a rule that this drafter would break, VocabularyMismatch for its model."""
    if not callable(verify):
        raise BadArgument(f"verify is {verify!r}; give a rule, such as refspec.verify.token")
    whole("gamma", gamma, 0, ": how many tokens are drafted a round")
    whole("max_new_tokens", max_new_tokens, 0)
    if (language_model := optional(drafter, "language_model")) is not None:
        require_same_vocabulary(target, language_model)
    if optional(drafter, "learn") and optional(drafter, "races"):
        raise BadArgument(
            f"{type(drafter).__name__} races, and learns from the rows behind refused tokens, of which a race may not know (N6); "
            "take one or the other"
        )
    if optional(verify, "looks_ahead") and optional(drafter, "races"):
        raise BadArgument(
            f"{getattr(verify, '__name__', 'this')} verification does not keep the target's distribution behind "
            f"{type(drafter).__name__}, which races (N6); take a ModelDrafter, or the token or the coupled rule"
        )


def guarded(target: LanguageModel, drafter: Drafter, verify: Rule) -> tuple[Propose, Score, Rule]:
    """The drafter, the target and the rule as functions whose answers are checked; the first two are asked by `yield from`."""

    def propose(tokens: Tokens, gamma: int, chance: Chance) -> Asking[Draft]:
        draft = yield from drafting(drafter, tokens, gamma, chance)
        return checked(draft, tokens, gamma, target.vocab_size)

    def score(tokens: Tokens, last: int) -> Asking[Array]:
        rows = yield Question(target, tokens, last, judges=True)
        require_distributions(rows, (last, target.vocab_size), len(tokens) - last + 1, "target", BadProbabilities)
        if learn := optional(drafter, "learn"):
            learn(tokens, rows)
        return rows

    def judge(draft: Draft, target_probs: Array, chance: Chance) -> Verdict:
        verdict = verify(draft, target_probs, chance)
        if not isinstance(verdict, Verdict):
            raise BrokenRule(f"the rule returned {article(verdict)}; give refspec.verify.Verdict(accepted, token)")
        if not (0 <= verdict.accepted <= len(draft.tokens) and 0 <= verdict.token < target.vocab_size):
            raise BrokenRule(f"the rule answered {verdict} to a draft of {len(draft.tokens)} tokens")
        return verdict

    return propose, score, judge


def article(given: Any) -> str:
    """What kind of thing was given, as a message says it."""
    return "None" if given is None else f"a {type(given).__name__}"


def checked(draft: Draft, tokens: Tokens, gamma: int, vocab_size: int) -> Draft:
    """The draft with its absolute position, or BrokenDrafter where it is not a proposal for these tokens."""
    if not isinstance(draft, Draft):
        raise BrokenDrafter(f"the drafter returned {article(draft)}; give refspec.Draft(tokens, probs)")
    if not isinstance(draft.tokens, tuple):
        raise BrokenDrafter(f"the drafter returned {article(draft.tokens)} of tokens; give a tuple of ids")
    n = len(draft.tokens)
    if n > gamma:
        raise BrokenDrafter(f"the drafter returned {n} tokens where at most {gamma} were asked for")
    for token in draft.tokens:
        if not 0 <= token < vocab_size:
            raise BrokenDrafter(f"the drafter returned token {token}; the target's ids run from 0 to {vocab_size - 1}")
    if draft.probs is not None and not isinstance(draft.probs, np.ndarray):
        raise BrokenDrafter(f"the drafter returned {article(draft.probs)} of distributions; give an array [n, v]")
    if draft.probs is not None and n == 0 and draft.probs.shape != (0, vocab_size):  # np.array([row] * gamma) at a gamma of 0
        raise BrokenDrafter(f"the drafter returned no tokens and distributions of shape {draft.probs.shape}; give Draft(())")
    if draft.probs is not None:  # the likeliest slip is to draw from a row that was masked and not renormalised
        require_distributions(draft.probs, (n, vocab_size), len(tokens), "drafter", BrokenDrafter)
    if draft.start not in (None, len(tokens)):
        raise BrokenDrafter(f"the draft starts at position {draft.start} where the text has {len(tokens)} tokens")
    return replace(draft, start=len(tokens)) if draft.start is None else draft
