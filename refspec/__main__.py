"""`python -m refspec`, the same as `refspec`."""

import sys

from refspec.cli.main import main

sys.exit(main())
