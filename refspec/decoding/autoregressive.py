"""Plain decoding, one token a call: what speculation must equal."""

from collections.abc import Collection, Iterator, Sequence

from refspec.decoding.chance import Chance
from refspec.decoding.lm import LanguageModel, Tokens
from refspec.numeric import whole


def autoregressive(
    target: LanguageModel, prompt: Sequence[int], *, max_new_tokens: int, stop: Collection[int] = (), chance: Chance
) -> Tokens:
    """The generated ids, without the prompt; a stop token, where one is drawn, is the last of them (N9)."""
    return tuple(one_by_one(target, prompt, max_new_tokens=max_new_tokens, stop=stop, chance=chance))


def one_by_one(
    target: LanguageModel, prompt: Sequence[int], *, max_new_tokens: int, stop: Collection[int] = (), chance: Chance
) -> Iterator[int]:
    """The same, as they are drawn."""
    whole("max_new_tokens", max_new_tokens, 0)
    tokens = tuple(prompt)
    for _ in range(max_new_tokens):
        token = chance.pick(target.probs(tokens)[-1])
        tokens += (token,)
        yield token
        if token in stop:
            return
