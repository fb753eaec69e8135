"""`cpsat` and `ilp` against brute force on random programs of up to 7 operators, mode by mode.

`cpsat` has all programs of a mode, `ilp` a share of them, since CBC needs seconds for big-M rows in
a free order. What is not closed in the limit is counted as unsolved; any difference raises. A
second run skips the rows that are there already.

Run: python benchmarks/cosma_random.py [--count N] [--ilp N] [--first SEED] [--seconds S]
"""

import argparse
import json
import sys
import time
from collections import Counter

from common import RESULTS, ROOT, write_table

# mode, most operators, space
PLANS = (
    ("fixed", 7, "load"),
    ("fixed", 6, "addresses"),
    ("fixed-moves", 5, "addresses"),
    ("free", 7, "load"),
    ("free", 6, "addresses"),
    ("free-moves", 5, "addresses"),
    ("peak-fixed", 7, "load"),
    ("peak-free", 7, "load"),
)
CASES = (
    *("nothing leaves", "loads decide", "addresses decide", "no addresses", "peak"),
    "unsolved",
)
COLUMNS = ("mode", "operators", "space", "solver", "programs", *CASES, "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--ilp", type=int, default=100)
    parser.add_argument("--first", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.support.cosma_agree import agree

    file = RESULTS / "cosma_random.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    rows = [[str(row[c]) for c in COLUMNS] for row in known]
    done = {tuple(row[:5]) for row in rows}
    for solver, count in (("cpsat", given.count), ("ilp", given.ilp)):
        for mode, operators, space in PLANS:
            if (mode, str(operators), space, solver, str(count)) in done:
                continue
            begun = time.monotonic()
            cases: Counter[str] = Counter()
            for seed in range(given.first, given.first + count):
                try:
                    case = agree(solver, seed, mode, operators, space, given.seconds)
                except AssertionError as error:
                    raise SystemExit(f"{solver}, {mode}, {space}, seed {seed}: {error}") from error
                cases[case] += 1
            spent = f"{time.monotonic() - begun:.0f}"
            counts = (str(cases[c]) for c in CASES)
            rows.append([mode, str(operators), space, solver, str(count), *counts, spent])
            print(" | ".join(rows[-1]), flush=True)
            title = "Random programs on which cpsat and ilp agree with brute force"
            write_table("cosma_random", title, COLUMNS, rows)


if __name__ == "__main__":
    main()
