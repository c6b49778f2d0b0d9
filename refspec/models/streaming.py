"""Text as its tokens arrive.

Decoding is not compositional: the text of some tokens is not what the tokens say one by one. Half a character may follow, a
broken byte changes what the bytes before it became, and the first word of a text loses its space. So a completion is decoded
behind its prompt, and nothing is shown that a later token could still change. The library's DecodeStream knows neither the
prompt nor a run of bytes, and fails or falls silent there.
"""

from collections.abc import Sequence
from typing import Any

from refspec.models.cached_lm import common_prefix
from refspec.models.tokenizer import Tokenizer

INCOMPLETE = "\ufffd"  # what half a character is decoded to


class Stream:
    """The text that tokens add to a prompt: decode(prompt + tokens) without decode(prompt), up to a stop text.

    prompt: the ids before. stop: texts. The first one to be complete ends the text, which stops short of it; of two that are
    complete at once, the one that ends first, and of two that end together the longer. It counts wherever its characters lie in
    the new tokens, whether they are one token, a part of one, or several.

    Pieces concatenate to the text. What waits is half a character, a run of bytes that is not over, and what may still become a
    stop text. (Where half a character ends the prompt, the text begins at the first character that the new tokens make another.)

    >>> import refspec
    >>> from refspec.models.streaming import Stream
    >>> tokenizer = refspec.load("tiny-target").tokenizer
    >>> text = Stream(tokenizer)
    >>> [text.push(each) for each in tokenizer.encode("é!")], text.waiting
    (['', 'é', '!'], '')
    >>> text = Stream(tokenizer, stop=["MEO"])
    >>> [text.push(each) for each in tokenizer.encode("ROMEO:")], text.stopped
    (['RO', ''], True)
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = (), stop: Sequence[str] = ()) -> None:
        self._decoding = Decoding(tokenizer, prompt)
        self._stop = tuple(stop)
        self._held = ""  # final, but perhaps the beginning of a stop text
        self._tail = ""  # may still become another text
        self.stopped = False

    def push(self, token: int) -> str:
        """What this token adds to the text that can be shown. Behind a stop text: nothing."""
        if self.stopped:
            return ""
        final, self._tail = self._decoding.push(token)
        self._held += final
        text = self._held + self._tail
        if ends := [(at + len(each), at) for each in self._stop if (at := text.find(each)) >= 0]:
            self.stopped, self._held, self._tail = True, "", ""
            return text[: min(ends)[1]]
        shown = self._held[: may_become(self._held, self._stop)]
        self._held = self._held[len(shown) :]
        return shown

    @property
    def waiting(self) -> str:
        """What has come and was not shown: the end of the text, if no more tokens come.

        >>> import refspec
        >>> from refspec.models.streaming import Stream
        >>> text = Stream(refspec.load("tiny-target").tokenizer, stop=["R!"])
        >>> text.push(50), text.waiting
        ('', 'R')
        """
        return self._held + self._tail


def may_become(text: str, stop: Sequence[str]) -> int:
    """Where the last characters begin that may still grow into one of these; the length of the text, if none do.

    >>> from refspec.models.streaming import may_become
    >>> may_become("to be or n", ["or not"]), may_become("to be", ["or not"])
    (6, 5)
    """
    longest = max(map(len, stop), default=0)
    starts = range(max(0, len(text) - longest + 1), len(text))
    return next((i for i in starts if any(each.startswith(text[i:]) for each in stop)), len(text))


class Decoding:
    """decode(prompt + tokens), in two parts: what is final, and what later tokens may change.

    It decodes a short window, not the whole text, each time: from one place on where nothing was open, so that a decoder that
    goes by neighbours sees them.

    >>> import refspec
    >>> from refspec.models.streaming import Decoding
    >>> tokenizer = refspec.load("tiny-target").tokenizer
    >>> decoding = Decoding(tokenizer)
    >>> [decoding.push(each) for each in tokenizer.encode("é!")]
    [('', '\ufffd'), ('é', ''), ('!', '')]
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt)
        self._mark = len(self._ids)  # the window after the next one begins here
        self._local = is_local(tokenizer.decoder)
        before = tokenizer.decode(self._ids)
        closed = next((i for i in range(len(self._ids), 0, -1) if not self._leaves_open(self._ids[i - 1])), 0)
        self._open = closed < len(self._ids)
        # how much of the window's text is final
        self._final = len((tokenizer.decode(self._ids[:closed]) if self._open else before).removesuffix(INCOMPLETE)) * self._local
        self._prompt = before[self._final :]  # of the prompt, what is not

    def push(self, token: int) -> tuple[str, str]:
        """(what has become final, what has not) since the last call."""
        self._ids.append(token)
        self._open = self._leaves_open(token)
        text = self._tokenizer.decode(self._ids)
        end = len(text.removesuffix(INCOMPLETE)) if self._local and not self._open else self._final
        final, tail = text[self._final : end], text[end:]
        known = common_prefix(self._prompt, final + tail)
        if final:
            self._prompt = ""
        self._final = end
        if self._local and not self._open and not tail:
            self._move()
        return final[known:], tail[max(0, known - len(final)) :]

    def _leaves_open(self, token: int) -> bool:
        """Whether a byte may follow that changes what this token is decoded to: it is a byte itself, or not decoded at all."""
        spelled = self._tokenizer.token_of(token) or ""
        return (len(spelled) == 6 and spelled.startswith("<0x")) or not self._tokenizer.decode([token])

    def _move(self) -> None:
        """Begin the window at the mark, if the text from there is not empty: the first text in a window may lose its space."""
        if behind := self._tokenizer.decode(self._ids[self._mark :]):
            self._ids = self._ids[self._mark :]
            self._final = len(behind)
        self._mark = len(self._ids)


def is_local(decoder: dict[str, Any] | None) -> bool:
    """Whether a token changes the text of no token before it, bytes aside. Else nothing is final before the end.

    decoder: that part of tokenizer.json. It is not so where a text is replaced that may have its characters in several tokens.

    >>> from refspec.models.streaming import is_local
    >>> replace = {"type": "Replace", "pattern": {"String": " ,"}, "content": ","}
    >>> is_local({"type": "ByteLevel"}), is_local({"type": "Sequence", "decoders": [{"type": "Fuse"}, replace]})
    (True, False)
    """
    steps = [] if decoder is None else decoder.get("decoders", [decoder])
    return all(step["type"] != "Replace" or len(step["pattern"].get("String", "any")) == 1 for step in steps)
