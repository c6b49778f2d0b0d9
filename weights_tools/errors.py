"""What can go wrong before there are weights to load."""

from refspec.errors import RefspecError


class FetchFailed(RefspecError):
    """The weights could not be had: no network, no such repository, a damaged download."""


class MissingLibrary(RefspecError):
    """An optional library that this command needs is not installed."""
