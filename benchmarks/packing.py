"""Table of offset assignments: MiniMalloc's instances and a synthetic one of 100,000 buffers.

python benchmarks/packing.py --instances DIR   # DIR holds NAME.CAPACITY.csv files
"""

import argparse
import time
from pathlib import Path

import numpy as np
from common import write_table
from numpy.typing import NDArray

from ullage.solvers.packing.minimalloc_csv import read_minimalloc_csv
from ullage.solvers.packing.pack import Packing, pack

Ints = NDArray[np.int64]


def synthetic(buffers: int, seed: int = 0) -> tuple[Ints, Ints, Ints]:
    """Starts, ends and sizes like those of a long network: most buffers short, a few long."""
    random = np.random.default_rng(seed)
    starts = np.sort(random.integers(0, buffers, buffers))
    durations = 1 + random.lognormal(2.5, 1.6, buffers).astype(np.int64)
    sizes = 64 * (1 + random.lognormal(4.0, 1.5, buffers).astype(np.int64))
    return starts, np.minimum(starts + durations, buffers + 1), sizes


COLUMNS = ("instance", "buffers", "peak", "bound", "ratio", "proven", "wall s", "CPU s", "method")


def row(name: str, buffers: int, packing: Packing, wall_s: float, cpu_s: float) -> list[str]:
    found = [
        name,
        str(buffers),
        str(packing.peak_bytes),
        str(packing.lower_bound_bytes),
        f"{packing.peak_bytes / packing.lower_bound_bytes:.4f}",
        "yes" if packing.optimal else "no",
        f"{wall_s:.2f}",
        f"{cpu_s:.2f}",
        packing.method,
    ]
    print(" | ".join(found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=Path, help="folder of NAME.CAPACITY.csv files")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds per instance")
    parser.add_argument("--no-capacity", action="store_true", help="seek the least peak instead")
    parser.add_argument("--quick", action="store_true", help="without proof, as solvers call it")
    parser.add_argument("--buffers", type=int, default=100_000, help="of the synthetic instance")
    options = parser.parse_args()
    rows: list[list[str]] = []
    total_cpu_s = 0.0
    for path in sorted(options.instances.glob("*.csv")) if options.instances else ():
        table = read_minimalloc_csv(path)
        capacity = None if options.no_capacity else int(path.stem.split(".")[1])
        wall, cpu = time.perf_counter(), time.process_time()
        packing = pack(
            table.lower,
            table.upper,
            table.size_bytes,
            capacity_bytes=capacity,
            time_limit_s=options.time_limit,
            proof=not options.quick,
        )
        cpu_s = time.process_time() - cpu
        total_cpu_s += cpu_s
        wall_s = time.perf_counter() - wall
        rows.append(row(path.stem, len(table.ids), packing, wall_s, cpu_s))
    if rows:
        rows.append(["all of them", "", "", "", "", "", "", f"{total_cpu_s:.2f}", ""])
    if options.buffers:
        starts, ends, sizes = synthetic(options.buffers)
        wall, cpu = time.perf_counter(), time.process_time()
        packing = pack(starts, ends, sizes)
        wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
        rows.append(row("synthetic", options.buffers, packing, wall_s, cpu_s))
    print(write_table("packing", "Offset assignment with proof", COLUMNS, rows))


if __name__ == "__main__":
    main()
