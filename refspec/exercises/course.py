"""The model of lessons 2 to 5: three tokens, a row for each last token, all of it fractions."""

from fractions import Fraction

from refspec.decoding.lm import TableLM

NAMES = "ha", "ho", "hm"


def _row(*sixths: int) -> list[Fraction]:
    return [Fraction(each, sum(sixths)) for each in sixths]


TARGET = TableLM({(): _row(3, 2, 1), (0,): _row(1, 3, 2), (1,): _row(2, 1, 1), (2,): _row(2, 1, 0)})
DRAFT = TableLM({(): _row(1, 1, 2), (0,): _row(1, 1, 1), (1,): _row(4, 1, 1), (2,): _row(1, 1, 1)})
