"""A generated text as HTML: where each token came from, and what was compared for it.

It needs nothing from outside: no script, no picture, no font. Colours never stand alone: each kind of token has an underline of
its own. The text of the page, without the legend, is the text itself: rejected tokens are drawn by the style sheet, and are
neither found nor copied with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from refspec.decoding.round import Record, Round, role
from refspec.decoding.stats import Stats
from refspec.models.tokenizer import Tokenizer
from refspec.proof import theory

ROLES = {
    "accepted": "drafted, and kept",
    "corrected": "the target's, in place of a rejected one",
    "bonus": "the target's, after a draft kept whole",
    "plain": "the target's, where nothing was drafted",
}

# Okabe and Ito's colours, which the colour-blind tell apart. A notebook's own theme goes before that of the system.
STYLE = """
.refspec { color-scheme: light dark; --paper: light-dark(#ffffff, #16181c); background: var(--paper);
  color: light-dark(#1f2328, #e6e6e6); padding: .6em .8em; border-radius: 4px; font: 14px/1.75 system-ui, sans-serif }
[data-jp-theme-light=true] .refspec, .vscode-light .refspec { color-scheme: light }
[data-jp-theme-light=false] .refspec, .vscode-dark .refspec { color-scheme: dark }
.refspec-text { white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, Menlo, Consolas, monospace }
.refspec span[class] { text-underline-offset: 3px; text-decoration-skip-ink: none; border-radius: 2px }
.refspec .accepted { background: light-dark(#009e7326, #00c08f33);
  text-decoration: underline solid 1px light-dark(#007a59, #2ad6a8) }
.refspec .corrected { background: light-dark(#d55e0026, #ff8a3d3d);
  text-decoration: underline wavy 1px light-dark(#b34f00, #ff9d5c) }
.refspec .bonus { background: light-dark(#0072b226, #4db4ff3d);
  text-decoration: underline double 1px light-dark(#0060a0, #6cc0ff) }
.refspec:has(input:checked) [data-rejected]::before { content: attr(data-rejected); display: inline-block; padding: 0 2px;
  background: var(--paper); color: light-dark(#6e7781, #9aa4b0); text-decoration: line-through }
.refspec-legend { margin-top: .6em; font-size: 12px }
.refspec-legend > * { margin-right: 1.4em; white-space: nowrap }
.refspec-legend input { margin: 0 .4em 0 0; vertical-align: middle }
.refspec table { margin: .4em 0 0; border-collapse: collapse; font-size: 12px; color: inherit }
.refspec th, .refspec td { padding: 1px 14px 1px 0; text-align: left; font-weight: normal; background: none; border: 0 }
.refspec thead th { font-weight: 600 }
"""


@dataclass(frozen=True)
class Token:
    """One emitted token: what it is (a key of ROLES), what was looked at for it, and the drafted ids it stands in place of."""

    id: int
    role: str
    note: str
    rejected: Sequence[int] = ()


def html_of(rounds: Sequence[Round], stats: Stats, tokenizer: Tokenizer | None, texts: Sequence[str]) -> str:
    """The text with its legend and its figures. texts: what each token of the rounds adds. Without a tokenizer it shows ids.

    Behind `record=True` each token tells on hover its p, q and u and what became of it.

    >>> import refspec
    >>> out = refspec.generate("tiny-target", "ROMEO:", drafter="tiny-draft", max_new_tokens=12, record=True)
    >>> from refspec.transcript import html_of
    >>> html_of(out.rounds, out.stats, out.tokenizer, out.texts).startswith('<div class="refspec">')
    True
    """
    spell = tokenizer.decode if tokenizer is not None else ids_spelled
    tokens = [token for each in rounds for token in tokens_of(each, spell)]
    pieces = ids(tokens) if tokenizer is None else spelled(tokens, texts)
    text = "".join(span(*piece, spell) for piece in pieces)
    return (
        f'<div class="refspec"><style>{STYLE}</style><div class="refspec-text">{text}</div>'
        f"{legend(tokens)}{figures(rounds, stats)}</div>"
    )


def tokens_of(found: Round, spell: Callable[[Sequence[int]], str]) -> Iterator[Token]:
    """The tokens of a round. The last one stands in place of what was rejected, if anything was."""
    for i, token in enumerate(found.tokens):
        kind = "accepted" if i < found.accepted else role(found)
        rejected = found.draft_tokens[i:] if kind == "corrected" else ()
        notes = [kind, *looked_at(found.record, i, token)]
        if rejected:
            notes += [f"rejected: {spell(rejected[:1])!r}", *looked_at(found.record, i, rejected[0])]
        yield Token(token, kind, "\n".join(notes), rejected)


def looked_at(record: Record | None, i: int, token: int) -> Iterator[str]:
    """p and q of a token at position i of a round; and u, where it is the drafted one and the rule tested p against q."""
    if record is None:
        return
    p, draft = record.target_probs[i], record.draft
    yield f"p = {float(p[token]):.4g}"
    if i < len(draft.tokens):
        q = draft.row(i, like=p)
        yield f"q = {float(q[token]):.4g}"
        if token == draft.tokens[i] and i < len(record.tested):
            test = record.tested[i]
            if test.u is not None and (test.p, test.q) == (p[token], q[token]):
                yield f"u = {test.u:.4g}: {'accepted' if test.accepted else 'rejected'}"


def spelled(tokens: Sequence[Token], texts: Sequence[str]) -> Iterator[tuple[str, str, str, Sequence[int]]]:
    """(text, role, note, rejected) for each token that shows any. Half a character belongs to the token that completes it."""
    notes: list[str] = []
    rejected: list[int] = []
    for token, text in zip(tokens, texts, strict=True):
        notes.append(token.note)
        rejected += token.rejected
        if text:
            yield text, token.role, "\n\n".join(notes), rejected
            notes, rejected = [], []


def ids(tokens: Sequence[Token]) -> Iterator[tuple[str, str, str, Sequence[int]]]:
    for i, token in enumerate(tokens):
        yield (" " if i else "") + str(token.id), token.role, token.note, token.rejected


def ids_spelled(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def span(text: str, role: str, note: str, rejected: Sequence[int], spell: Callable[[Sequence[int]], str]) -> str:
    was = f' data-rejected="{quoted(spell(rejected)).replace(chr(10), "↵")}"' if rejected else ""
    return f'<span class="{role}" title="{quoted(note)}"{was}>{quoted(text)}</span>'


def quoted(text: str) -> str:
    """As HTML, in which a bare carriage return would become a newline, and a NUL cannot be said."""
    return escape(text).replace("\r", "&#13;").replace("\0", "\N{SYMBOL FOR NULL}")


def legend(tokens: Sequence[Token]) -> str:
    found = {token.role for token in tokens}
    names = [f'<span><span class="{name}">{name}</span>: {what}</span>' for name, what in ROLES.items() if name in found]
    if "corrected" in found:
        names.append('<label><input type="checkbox">show what was <s>rejected</s></label>')
    return f'<div class="refspec-legend">{" ".join(names)}</div>'


def figures(rounds: Sequence[Round], stats: Stats) -> str:
    """What came of the drafts, and beside it what the token rule's formulas promise, where that rule left a record."""
    rows = [("acceptance rate", stats.acceptance_rate), ("tokens per target call", stats.tokens_per_target_call)]
    promised = predicted(rounds)
    heads = ("", "measured", "predicted") if promised else ("", "measured")
    cells = [
        [name, *("-" if value is None else f"{value:.2f}" for value in (measured, *promised[i : i + 1]))]
        for i, (name, measured) in enumerate(rows)
    ]
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def predicted(rounds: Sequence[Round]) -> tuple[float, ...]:
    """Acceptance, the mean of sum min(p, q) over what was tested, and tokens a round at that acceptance; () where unknown.

    It holds for the token rule: where each test was of a drafted token's own p against its q.
    """
    records = [each.record for each in rounds if each.record is not None]
    found = [overlaps(record) for record in records]
    if len(records) < len(rounds) or None in found or not any(found):
        return ()
    acceptance = float(np.mean([overlap for each in found if each for overlap in each]))
    return acceptance, float(np.mean([theory.expected_tokens([acceptance] * len(each.draft.tokens)) for each in records]))


def overlaps(record: Record) -> list[float] | None:
    """sum min(p, q) for each drafted token that was tested; None where another rule than the token rule did it."""
    if len(record.tested) > len(record.draft.tokens):
        return None
    found = []
    for i, test in enumerate(record.tested):
        p, token = record.target_probs[i], record.draft.tokens[i]
        q = record.draft.row(i, like=p)
        if (test.p, test.q) != (p[token], q[token]):
            return None
        found.append(float(np.minimum(p, q).sum()))
    return found
