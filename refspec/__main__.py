"""`python -m refspec`, the same as `refspec`."""

import sys

from refspec.cli.main import main

if __name__ == "__main__":  # not in a worker of a sweep, which imports this again
    sys.exit(main())
