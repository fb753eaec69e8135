"""Whole-process times of the command line: median of five, after one warm-up.

Run: python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

from common import write_table

COMMANDS = {
    "ullage --help": ["--help"],
    "ullage compile resnet50 --solver greedy": ["compile", "resnet50", "--solver", "greedy"],
    "ullage compile resnet50 --schedule whole (auto)": [
        *("compile", "resnet50", "--schedule", "whole")
    ],
    "ullage compile squeezenet --solver rl, one simulator call": [
        *("compile", "squeezenet", "--solver", "rl", "--param", "simulations=1")
    ],
    "ullage analyze resnet50": ["analyze", "resnet50"],
}
RUNS = 5


def main() -> None:
    rows = []
    for name, arguments in COMMANDS.items():
        command = [sys.executable, "-c", "from ullage.cli.main import main; main()", *arguments]
        seconds = []
        for run in range(RUNS + 1):
            begun = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if run:
                seconds.append(time.perf_counter() - begun)
        rows.append(
            [
                name,
                f"{min(seconds):.3f}",
                f"{statistics.median(seconds):.3f}",
                f"{max(seconds):.3f}",
            ]
        )
    columns = ["command", "min s", "median s", "max s"]
    print(write_table("startup", "Start-up, whole processes", columns, rows))


if __name__ == "__main__":
    main()
