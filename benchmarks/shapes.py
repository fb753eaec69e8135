"""Time and memory over shapes of graphs that grow: one compile per shape and size, a row each.

Each file holds about as many nodes as its size says, those of bodies and functions included, and
is compiled by `ullage compile FILE --solver greedy --time-limit 20 --json` in a process of its own.
A run is late where it takes more than its limit, 10 % and a second; on a busy machine the seconds
of the processor say more.

Run: python benchmarks/shapes.py [SHAPE ...] [--sizes 1000,10000] [--solver NAME] [--order NAME]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnx
from common import ROOT, write_table

sys.path.insert(0, str(ROOT))
from tests.support.shapes import SHAPES

SIZES = (1_000, 10_000, 50_000, 200_000)
SHARE, GRACE_S = 1.1, 1.0
# Seconds beyond the limit after which a run is stopped.
PATIENCE_S = 100.0
COLUMNS = (
    "shape",
    "nodes",
    "exit code",
    "limit s",
    "wall s",
    "CPU s",
    "peak RSS MiB",
    "in time",
    "remarks",
)
# Most resident memory that a run may take.
MOST_MIB = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--limit", type=float, default=20.0, help="--time-limit of each run")
    parser.add_argument("--solver", default="greedy")
    parser.add_argument("--order", default="model")
    parser.add_argument("--table", default="shapes", help="name of the table")
    parser.add_argument("--write", nargs=2, help="write a file of a size (used by the script)")
    given = parser.parse_args()
    if given.write:
        onnx.save(SHAPES[given.shapes[0]](int(given.write[0])), given.write[1])
        return
    chosen = given.shapes or list(SHAPES)
    rows: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in map(int, given.sizes.split(",")):
            for shape in chosen:
                path = Path(folder) / f"{shape}.onnx"
                write = [sys.executable, __file__, shape, "--write", str(size), str(path)]
                subprocess.run(write, check=True)  # its memory would count for its children's
                rows.append((shape, size, *measured(path, given)))
                path.unlink()
                print(" | ".join(map(str, rows[-1])), flush=True)
                late = sum(row[COLUMNS.index("in time")] != "yes" for row in rows)
                most = max(row[COLUMNS.index("peak RSS MiB")] for row in rows)
                title = (
                    f"Shapes of graphs, --solver {given.solver} --order {given.order}: {len(rows)} "
                    f"runs, {late} late, {most} MiB at most (allowed: {MOST_MIB})"
                )
                by_shape = sorted(rows, key=lambda row: (chosen.index(row[0]), row[1]))
                write_table(given.table, title, COLUMNS, by_shape)


def measured(path: Path, given: argparse.Namespace) -> tuple[Any, ...]:
    """Exit code, limit, seconds, memory and the first remark of one run of the command."""
    command = [str(Path(sys.executable).with_name("ullage")), "compile", str(path), "--json"]
    command += ["--solver", given.solver, "--order", given.order]
    command += ["--time-limit", str(given.limit)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=errors)
        usage = None
        while usage is None:
            done, status, used = os.wait4(process.pid, os.WNOHANG)
            wall_s = time.monotonic() - begun
            if done:
                usage = used
            elif wall_s > given.limit + PATIENCE_S:
                process.kill()
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        remark = remark_of(out.read(), errors.read())
    in_time = "yes" if wall_s <= SHARE * given.limit + GRACE_S else "NO"
    cpu_s = usage.ru_utime + usage.ru_stime
    peak_mib = usage.ru_maxrss >> 10
    seconds = (f"{given.limit:g}", f"{wall_s:.2f}", f"{cpu_s:.2f}")
    return process.returncode, *seconds, peak_mib, in_time, remark


def remark_of(out: str, errors: str) -> str:
    """What an error says, in short; the number of operators of a plan."""
    try:
        told = json.loads(out)
    except ValueError:
        return (errors.strip().splitlines() or ["no output"])[-1][:120].replace("|", "/")
    if "error" in told:
        text = told["error"]
        message = text.get("message", "") if isinstance(text, dict) else str(text)
        return message.split(": ", 1)[-1][:120].replace("|", "/")
    return f"{told.get('operators', '')} operators"


if __name__ == "__main__":
    main()
