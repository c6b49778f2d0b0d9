"""Byte-level BPE in the standard library, for where the `tokenizers` library does not exist, such as in a browser.

Merging goes by Sennrich et al. (arXiv 1508.07909), on bytes as in GPT-2. It reads the tokenizer.json of GPT-2, Llama 3, Qwen 2
and SmolLM2, and of all that is built like them; what it does not know it refuses by name. Its ids are the library's. It refuses
one kind of text: with a character that this Python's Unicode does not know, since the library's may call it a letter.

Left out: normalizers but NFC, unknown tokens, prefix spaces, tokens that take the spaces beside them, any other algorithm.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Any, NoReturn

from refspec.errors import BadTokenizer

# Where words end, as the files have it: in ByteLevel (GPT-2), and written out as Split (Llama 3, Qwen 2).
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")

# What a part of the file may say, beside what is read from it.
SAYS: dict[str, dict[str, tuple[Any, ...]]] = {
    "": {"version": ("1.0",), "truncation": (None,), "padding": (None,), "normalizer": (None, {"type": "NFC"})},
    "model": {"type": ("BPE",), "dropout": (None,), "continuing_subword_prefix": (None, ""), "end_of_word_suffix": (None, "")},
    "added_tokens": {"single_word": (False,), "lstrip": (False,), "rstrip": (False,)},
    "ByteLevel": {"add_prefix_space": (False,), "trim_offsets": (True, False)},
    "Split": {"behavior": ("Isolated",), "invert": (False,)},
    "decoder": {
        "type": ("ByteLevel",),
        "add_prefix_space": (True, False),
        "trim_offsets": (True, False),
        "use_regex": (True, False),
    },
}


@lru_cache
def members(kind: str) -> str:
    """The characters of a kind as the inside of a character class: "L" letters, "N" numbers, "s" white space.

    >>> import re
    >>> from refspec.models.tokenizer_plain import members
    >>> re.findall(f"[{members('N')}]", "x² + 1½")
    ['²', '1', '½']
    """
    if kind == "s":  # Unicode's White_Space; Python's own \s also has the separators U+001C to U+001F
        return "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    found = [i for i in range(0x110000) if unicodedata.category(chr(i))[0] == kind]
    starts = [i for i, before in zip(found, [-2, *found], strict=False) if i != before + 1]
    ends = [i for i, after in zip(found, [*found[1:], -2], strict=True) if i != after - 1]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))


@lru_cache
def compiled(pattern: str) -> "re.Pattern[str]":
    r"""A pattern in the library's dialect: \p{L}, \p{N}, \s and \S are written out, also inside a class."""

    def inside(found: "re.Match[str]") -> str:
        return members(found[1] or "s")

    def written(found: "re.Match[str]") -> str:
        part = found[0]
        if part[0] == "[":
            return re.sub(r"\\p\{([LN])\}|\\s", inside, part)
        return f"[^{members('s')}]" if part == r"\S" else f"[{members('s' if part[1] == 's' else part[3])}]"

    return re.compile(re.sub(r"\[[^]]*\]|\\p\{[LN]\}|\\[sS]", written, pattern))


def letters() -> list[str]:
    """The letter that stands for each byte: itself where it prints, else one from U+0100 on.

    >>> from refspec.models.tokenizer_plain import letters
    >>> letters()[ord("a")], letters()[ord(" ")]
    ('a', 'Ġ')
    """
    prints = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in prints else next(others)) for byte in range(256)]


def any_of(texts: Sequence[str]) -> "re.Pattern[str]":
    """Matches each of them, the longest where several begin; the empty one never.

    >>> from refspec.models.tokenizer_plain import any_of
    >>> any_of(["<a>", "<a><b>", ""]).findall("<a><b> <a>")
    ['<a><b>', '<a>']
    """
    return re.compile("|".join(re.escape(each) for each in sorted(texts, key=len, reverse=True) if each) or "(?!)")


class Plain:
    """A tokenizer read from settings, what tokenizer.json holds; name: what a message calls it. It answers as `Library` does.

    >>> from refspec.files import read_json
    >>> from refspec.models import home
    >>> from refspec.models.tokenizer_plain import Plain
    >>> Plain(read_json(home.find("tiny-target") / "tokenizer.json"), "tokenizer.json").encode("ROMEO:", special=True)
    (814, 26)
    """

    def __init__(self, settings: Mapping[str, Any], name: str, *, split_special: bool = False) -> None:
        self._name = name
        try:
            self._read(settings)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise BadTokenizer(f"{name} cannot be read ({type(error).__name__}: {error}); fetch the model again") from None
        self._split_special = split_special
        self._ids_of = lru_cache(10_000)(self._merged)

    def _read(self, settings: Mapping[str, Any]) -> None:
        parts = {"model", "added_tokens", "pre_tokenizer", "post_processor", "decoder"}
        self._require("", settings, parts)
        model, added = settings["model"], settings["added_tokens"]
        self._require("model", model, {"vocab", "merges", "unk_token", "fuse_unk", "byte_fallback", "ignore_merges"})
        self._vocab: dict[str, int] = dict(model["vocab"])
        pairs = (tuple(each.split(" ") if isinstance(each, str) else each) for each in model["merges"])
        self._ranks = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
        if lost := [pair for pair in self._ranks if not {*pair, "".join(pair)} <= self._vocab.keys()]:
            raise BadTokenizer(f"{self._name} merges {lost[0]}, which its vocabulary lacks; fetch the model again")
        self._letters = letters()
        if not set(self._letters) <= self._vocab.keys() and (model.get("unk_token") is not None or model.get("byte_fallback")):
            self._refuse("a vocabulary that lacks a byte and has an unknown token")
        self._whole_words = bool(model.get("ignore_merges"))
        for each in added:
            self._require("added_tokens", each, {"id", "content", "special", "normalized"})
        self._added: dict[str, int] = {each["content"]: self._vocab.get(each["content"], each["id"]) for each in added}
        self._special = {each["content"] for each in added if each["special"]}
        self._tokens = {token: text for text, token in (self._vocab | self._added).items()}
        self.ids: dict[str, int] = self._vocab | self._added
        self._composed = settings.get("normalizer") is not None
        self._early, self._late = (
            any_of([each["content"] for each in added if each["normalized"] is late]) for late in (False, True)
        )
        self._steps = list(self._pre_tokenizers(settings.get("pre_tokenizer")))
        self._before, self._after = self._around(settings.get("post_processor"))
        self._require("decoder", settings["decoder"], set())
        self._bytes = {letter: byte for byte, letter in enumerate(self._letters)}

    def _refuse(self, what: str) -> NoReturn:
        raise BadTokenizer(f"{self._name} has {what}, which only the `tokenizers` library knows; pip install tokenizers")

    def _require(self, where: str, part: Mapping[str, Any], read: set[str]) -> None:
        """Refuse a part that says what is not known. read: the names whose values are looked at elsewhere."""
        for key, value in part.items():
            if key not in read and value not in SAYS[where].get(key, ()):
                self._refuse(f"{where}{'.' if where else ''}{key} = {str(value)[:60]!r}")

    def _pre_tokenizers(self, part: Any) -> Iterator[Callable[[str], list[str]]]:
        """Each cuts a text into pieces. The last is ByteLevel: what follows it would see letters for bytes."""
        steps = part["pretokenizers"] if part and part["type"] == "Sequence" else [part]
        for i, step in enumerate(steps):
            kind = step["type"] if step else None
            if kind == "ByteLevel" and i == len(steps) - 1:
                self._require("ByteLevel", step, {"type", "use_regex"})
                if step.get("use_regex", True):
                    yield compiled(GPT2).findall
            elif kind == "Digits" and i < len(steps) - 1:
                many = "" if step["individual_digits"] else "+"
                yield compiled(rf"\p{{N}}{many}|[^\p{{N}}]+").findall
            elif kind == "Split" and i < len(steps) - 1 and step["pattern"].get("Regex") in (GPT2, LLAMA3, QWEN2):
                self._require("Split", step, {"type", "pattern"})
                yield compiled(step["pattern"]["Regex"]).findall
            else:
                self._refuse(f"the pre-tokenizer {str(step)[:100]}")

    def _around(self, part: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids before and after a text."""
        steps = part["processors"] if part and part["type"] == "Sequence" else [part]
        templates = [each for each in steps if each and each["type"] != "ByteLevel"]
        if not templates:
            return (), ()
        if len(templates) > 1 or templates[0]["type"] != "TemplateProcessing":
            self._refuse(f"the post-processor {str(part)[:100]}")
        names = [each["SpecialToken"]["id"] if "SpecialToken" in each else None for each in templates[0]["single"]]
        text = names.index(None)
        ids = [() if name is None else templates[0]["special_tokens"][name]["ids"] for name in names]
        return tuple(i for each in ids[:text] for i in each), tuple(i for each in ids[text:] for i in each)

    def encode(self, text: str, *, special: bool) -> tuple[int, ...]:
        if unknown := next((each for each in text if unicodedata.category(each) == "Cn"), None):
            raise BadTokenizer(
                f"U+{ord(unknown):04X} is no character of Unicode {unicodedata.unidata_version}, which this Python knows, and "
                "may be a letter in a newer one; leave it out, or pip install tokenizers"
            )
        ids = self._apart(text, self._early, lambda part: self._apart(self._normal(part), self._late, self._in_words))
        return (*self._before, *ids, *self._after) if special else tuple(ids)

    def _apart(self, text: str, pattern: "re.Pattern[str]", others: Callable[[str], Iterator[int]]) -> Iterator[int]:
        """The added tokens that a text holds, and between them what `others` makes of the rest."""
        start = 0
        for found in pattern.finditer(text):
            if not (self._split_special and found[0] in self._special):
                yield from others(text[start : found.start()])
                yield self._added[found[0]]
                start = found.end()
        yield from others(text[start:])

    def _normal(self, text: str) -> str:
        return unicodedata.normalize("NFC", text) if self._composed else text

    def _in_words(self, text: str) -> Iterator[int]:
        pieces = [text]
        for step in self._steps:
            pieces = [each for piece in pieces for each in step(piece)]
        for piece in pieces:
            yield from self._ids_of(piece)

    def _merged(self, word: str) -> tuple[int, ...]:
        """Merge the pair of the lowest rank, the leftmost of several, until there is none. Neighbours are linked by `after`."""
        spelled = "".join(self._letters[byte] for byte in word.encode())
        if self._whole_words and spelled in self._vocab:
            return (self._vocab[spelled],)
        parts = [letter for letter in spelled if letter in self._vocab]  # the library drops the others as well
        before, after = list(range(-1, len(parts) - 1)), list(range(1, len(parts) + 1))

        def pairs(*places: int) -> Iterator[tuple[int, int, str, str]]:
            for i in places:
                if i >= 0 and after[i] < len(parts) and (rank := self._ranks.get((parts[i], parts[after[i]]))) is not None:
                    yield rank, i, parts[i], parts[after[i]]

        heap = list(pairs(*range(len(parts))))
        heapify(heap)
        while heap:
            _, i, left, right = heappop(heap)
            j = after[i]
            if j < len(parts) and (parts[i], parts[j]) == (left, right):  # else one of them was merged meanwhile
                parts[i], parts[j], after[i] = left + right, "", after[j]
                if after[i] < len(parts):
                    before[after[i]] = i
                for pair in pairs(before[i], i):
                    heappush(heap, pair)
        return tuple(self._vocab[part] for part in parts if part)

    def decode(self, ids: Sequence[int]) -> str:
        tokens = [self._tokens[i] for i in ids if i in self._tokens]
        return b"".join(self._spelled(each) for each in tokens if each not in self._special).decode("utf-8", "replace")

    def _spelled(self, token: str) -> bytes:
        known = all(letter in self._bytes for letter in token)
        return bytes(self._bytes[letter] for letter in token) if known else token.encode()

    def token_of(self, token: int) -> str | None:
        return self._tokens.get(token)
