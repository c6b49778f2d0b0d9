"""Ids in, ids out: decoding as the papers have it, for whatever a person may give as a model or a drafter."""

from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Any, Unpack

from refspec.decoding import autoregressive as plain
from refspec.decoding.chance import Chance
from refspec.decoding.draft.held import forget_texts
from refspec.decoding.lm import Tokens
from refspec.decoding.loop import Options, rounds
from refspec.decoding.round import Generation
from refspec.decoding.verify import token
from refspec.given import AnyDrafter, AnyModel, as_drafter, as_ids, as_language_model
from refspec.proof import exact


def autoregressive(
    target: AnyModel, prompt: Sequence[int], *, max_new_tokens: int, stop: Collection[int] = (), chance: Chance
) -> Tokens:
    """Plain decoding, one token a call: the generated ids, without the prompt.

    A token in `stop` ends the text and is its last one (N9). target: a Model, a name, or a LanguageModel, whose cache starts
    empty.

    >>> import refspec
    >>> coin = refspec.TableLM({(): [0.5, 0.5]})
    >>> refspec.autoregressive(coin, (), max_new_tokens=3, chance=refspec.Tape([0.1, 0.9, 0.4]))
    (0, 1, 0)
    """
    forget_texts(target := as_language_model(target))
    return plain.autoregressive(target, as_ids(prompt), max_new_tokens=max_new_tokens, stop=as_ids(stop, "stop"), chance=chance)


def speculative(target: AnyModel, drafter: AnyDrafter, prompt: Sequence[int], **options: Unpack[Options]) -> Generation:
    """Speculative decoding: ids with the target's own distribution, as `autoregressive` draws them, in fewer calls of the target.

    target: a Model, a name, or a LanguageModel. drafter: a Drafter, its class, a Model or name, or a function from the target.
    Caches start empty, whatever a LanguageModel has read before.
    Options: gamma, tokens drafted a round, at least 0; max_new_tokens; chance; stop=(), ids that end the text;
    verify=refspec.verify.token, the rule; record=False, whether to keep what each round looked at.

    >>> import refspec
    >>> target, draft = refspec.TableLM({(): [0.5, 0.5]}), refspec.TableLM({(): [0.25, 0.75]})
    >>> out = refspec.speculative(target, refspec.ModelDrafter(draft), (), gamma=2, max_new_tokens=6, chance=refspec.Seeded(0))
    >>> len(out.tokens), sum(len(each.tokens) for each in out.rounds)
    (6, 6)
    """
    target = as_language_model(target)
    drafter = as_drafter(drafter, target, options.get("verify", token))
    options["stop"] = as_ids(options.get("stop", ()), "stop")  # an iterator could be asked but once
    forget_texts(target, drafter)
    kept = tuple(rounds(target, drafter, as_ids(prompt), **options))
    return Generation(tuple(token for each in kept for token in each.tokens), kept)


def sequence_law(target: AnyModel, drafter: AnyDrafter, prompt: Sequence[int] = (), **options: Any) -> dict[Tokens, Fraction]:
    """{ids: probability} of whole texts, exactly, by enumerating the production loop: see `refspec.exact.sequence_law`.

    Options: gamma, max_new_tokens, stop=(), verify=refspec.verify.token, max_paths=1_000_000. Rows must hold Fractions.

    >>> import refspec
    >>> from fractions import Fraction
    >>> target, draft = (refspec.TableLM({(): [Fraction(p, 4), Fraction(4 - p, 4)]}) for p in (2, 1))
    >>> law = refspec.sequence_law(target, refspec.ModelDrafter(draft), gamma=2, max_new_tokens=2)
    >>> {text: str(weight) for text, weight in sorted(law.items())}
    {(0, 0): '1/4', (0, 1): '1/4', (1, 0): '1/4', (1, 1): '1/4'}
    """
    target = as_language_model(target)
    drafter = as_drafter(drafter, target, options.get("verify", token))
    options["stop"] = as_ids(options.get("stop", ()), "stop")
    return exact.sequence_law(target, drafter, as_ids(prompt), **options)
