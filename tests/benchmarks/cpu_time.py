"""`refspec` by the CPU time of one core, for a machine that is not idle: what others do meanwhile is not counted.

    python tests/benchmarks/cpu_time.py bench --batch 1 2 4 8 16 32 --max-new-tokens 24 --quick

Takes the arguments of `refspec`. Shared caches and memory are still shared, so an idle machine is better.
"""

import os
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is there; a second thread's time would count twice

if __name__ == "__main__":
    time.perf_counter = time.process_time  # the clock of every measurement in refspec

    from refspec.cli.main import main

    sys.exit(main())
