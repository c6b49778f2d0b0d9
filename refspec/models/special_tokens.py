"""Which tokens there are, which are special and what they are called: who wins where the files of a model disagree.

- The id of a token: tokenizer.json. A token that it lacks gets the next free id; a file that says another one is refused.
- Tokens that tokenizer.json lacks: added_tokens_decoder in tokenizer_config.json; without that, added_tokens.json. And every
  token that has a name.
- Whether a token is special: it is if tokenizer.json or added_tokens_decoder says so, or if it has a name. What else goes for
  it (whether it takes the spaces beside it): added_tokens_decoder.
- bos_token, eos_token and so on: with an added_tokens_decoder, tokenizer_config.json alone; without one,
  special_tokens_map.json over tokenizer_config.json.
- The ids that end a text: generation_config.json, then config.json, then the tokenizer's eos_token. That one ends every chat too.

So does Hugging Face transformers 5, but that it gives a token another id than a file says, without a word.
"""

from collections.abc import Mapping
from typing import Any

from refspec.errors import BadTokenizer

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
LISTS = ("extra_special_tokens", "additional_special_tokens")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

Settings = Mapping[str, Any]


def names(config: Settings, special_map: Settings) -> dict[str, str]:
    """The text of each token that has a name. config: tokenizer_config.json; special_map: special_tokens_map.json.

    >>> from refspec.models.special_tokens import names
    >>> names({"eos_token": "</s>", "pad_token": None}, {"eos_token": {"content": "<end>"}})
    {'eos_token': '<end>'}
    """
    given = {**config} if "added_tokens_decoder" in config else {**config, **special_map}
    found = {name: value for name, value in given.items() if name in NAMED or name.endswith("_token")}
    for each in LISTS:
        if isinstance(given.get(each), dict):
            found |= given[each]
    spelt = {name: value.get("content") if isinstance(value, dict) else value for name, value in found.items()}
    return {name: value for name, value in spelt.items() if isinstance(value, str) and value}


def added_tokens(tokenizer: Settings, config: Settings, special_map: Settings, more: Settings) -> list[dict[str, Any]]:
    """`added_tokens` as tokenizer.json should have them. more: added_tokens.json.

    Raises BadTokenizer for entries that are no tokens, and where two files give a token different ids.

    >>> from refspec.models.special_tokens import added_tokens
    >>> [each["id"] for each in added_tokens({"model": {"vocab": {"a": 0}}}, {"eos_token": "</s>"}, {}, {"<x>": 1})]
    [1, 2]
    """
    found = {each["content"]: each for each in map(entry, listed(tokenizer.get("added_tokens")))}
    vocab = vocabulary(tokenizer)
    if "added_tokens_decoder" in config:
        decoder = config["added_tokens_decoder"]
        if not isinstance(decoder, dict):
            raise BadTokenizer("tokenizer_config.json: added_tokens_decoder is no object of tokens; fetch the model again")
        later = [entry({**token, "id": number(i)}) if isinstance(token, dict) else entry(token) for i, token in decoder.items()]
    else:
        later = [entry({"content": content, "id": i, "special": False}) for content, i in more.items()]
    for token in sorted(later, key=lambda each: each["id"]):
        content = token["content"]
        known = found[content]["id"] if content in found else vocab.get(content, token["id"])
        if known != token["id"]:
            raise BadTokenizer(
                f"the token {content[:60]!r} is {known} in tokenizer.json and {token['id']} in another file; "
                "the files are not of one model"
            )
        special = token["special"] or (content in found and found[content]["special"])
        found[content] = {**token, "special": special}
    named = [*names(config, special_map).values()]
    given = {**config} if "added_tokens_decoder" in config else {**config, **special_map}
    for each in LISTS:
        if isinstance(given.get(each), list):
            named += [token.get("content", "") if isinstance(token, dict) else token for token in given[each]]
    for content in filter(None, named):
        free = max([len(vocab), *(each["id"] + 1 for each in found.values())])  # as the library counts
        plain = {"content": content, "id": vocab.get(content, free)}
        found[content] = entry({**found.get(content, plain), "special": True})
    return sorted(found.values(), key=lambda each: each["id"])


def vocabulary(tokenizer: Settings) -> dict[str, int]:
    """The ids of the model part of tokenizer.json, in either of its two forms.

    >>> from refspec.models.special_tokens import vocabulary
    >>> vocabulary({"model": {"vocab": [["a", -1.5], ["b", -2.5]]}})
    {'a': 0, 'b': 1}
    """
    model = tokenizer.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocab, list):  # of a Unigram model: pieces and their scores
        return {each[0]: i for i, each in enumerate(vocab) if isinstance(each, list) and each and isinstance(each[0], str)}
    return vocab if isinstance(vocab, dict) else {}


def entry(token: Any) -> dict[str, Any]:
    """One of `added_tokens`, with every flag the library asks for; it wants a special token as it is, and others normalized."""
    if not (isinstance(token, dict) and isinstance(token.get("content"), str) and is_id(token.get("id"))):
        raise BadTokenizer(f"an added token is {str(token)[:80]}; it has a content and an id: fetch the model again")
    special = token.get("special", True)
    flags = {"special": special, "normalized": not special} | {name: token[name] for name in FLAGS if name in token}
    return {"id": token["id"], "content": token["content"], **{name: bool(flags.get(name, False)) for name in FLAGS}}


def is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def number(text: str) -> Any:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise BadTokenizer("tokenizer.json: added_tokens is no list; fetch the model again")
