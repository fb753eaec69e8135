"""What cascades are worth over time: the plan of `compile --schedule cascade` by time limit.

Every model at each size of fast memory, int8, in the file's order, each limit in a run of its own,
with the limit counted from the first byte that is read. The last column is the longest time of a
run over what it may take, 1.1 times its limit and a second. All figures are wall-clock, so that a
busy machine finds less by then. The table is written after every row.

Run: python benchmarks/cascade_anytime.py [--models DIR] [--only NAME,NAME] [--sizes KIB,KIB]
[--limits S,S] [--note TEXT] [--name TABLE]
"""

import argparse
import time
from pathlib import Path

from common import model_files, write_table

from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled

# What a run with a limit may take: a share of it, and some seconds.
SHARE, GRACE_S = 1.1, 1.0
# Networks of the public set that are shown where none is named.
SHOWN = "mobilenet_v2,mnasnet1_0,resnet50"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default=SHOWN)
    parser.add_argument("--sizes", default="256,64")
    parser.add_argument("--limits", default="5,10,30,60")
    parser.add_argument("--note", default="", help="what else the title says, as of the machine")
    parser.add_argument("--name", default="cascade_anytime")
    given = parser.parse_args()
    limits = [float(limit) for limit in given.limits.split(",")]
    columns = (
        "model",
        "memory",
        "first plan, s",
        "first plan, ms",
        "whole, ms",
        "no limit, ms",
        "no limit, s",
        *(f"{limit:g} s, ms" for limit in limits),
        "longest over 1.1 limit + 1 s",
    )
    rows: list[list[str]] = []
    wanted = given.only.split(",")
    for file in model_files(given.models):
        for size in given.sizes.split(",") if file.stem in wanted else ():
            rows.append([file.stem, f"{size} KiB", *cells_of(file, int(size), limits)])
            title = "Cascades over time, edge-npu, int8: latency of the plan by time limit"
            note = given.note and f" ({given.note})"
            write_table(given.name, title + note, columns, rows)
            print(rows[-1], flush=True)


def cells_of(file: Path, size_kib: int, limits: list[float]) -> list[str]:
    """Cells of a model at a size: of runs without a limit, and with each of them."""
    whole, _ = planned(file, size_kib, None, "whole")
    free, free_s = planned(file, size_kib, None, "cascade")
    first_s, first = free.anytime[0]
    values: list[str] = []
    taken: list[float] = []
    for limit in limits:
        compiled, seconds = planned(file, size_kib, limit, "cascade")
        values.append(milliseconds(compiled.value))
        taken.append(seconds / (SHARE * limit + GRACE_S))
    return [
        f"{free.import_s + first_s:.2f}",
        milliseconds(first),
        milliseconds(whole.value),
        milliseconds(free.value),
        f"{free_s:.1f}",
        *values,
        f"{max(taken):.2f}",
    ]


def planned(
    file: Path, size_kib: int, limit_s: float | None, schedule: str
) -> tuple[Compiled, float]:
    """A plan in a schedule, and the seconds that it took."""
    options = CompileOptions(
        dtype="int8", fast_memory_bytes=size_kib << 10, schedule=schedule, time_limit_s=limit_s
    )
    begun = time.monotonic()
    return compile_model(file, options), time.monotonic() - begun


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.4f}"


if __name__ == "__main__":
    main()
