"""What a part may say of itself beyond its contract, and what is taken where it says nothing.

A LanguageModel needs `vocab_size` and `probs`, a Drafter `propose`, a rule only to be called. All else is one of these.
(`state`, which a drafter may have as well, has a file of its own: `draft/state.py`.)
"""

from typing import Any

DEFAULTS: dict[str, Any] = {
    # of a language model
    "token_map": None,  # token -> id, compared between target and draft where both have one (N12)
    "name": None,  # what errors call it, and drafts made for it go by
    "context": None,  # how many positions there are; None for any number
    "sampling": None,  # the `Sampling` that its distributions went through, which a draft model then shares
    "tokenizer": None,  # for prompts and answers that are texts
    "end_tokens": (),  # the ids that end a text where nobody says others
    "chat_end_tokens": (),  # the same for a chat
    "rows": None,  # how many ids its network has, those that only pad it included
    "network": None,  # what computes its rows: models of one network may share a pass,
    "together": None,  # which this makes: [(model, tokens, last), ...] -> the rows of each, or its error
    "new_rows": None,  # (tokens, last) -> how many rows such a pass would have for them
    "fresh": None,  # makes another of its kind, which remembers no text
    "forget_text": None,  # lets it forget the text that it has a cache of; of a drafter too
    # of a drafter
    "language_model": None,  # what it drafts with: its vocabulary must be the target's
    "races": False,  # it calls `chance.race`, so that its noise comes back (N6)
    "asking": None,  # `propose` as a generator of the questions to its model (`draft.drafting`)
    "asking_while": None,  # the same, which asks whether one more guess pays, given how sure it is of those before
    "forecast": None,  # (tokens, gamma) -> the chance of each of up to gamma drafted tokens to be accepted
    "usual": None,  # (share, tests): how often its guesses are accepted as a rule, and for how many tests that stands
    "learn": None,  # (tokens, target_probs): told of every pass what the target said behind the last tokens, refused ones too
    "cost": None,  # (tokens) -> what a drafted token costs behind them, in plain decode steps; None where it does not say
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


def says(part: Any, name: str, beside: str) -> bool:
    """Whether `part` has `name`, and means it: a class that writes `beside` anew, below the one that wrote `name`, does not.

    Both say the same thing in two ways, and whoever overrides the one may never have heard of the other.

    >>> from refspec.decoding.optional import says
    >>> class Old:
    ...     def one(self): ...
    ...     def many(self): ...
    >>> class New(Old):
    ...     def one(self): ...
    >>> says(Old(), "many", beside="one"), says(New(), "many", beside="one")
    (True, False)
    """
    written = [getattr(part, "__dict__", {}), *(vars(kind) for kind in type(part).__mro__)]
    return name in next((names for names in written if name in names or beside in names), {})
