"""How many of a random sample of mutants the default suite kills.

    pip install mutmut && python tests/benchmarks/mutation_sample.py 200 --seed 9

Runs mutmut with the settings of pyproject.toml, in the checkout it is started from. A whole run has some 7,000 mutants in
refspec/ alone; 200 take ten minutes on two idle cores. Memory is bounded, since some mutants never stop branching.
"""

import argparse
import json
import os
import random
import resource
import subprocess
from pathlib import Path

BYTES = 9 << 30
FIRST = "refspec.decoding.stats.x_ratio__mutmut_1"


def mutmut(*names: str) -> None:
    environment = os.environ | {"HYPOTHESIS_PROFILE": "ci", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(["mutmut", "run", *names], env=environment, check=False, stdout=subprocess.DEVNULL)


def codes() -> dict[str, int | None]:
    """{mutant: exit code of its tests}, None where they have not been run."""
    found: dict[str, int | None] = {}
    for path in Path("mutants").rglob("*.meta"):
        found |= json.loads(path.read_text(encoding="utf-8")).get("exit_code_by_key", {})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many mutants to try")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (%(default)s)")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    mutmut(FIRST)  # writes all mutants down, and tries one
    if codes().get(FIRST) is None:
        raise SystemExit(f"mutmut could not run the tests; see why with: mutmut run {FIRST}")
    names = sorted(name for name in codes() if name.startswith("refspec."))
    sample = random.Random(options.seed).sample(names, min(options.count, len(names)))
    mutmut(*sample)
    found = codes()
    alive = [name for name in sample if found[name] in (0, None, 33)]  # None: not run; 33: no test reaches it
    print(f"{len(sample) - len(alive)} of {len(sample)} killed, of {len(names):,} mutants of refspec. Alive (mutmut show NAME):")
    print(*alive, sep="\n")


if __name__ == "__main__":
    main()
