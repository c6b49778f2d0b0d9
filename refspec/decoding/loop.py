"""Speculative decoding: the loop of arXiv 2211.17192, Algorithm 1.

Draft, score, verify, keep; then again. The prompt, full acceptance and an empty draft need no special case: a language
model scores whatever it is shown, and a rule always ends a round with one token of the target's. The same lines run on
float64 rows and on rows of Fractions. It is a coroutine: `yield from` is where it waits for rows. Beside this file: `question.py`
says how one text is answered, `batch.py` how many are, `checks.py` what each part may not do, `round.py` what a round is and how
a stop token cuts it.
"""

from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any, Required, TypedDict, Unpack

from refspec.decoding import checks
from refspec.decoding import verify as rules
from refspec.decoding.chance import Chance
from refspec.decoding.draft import Drafter
from refspec.decoding.lm import LanguageModel
from refspec.decoding.question import Question, answered
from refspec.decoding.round import Round, recorded, up_to_stop


class EachRound(TypedDict, total=False):
    """The keywords of `rounds` that are the same in every round, wherever the text begins and ends."""

    gamma: Required[int]
    verify: rules.Rule


class Options(EachRound, total=False):
    """All keywords of `rounds`, for those who pass them on."""

    max_new_tokens: Required[int]
    stop: Collection[int]
    chance: Required[Chance]
    record: bool


Steps = Generator[Question | Round, Any, None]  # sent the rows of a question, and nothing for a round


def rounds(target: LanguageModel, drafter: Drafter, prompt: Sequence[int], **options: Unpack[Options]) -> Iterator[Round]:
    """The loop of one text, a round at a time: what it asks is answered at once. Options: those of `steps`."""
    return answered(steps(target, drafter, prompt, **options))


def steps(
    target: LanguageModel,
    drafter: Drafter,
    prompt: Sequence[int],
    *,
    gamma: int,
    max_new_tokens: int,
    stop: Collection[int] = (),
    chance: Chance,
    verify: rules.Rule = rules.token,
    record: bool = False,
) -> Steps:
    """The loop, which asks for rows and yields rounds. Quoted: the steps of Algorithm 1 (SpeculativeDecodingStep).

    gamma: how many tokens to draft a round, at least 0. stop: ids that end the text. record: keep what each round looked at.
    """
    checks.before(target, drafter, verify, gamma, max_new_tokens)
    propose, score, judge = checks.guarded(target, drafter, recorded(verify) if record else verify)

    tokens = tuple(prompt)
    end = len(tokens) + max_new_tokens
    while len(tokens) < end:
        # "Sample gamma guesses from M_q": one fewer than are still to come, since a round ends with a token of its own (N9)
        draft = yield from propose(tokens, min(gamma, end - len(tokens) - 1), chance)

        # "Run M_p in parallel": on the text, and on the text with every prefix of the draft, in one call
        target_probs = yield from score(tokens + draft.tokens, len(draft.tokens) + 1)

        # "Determine the number of accepted guesses n", "adjust the distribution from M_p if needed", and draw from it
        verdict = judge(draft, target_probs, chance)

        # "Return one token from M_p, and n tokens from M_q": up to the first stop token, if there is one (N9)
        emitted = up_to_stop(draft, verdict, stop)
        tokens += emitted.tokens
        yield emitted
        if emitted.token in stop:
            return
