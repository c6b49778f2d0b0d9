"""What a part may say of itself beyond its contract, and what is taken where it says nothing.

A LanguageModel needs `vocab_size` and `probs`, a Drafter `propose`, a rule only to be called. All else is one of these.
(`state`, which a drafter may have as well, has a file of its own: `draft/state.py`.)
"""

from typing import Any

DEFAULTS: dict[str, Any] = {
    # of a language model
    "token_map": None,  # token -> id, compared between target and draft where both have one (N12)
    "context": None,  # how many positions there are; None for any number
    "sampling": None,  # the `Sampling` that its distributions went through, which a draft model then shares
    "tokenizer": None,  # for prompts and answers that are texts
    "end_tokens": (),  # the ids that end a text where nobody says others
    "chat_end_tokens": (),  # the same for a chat
    "rows": None,  # how many ids its network has, those that only pad it included
    # of a drafter
    "language_model": None,  # what it drafts with: its vocabulary must be the target's
    "races": False,  # it calls `chance.race`, so that its noise comes back (N6)
    "forecast": None,  # (tokens, gamma) -> the chance of each of up to gamma drafted tokens to be accepted
    # of a verification rule: what `verify.claims` writes down
    "exact": None,  # its text has the target's distribution; None where that is unknown
    "looks_ahead": False,  # a later drafted token can decide on an earlier one
}


def optional(part: Any, name: str) -> Any:
    """What `part` says under this name, or the default.

    >>> from refspec.decoding.optional import optional
    >>> optional(object(), "races")
    False
    """
    return getattr(part, name, DEFAULTS[name])
