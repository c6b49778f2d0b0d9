"""Colours that tell where a token came from, where colours are wanted.

A round's accepted tokens were drafted, a stop token among them; else its last token is the target's own: a correction after
a refusal, a bonus after full acceptance, or plain where nothing was drafted.
"""

import os
from collections.abc import Callable
from typing import TextIO

from refspec.decoding.round import role
from refspec.generate import Piece

Paint = Callable[[str, str], str]  # (text, role) -> text in the colour of its role

# Told apart by those who do not see red and green as two colours, too.
COLOURS = {"accepted": "32", "corrected": "35", "bonus": "36", "rejected": "2;9", "heading": "1"}


def painter(file: TextIO) -> Paint:
    """How to colour what goes to `file`: NO_COLOR switches it off, else FORCE_COLOR on, else it is on for a terminal."""
    if os.environ.get("NO_COLOR"):
        wanted = False
    else:
        wanted = bool(os.environ.get("FORCE_COLOR")) or (file.isatty() and os.environ.get("TERM") != "dumb")
    return coloured if wanted else uncoloured


def coloured(text: str, role: str) -> str:
    return f"\033[{COLOURS[role]}m{text}\033[0m" if text and role in COLOURS else text


def uncoloured(text: str, role: str) -> str:
    return text


class Screen:
    """Shows the text of a run on `file`, round by round as it comes."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._paint = painter(file)
        self._empty = True

    def show(self, piece: Piece) -> None:
        accepted = piece.round.accepted
        self._write("".join(piece.texts[:accepted]), "accepted")
        self._write("".join(piece.texts[accepted:]), role(piece.round))
        self._file.flush()

    def end(self, rest: str) -> None:
        """What a run that was broken off had still waiting, and the end of the line, if it was begun."""
        self._write(rest, "plain")
        if not self._empty:
            self._file.write("\n")
        self._file.flush()

    def _write(self, text: str, role: str) -> None:
        if text:
            self._empty = False  # first: Ctrl-C may come while it is written
            self._file.write(self._paint(text, role))
