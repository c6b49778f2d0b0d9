"""What a person may give where a model, a drafter or a prompt is needed, each made into the one thing that the loop takes."""

import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from numbers import Integral
from pathlib import Path
from typing import Any, TypeGuard

from refspec.brief import short
from refspec.decoding.draft import Draft, Drafter, is_drafter, require_drafter
from refspec.decoding.draft.coupled import CoupledDrafter
from refspec.decoding.draft.held import held
from refspec.decoding.draft.model import ModelDrafter
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.decoding.optional import optional, says
from refspec.decoding.verify import Rule, coupled
from refspec.errors import BadArgument
from refspec.models.cached_lm import CachedLM
from refspec.models.chat import Messages
from refspec.models.drafts import load_draft
from refspec.models.eagle_drafter import EagleDrafter
from refspec.models.model import Model, load
from refspec.models.sampling import Sampling
from refspec.models.speculator import SpeculatorDrafter
from refspec.models.tokenizer import Tokenizer

AnyModel = Model | LanguageModel | str | Path
AnyDrafter = Drafter | Model | LanguageModel | str | Path | Callable[..., Drafter] | None

TARGETS = 'a Model, its name such as "tiny-target", its folder, or a LanguageModel (vocab_size and probs)'
DRAFTERS = "a Drafter, its class, a Model or its name, a function from the target to a Drafter, or None"


def as_model(given: AnyModel) -> Model | LanguageModel:
    """A name or folder is loaded. Raises BadArgument for what is no model, ModelNotFound for a name that nothing has."""
    if isinstance(given, str | Path):
        return load(given)
    if isinstance(given, type) or not (hasattr(given, "probs") and hasattr(given, "vocab_size")):
        raise BadArgument(f"the model is {short(given)}; give {TARGETS}")
    return given


def as_language_model(given: AnyModel, sampling: Sampling | None = None) -> LanguageModel:
    """A Model under this sampling, with a cache of its own; any other LanguageModel as it is.

    Raises BadArgument for a sampling that a LanguageModel cannot apply: a temperature needs logits, and it has probabilities.
    """
    model = as_model(given)
    if isinstance(model, Model):
        return model.language_model(sampling)
    if sampling not in (None, Sampling()):
        raise BadArgument(f"{sampling} needs a Model; {type(model).__name__} gives probabilities: leave the sampling options out")
    return model


def as_drafter(given: AnyDrafter, target: LanguageModel, verify: Rule) -> Drafter:
    """None drafts nothing; "auto" is the best that the package has for the target. A Model drafts under the target's own
    sampling, and races where the rule does.

    A class that can be made from nothing is made so; any other class or function is given the target. Raises BadArgument for
    what is no drafter.
    """
    if given is None:
        return NoDrafter()
    if isinstance(given, str | Path):
        given = load_draft(given)
    if isinstance(given, Model):
        given = drafting(given, target)
    made: Any = given
    if isinstance(made, type):
        made = made_from(made, target) if hasattr(made, "propose") else made
    elif not is_drafter(made) and hasattr(made, "probs"):
        made = CoupledDrafter(made) if verify is coupled else ModelDrafter(made)
    elif not is_drafter(made) and callable(made):
        made = made_from(made, target)
    require_drafter(made, DRAFTERS)
    for each in held(made):
        reads = each.target if isinstance(each, EagleDrafter | SpeculatorDrafter) else None
        if isinstance(reads, CachedLM) and reads is not target:
            raise BadArgument("a head reads the features of one target, and this one is another's; give the head's folder")
    return made


def own(given: AnyDrafter) -> AnyDrafter:
    """The drafter for one text of many: of an object a copy, since it remembers a text; its model is shared, with a new cache.

    Raises BadArgument for one that cannot be copied.
    """
    if not is_drafter(given):
        return own_model(given) if hasattr(given, "probs") else given
    model = optional(given, "language_model")
    try:
        return deepcopy(given, {} if model is None else {id(model): own_model(model)})
    except Exception as error:  # whatever its parts raise
        name = type(given).__name__
        raise BadArgument(
            f"{name} cannot be copied for each text ({error}); give its class, or a function that makes one"
        ) from None


def own_model(given: Any) -> Any:
    """A LanguageModel for one text of many: with a cache of its own where it has one."""
    fresh = optional(given, "fresh") if says(given, "fresh", beside="probs") else None
    return fresh() if fresh else given


def drafting(model: Model, target: LanguageModel) -> LanguageModel:
    """A model under the target's sampling.

    Where only one of the two has a token map, and their networks have as many ids, the draft is cut as the target is.
    """
    if optional(target, "rows") == model.config.vocab_size and None in (model.token_map, optional(target, "token_map")):
        return CachedLM(model.network, optional(target, "sampling") or Sampling(), optional(target, "token_map"), model.name)
    return model.language_model(optional(target, "sampling"))


def made_from(make: Callable[..., Any], target: LanguageModel) -> Any:
    """A class that needs nothing is made so; any other, and a function, is given the target.

    Raises BadArgument where it needs more.
    """
    if isinstance(make, type) and takes(make):
        return make()
    if not takes(make, target):
        name, takes_what = (
            getattr(make, "__name__", type(make).__name__),
            ", ".join(inspect.signature(make).parameters) or "nothing",
        )
        raise BadArgument(
            f"{name} cannot be made from the target alone: it takes {takes_what}; give a drafter, or a function from the "
            "target to one"
        )
    return make(target)


def takes(make: Callable[..., Any], *given: Any) -> bool:
    """Whether it can be called so, as far as it tells."""
    try:
        inspect.signature(make).bind(*given)
    except TypeError:
        return False
    except ValueError:  # some that are written in C do not tell
        pass
    return True


class NoDrafter:
    """Proposes nothing, so that every round is one plain pick: `autoregressive`, by the same loop."""

    state = None

    def propose(self, tokens: Tokens, gamma: int, chance: object) -> Draft:
        return Draft(())


def is_chat(prompt: object) -> TypeGuard[Messages]:
    """Whether a prompt is messages rather than ids; whether they are good ones is for `as_messages` to say."""
    return isinstance(prompt, (list, tuple)) and any(isinstance(each, Mapping) for each in prompt)


def as_ids(given: Iterable[Any], name: str = "the prompt") -> Tokens:
    """Ids in order, as Python's whole numbers. Raises BadArgument for anything else."""
    try:
        if not isinstance(given, str | bytes | bytearray | Mapping):
            ids = tuple(given)
            if not any(isinstance(each, bool) for each in ids):
                return tuple(operator.index(each) for each in ids)
    except TypeError:
        pass
    raise BadArgument(f"{name} is {short(given)}, neither a text nor a sequence of whole-number ids")


def as_stop(
    given: Iterable[int | str] | str | None, model: Model | LanguageModel, *, chat: bool = False
) -> tuple[Tokens, tuple[str, ...]]:
    """(ids, texts) that end a text; for None the model's own end tokens, or a chat's. A text that is a special token is its id.

    Raises BadArgument for an id that the model cannot say, and for a text that could never be found.
    """
    if given is None:
        return (chat and optional(model, "chat_end_tokens")) or optional(model, "end_tokens") or (), ()
    if isinstance(given, str):
        given = [given]
    elif not isinstance(given, Iterable) or isinstance(given, bytes | bytearray | Mapping):
        raise BadArgument(f"stop is {short(given)}; give a list of token ids and texts, such as [2, 'User:']")
    tokenizer = optional(model, "tokenizer")
    ids, texts = [], []
    for each in given:
        if not isinstance(each, str):
            ids.append(stop_id(each, model))
        elif tokenizer is None:
            raise BadArgument(f"stop is {short(each)}, and {named(model)} has no tokenizer.json; give token ids")
        elif each in tokenizer.special:
            ids.append(tokenizer.token_map[each])
        else:
            texts.append(stop_text(each, tokenizer))
    return tuple(ids), tuple(texts)


def stop_id(given: int, model: Model | LanguageModel) -> int:
    last = model.vocab_size - 1
    if isinstance(given, Integral) and not isinstance(given, bool) and 0 <= given <= last:
        return int(given)
    raise BadArgument(f"stop is {short(given)}, which is no token id of {named(model)}; they run from 0 to {last}")


def stop_text(given: str, tokenizer: Tokenizer) -> str:
    if not given:
        raise BadArgument("stop is '', which would end every text before it begins; give a text or a token id")
    if any("\ud800" <= each <= "\udfff" for each in given):
        raise BadArgument(f"stop is {short(given)}, which holds a lone surrogate; no text does")
    if within := [each for each in tokenizer.special if each and each in given]:
        raise BadArgument(f"stop is {short(given)}, but {within[0]} is a special token, which is no text; give it alone")
    return given


def named(model: Model | LanguageModel) -> str:
    return str(getattr(model, "name", type(model).__name__))
