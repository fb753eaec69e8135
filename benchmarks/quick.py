"""The suite `quick`: solvers on several chips against the certified bound, in a quarter of an hour.

`ullage bench --suite quick` runs in build/bench/quick, where finished rows are kept: another run
computes what is missing, and nothing where nothing has changed. The table is written from them.

Run: python benchmarks/quick.py [--jobs N]
"""

import argparse
import json
import subprocess
import sys

from common import ROOT, write_table

FOLDER = ROOT / "build" / "bench" / "quick"
PROGRAM = "from ullage.cli.start import main; main()"
COLUMNS = (
    *("model", "target", "fast memory", "steady state", "whole tensors", "schedule", "solver"),
    *("value", "lower bound", "gap", "status"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    arguments = [
        "bench",
        "--suite",
        "quick",
        "--jobs",
        str(given.jobs),
        "-o",
        str(FOLDER),
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    said = json.loads(done.stdout)
    if "rows" not in said:
        print(said)
        return done.returncode or 1
    write_table(
        "quick",
        f"Suite `quick`: {len(said['rows'])} rows; values and bounds are latencies in s",
        COLUMNS,
        [cells(row) for row in said["rows"]],
    )
    print(f"{said['computed']} of {len(said['rows'])} rows computed now")
    return done.returncode


def cells(row: dict[str, object]) -> list[str]:
    """A row of the table; values in seconds."""
    value, bound, gap = row.get("value"), row.get("lower_bound"), row.get("gap")
    return [
        str(row["model"]),
        str(row["target"]),
        str(row["fast_memory"]),
        "yes" if row["steady_state"] else "",
        "yes" if "split_operands" in str(row["overrides"]) else "",
        str(row.get("chosen_schedule") or row["schedule"]),
        str(row["solver"]),
        f"{value:.6g}" if isinstance(value, float) else "",
        f"{bound:.6g}" if isinstance(bound, float) else "",
        f"{gap:.3%}" if isinstance(gap, float) else "",
        str(row["status"]),
    ]


if __name__ == "__main__":
    sys.exit(main())
