"""What can go wrong before there are weights to load."""

import errno
import os

from refspec.errors import RefspecError

# As the words of the system, since pip and the hub's client hand on no more of an error than its text.
OF_THE_DISK = [os.strerror(each) for each in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)]


class FetchFailed(RefspecError):
    """The weights could not be had: no network, no such repository, a damaged download."""


class CannotWrite(RefspecError):
    """A file could not be written: a full disk, a folder that may not be written to."""


class MissingLibrary(RefspecError):
    """An optional library that this command needs is not installed."""


def what_to_do(reason: str, about_the_network: str) -> str:
    """Behind the reason why a download failed: the network is not to blame where the disk is."""
    if any(each in reason for each in OF_THE_DISK):
        return "make room on the disk, or let REFSPEC_HOME (or TMPDIR, which pip uses) name a folder on another"
    return about_the_network
