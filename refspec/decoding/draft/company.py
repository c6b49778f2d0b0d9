"""Those who share their passes: what an adaptive drafter has to know of the others.

A pass is paid by the row, and by all who are in it. So another drafted token costs what it adds to the rows that are there
anyway, v(all + 1) - v(all); and time is worth what all gain in it. A text alone is the company of one.
"""


class Company:
    """The rows that each of the texts last asked for, and what all of them have gained and spent together.

    Rows as asked for, and not as drafted: where a draft stopped would tell of tokens behind a rejection (N6).

    >>> from refspec.decoding.draft.company import Company
    >>> company = Company()
    >>> one, other = company.join(), company.join()
    >>> company.rows[one], company.rows[other] = 5, 2
    >>> company.beside(one), company.texts
    (2, 2)
    """

    def __init__(self, start: float = 10.0) -> None:
        """start: the tokens gained, and the plain steps spent, before there are any."""
        self.rows: dict[object, int] = {}
        self.tokens = self.cost = start

    def join(self) -> object:
        """A seat for one more text, which brings one row until it bets."""
        seat = object()
        self.rows[seat] = 1
        return seat

    def leave(self, seat: object) -> None:
        """The text has ended."""
        self.rows.pop(seat, None)

    def beside(self, seat: object) -> int:
        """The rows of all others."""
        return sum(self.rows.values()) - self.rows[seat]

    @property
    def texts(self) -> int:
        return len(self.rows)
