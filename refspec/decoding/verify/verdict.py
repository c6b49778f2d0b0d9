"""What a verification rule answers, and what it claims of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from refspec.brief import by_fields
from refspec.decoding.optional import optional

if TYPE_CHECKING:
    from refspec.decoding.round import Record

AnyRule = TypeVar("AnyRule", bound=Callable[..., "Verdict"])


@dataclass(frozen=True)
class Verdict:
    """Keep the first `accepted` drafted tokens, then emit `token`: a correction, or the bonus token after full acceptance.

    record: what the rule looked at, where somebody asked for it.

    >>> import refspec
    >>> from refspec.verify import Verdict
    >>> draft, verdict = refspec.Draft((5, 6, 7)), Verdict(accepted=2, token=9)
    >>> draft.tokens[: verdict.accepted] + (verdict.token,)
    (5, 6, 9)
    """

    accepted: int
    token: int
    record: "Record | None" = None

    __repr__ = by_fields


def claims(*, exact: bool, looks_ahead: bool = False) -> Callable[[AnyRule], AnyRule]:
    """Decorate a rule with what it claims: that its text has the target's distribution, or that it does not.

    looks_ahead: a later drafted token can decide on an earlier one, so that no drafter that races may come near it (N6).

    >>> from refspec.verify import Verdict, claims, is_exact, token
    >>> @claims(exact=False)
    ... def always_accept(draft, target_probs, chance):
    ...     return Verdict(len(draft.tokens), chance.pick(target_probs[-1]))
    >>> is_exact(token), is_exact(always_accept), is_exact(lambda draft, target_probs, chance: Verdict(0, 0))
    (True, False, None)
    """

    def decorate(rule: Any) -> Any:
        rule.exact, rule.looks_ahead = exact, looks_ahead
        return rule

    return decorate


def is_exact(rule: Callable[..., Verdict]) -> bool | None:
    """What a rule claims: True, False, or None where it says nothing.

    >>> import refspec
    >>> from refspec.verify import is_exact
    >>> is_exact(refspec.verify.token), is_exact(refspec.verify.inexact_typical())
    (True, False)
    """
    claim: bool | None = optional(rule, "exact")
    return claim
