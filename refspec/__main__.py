"""`python -m refspec`, the same as `refspec`."""

import sys

from refspec.cli import main

sys.exit(main())
