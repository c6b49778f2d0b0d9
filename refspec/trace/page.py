"""The page: page.html, with its style and script, and the data of one generation inside it.

Nothing on it comes from elsewhere, and nothing can: its policy forbids every request, and every script and style but the
page's own, by their digests. Untrusted text (the prompt, the tokens, a folder's name) is in the JSON alone, which is ASCII
without <, > and &, and reaches the page as text, never as markup.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refspec.decoding.optional import optional
from refspec.decoding.verify import Rule, is_exact, token
from refspec.generate import Output
from refspec.models.tokenizer import Tokenizer
from refspec.trace.passes import Pass, by_round
from refspec.trace.rounds import TOP, round_data

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
    "img-src data:; base-uri 'none'; form-action 'none'"  # data: for the icon, which a browser else asks a server for
)
PROMPT_SHOWN = 1500  # characters of its end
ROWS_SHOWN = 12  # tokens of its end: the rows of the cache that the page names


def page(
    output: Output,
    *,
    rule: Rule = token,
    passes: Sequence[Pass] = (),
    about: Mapping[str, Any] | None = None,
) -> str:
    """A finished generation as HTML. rule: the one that judged it. passes: what a log of `watched` models holds.

    about: more to name at the top of the page. Raises BadArgument for rounds that were not recorded.

    >>> import refspec
    >>> from refspec.trace import page
    >>> out = refspec.generate("tiny-target", "ROMEO:", drafter="tiny-draft", max_new_tokens=12, record=True)
    >>> page(out).startswith("<!doctype html>")
    True
    """
    style, script = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    parts = {
        "style": style,
        "script": script,
        "policy": POLICY.format(style=digest(style), script=digest(script)),
        "data": as_script(data(output, rule=rule, passes=passes, about=about or {})),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], (HERE / "page.html").read_text(encoding="utf-8"))


def digest(content: str) -> str:
    """By which a policy knows an element."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def as_script(value: Any) -> str:
    """JSON that may stand in a script element of any encoding: no text in it can end or change that element.

    >>> from refspec.trace.page import as_script
    >>> print(as_script("</script>\\u2028"))
    "\\u003c/script\\u003e\\u2028"
    """
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", written)


def data(output: Output, *, rule: Rule, passes: Sequence[Pass], about: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows, as JSON knows it."""
    rounds = [round_data(each, rule) for each in output.rounds]
    for each, found in zip(rounds, by_round(passes), strict=False):  # a round that was broken off may have drafted
        each["cache"] = found
    texts = iter(output.texts)
    for each in rounds:
        each["texts"] = [next(texts, None) for _ in each["emitted"]]
    prompt = output.prompt_tokens
    named = {*prompt[-ROWS_SHOWN:], *(id_ for each in rounds for id_ in named_in(each))}
    text = None if output.tokenizer is None else output.tokenizer.decode(prompt)
    stats = output.stats
    return {
        "about": dict(about),
        "rule": {"exact": is_exact(rule), "looksAhead": bool(optional(rule, "looks_ahead"))},
        "figures": {
            "new_tokens": stats.tokens,
            "rounds": stats.rounds,
            "acceptance_rate": stats.acceptance_rate,
            "tokens_per_target_call": stats.tokens_per_target_call,
            "finish_reason": output.finish_reason,
        },
        "top": TOP,
        "prompt": {
            "length": len(prompt),
            "text": text and text[-PROMPT_SHOWN:],
            "shortened": text is not None and len(text) > PROMPT_SHOWN,
            "tail": prompt[-ROWS_SHOWN:],
        },
        "names": {id_: name_of(output.tokenizer, id_) for id_ in sorted(named)},
        "rounds": rounds,
    }


def named_in(found: Mapping[str, Any]) -> list[int]:
    return [*found["draft"], *found["emitted"], *(entry[0] for each in found["positions"] for entry in each["tokens"])]


def name_of(tokenizer: Tokenizer | None, id_: int) -> list[Any]:
    """[text, whether it is one]: where a token alone is no text, half a character or a special token, as it is spelt.

    >>> import refspec
    >>> from refspec.trace.page import name_of
    >>> tokenizer = refspec.load("tiny-target").tokenizer
    >>> name_of(tokenizer, 814), name_of(tokenizer, 0), name_of(None, 7)
    (['ROMEO', True], ['<|endoftext|>', False], ['7', False])
    """
    if tokenizer is None:
        return [str(id_), False]
    text = tokenizer.decode([id_])
    if text and "\N{REPLACEMENT CHARACTER}" not in text:
        return [text, True]
    return [tokenizer.token_of(id_) or str(id_), False]
