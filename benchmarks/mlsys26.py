"""Instances of the MLSys 2026 scheduling contest beside the costs that others have published.

    python benchmarks/mlsys26.py [--instances DIR]   solve them, then write the table
    python benchmarks/mlsys26.py --page              write docs/bench.md from stored results

Runs `ullage bench --suite mlsys26`, which keeps finished instances in build/bench/mlsys26. The
published costs are in benchmarks/mlsys26_published.json: of TeamKorea's pattern solver under the
full-K reading, rounded down to integers. Writes benchmarks/results/mlsys26.json and .md, and the
table of docs/bench.md.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, write_table

INSTANCES = ROOT.parent / "shared" / "mlsys26"
PUBLISHED = ROOT / "benchmarks" / "mlsys26_published.json"
FOLDER = ROOT / "build" / "bench" / "mlsys26"
PAGE = ROOT / "docs" / "bench.md"
START = "<!-- mlsys26, written by benchmarks/mlsys26.py -->"
END = "<!-- end of the table -->"
TITLE = "MLSys 2026 contest: costs, and those that others have published"
COLUMNS = (
    "instance",
    "operators",
    "limit s",
    "cost",
    "published",
    "ratio",
    "lower bound",
    "strict cost",
    "valid",
    "seconds",
    "CPU s",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=Path, default=INSTANCES)
    parser.add_argument("--page", action="store_true", help="write the page from stored results")
    options = parser.parse_args()
    if not options.page:
        command = ["ullage", "bench", "--suite", "mlsys26", "-o", str(FOLDER)]
        program = "from ullage.cli.start import main; main()"
        subprocess.run(
            [sys.executable, "-c", program, *command[1:], "--instances", str(options.instances)],
            check=True,
        )
        print(write_table("mlsys26", TITLE, COLUMNS, rows(FOLDER)))
    _, table = (RESULTS / "mlsys26.md").read_text(encoding="utf-8").split("\n\n", 1)
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{START}\n{table}{END}{after}", encoding="utf-8")


def rows(folder: Path) -> list[list[Any]]:
    """The rows of a folder of results, with published costs."""
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    with (folder / "times.csv").open(newline="", encoding="utf-8") as file:
        times = {row["instance"]: row for row in csv.DictReader(file)}
    found = []
    for row in json.loads((folder / "results.json").read_text(encoding="utf-8")):
        name = row["instance"]
        known = published.get(name)
        found.append(
            [
                name,
                row["operators"],
                f"{row['time_limit_s']:g}",
                f"{row['cost']:,.1f}",
                "-" if known is None else f"{known:,}",
                "-" if known is None else f"{row['cost'] / known:.5f}",
                f"{row['lower_bound']:,.1f}",
                "-" if row["strict_cost"] is None else f"{row['strict_cost']:,.1f}",
                "yes" if row["valid"] else "no",
                f"{float(times[name]['process_s']):.1f}",
                f"{float(times[name]['cpu_s']):.1f}",
            ]
        )
    return found


if __name__ == "__main__":
    main()
