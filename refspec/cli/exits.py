"""Exit codes, and how a mistake is told."""

import sys

SUCCESS, DIFFERS, MISTAKE, INTERRUPTED, READER_LEFT = 0, 1, 2, 130, 141  # the last two as a shell reports SIGINT and SIGPIPE


def complain(message: str) -> None:
    """One line on standard error."""
    print("refspec:", " ".join(message.split()), file=sys.stderr)
