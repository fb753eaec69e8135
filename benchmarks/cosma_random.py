"""`ilp` against brute force on thousands of random programs of up to 7 operators, mode by mode.

What CBC does not close in the limit is counted as unsolved; any difference raises.

Run: python benchmarks/cosma_random.py [--count N] [--first SEED] [--seconds S]
"""

import argparse
import sys
import time
from collections import Counter

from common import ROOT, write_table

# mode, most operators, space: big-M in a free order closes small programs only
PLANS = (
    ("fixed", 7, "load"),
    ("fixed", 7, "both"),
    ("fixed", 5, "addresses"),
    ("fixed-moves", 5, "both"),
    ("free", 7, "load"),
    ("free", 4, "both"),
    ("peak-fixed", 7, "both"),
    ("peak-free", 7, "both"),
)
CASES = (
    *("nothing leaves", "loads decide", "addresses decide", "no addresses", "peak"),
    "unsolved",
)
COLUMNS = ("mode", "operators", "space", *CASES, "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.solvers.test_ilp import agree

    rows: list[list[str]] = []
    for mode, operators, space in PLANS:
        begun = time.monotonic()
        cases: Counter[str] = Counter()
        for seed in range(given.first, given.first + given.count):
            try:
                cases[agree(seed, mode, operators, space, given.seconds)] += 1
            except AssertionError as error:
                raise SystemExit(f"{mode}, {space}, seed {seed}: {error}") from error
        spent = f"{time.monotonic() - begun:.0f}"
        rows.append([mode, str(operators), space, *(str(cases[c]) for c in CASES), spent])
        print(" | ".join(rows[-1]), flush=True)
        write_table("cosma_random", f"{given.count} random programs a mode", COLUMNS, rows)


if __name__ == "__main__":
    main()
