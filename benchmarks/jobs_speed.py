"""How much faster `ullage bench` is with two jobs, and whether its tables are the same.

A grid of rows that end by themselves (no time limit, one thread in each process), run one after the
other, with `--jobs 2`, and with `--ray` on Ray; tables are compared byte for byte. The load of the
machine before each run stands beside its seconds: ratios say something on an idle machine only.

Run: python benchmarks/jobs_speed.py [--rows 200] [--ray]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, write_table

COLUMNS = ("engine", "jobs", "rows", "load before", "wall s", "faster", "same bytes")
PROGRAM = "from ullage.cli.start import main; main()"
SUITE = """title = "Rows that end by themselves"
[[grids]]
models = ["squeezenet", "shufflenet"]
targets = ["edge-npu"]
fast_memory = [{sizes}]
solvers = ["all-slow", "greedy"]
schedules = ["whole"]
dtypes = ["int8"]
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200, help="rows of the grid, a multiple of 4")
    parser.add_argument("--ray", action="store_true", help="on Ray, too")
    given = parser.parse_args()
    sizes = ", ".join(f'"{64 + 16 * k}KiB"' for k in range(given.rows // 4))
    rows: list[list[object]] = []
    same = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite = folder / "grid.toml"
        suite.write_text(SUITE.format(sizes=sizes), encoding="utf-8")
        first_s, first = 0.0, b""
        for engine, jobs in (("processes", 1), ("processes", 2), *([("ray", 2)] * given.ray)):
            load = os.getloadavg()[0]
            begun = time.monotonic()
            out = folder / f"{engine}-{jobs}"
            asked = ["bench", "--suite", suite, "-o", out, "--engine", engine, "--jobs", jobs]
            command = [sys.executable, "-c", PROGRAM, *map(str, asked)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
            seconds = time.monotonic() - begun
            found = (out / "results.csv").read_bytes() + (out / "results.json").read_bytes()
            first_s, first = first_s or seconds, first or found
            same = same and found == first
            faster, equal = f"{first_s / seconds:.2f}", "yes" if found == first else "no"
            rows.append([engine, jobs, given.rows, f"{load:.1f}", f"{seconds:.0f}", faster, equal])
            print(*rows[-1], flush=True)
    write_table("jobs_speed", "A grid of rows with two jobs", COLUMNS, rows)
    return not same


if __name__ == "__main__":
    sys.exit(main())
