"""DMA-only steps merged in the linear program of `fluid`: time and bound against the long program.

Where operands must be in the fastest tier, two DMA-only steps stand between operators. The program
that is solved has one for both, without a capacity of its own, and no moves in it that cannot be
better than beside an operator; the long one has both, as any other step. CPU seconds of building
and solving, all rounds, the lesser of some runs that alternate; and how far apart the bounds are
once every window is open that is worth anything (`fluid` leaves closed what is worth a thousandth
of the value, and takes that off its bound).

Run: python benchmarks/lp_time.py [--models DIR] [--only NAME,NAME]
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from common import model_files, write_table
from heuristics import geomean, read
from scratchpad import ROUNDING_BYTES, bound_to_scratchpad, smallest_bytes

from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier import relaxation
from ullage.solvers.fluid.two_tier.relaxation import Relaxation
from ullage.solvers.fluid.two_tier.time_axis import TimeAxis, time_axis
from ullage.solvers.paths.streaming import home_assignment
from ullage.solvers.state.segments import Segment, segments_of

NAME = "lp_time"
MODELS = (
    "mobilenet_v2",
    "efficientnet_b0",
    "squeezenet1_1",
    "resnet50",
    "googlenet",
    "vit_b_16",
    "bert_base_128",
    "gpt2_prefill_128",
)
SCALES = (1.0, 1.5, 3.0)
RUNS = 3  # the least of so many is taken: the first one loads libraries
TARGET = "edge-npu-spm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default=",".join(MODELS))
    given = parser.parse_args()
    wanted = given.only.split(",")
    rows: list[list[str]] = []
    ratios: list[float] = []
    for file in model_files(given.models):
        if file.stem not in wanted:
            continue
        streaming = read(file, TARGET, "int8")
        if streaming is None:
            continue
        prepared = bound_to_scratchpad(streaming, TARGET, split=True)
        smallest = smallest_bytes(prepared, prepared.target)
        for scale in SCALES if smallest is not None else ():
            size = -(-round(scale * smallest) // ROUNDING_BYTES) * ROUNDING_BYTES
            chip = prepared.target.with_fast_memory(size)
            problem = Problem(prepared.problem.program, chip, "latency")
            rows.append([file.stem, str(size >> 10), *row(problem, ratios)])
            print(" | ".join(rows[-1]), flush=True)
            write(rows, ratios)
    print(write(rows, ratios))


def row(problem: Problem, ratios: list[float]) -> list[str]:
    """Sizes, seconds and bounds of both programs."""
    segments = segments_of(problem)
    known = value_of(home_assignment(problem))

    def relaxed(axis: Callable[[Problem, Sequence[Segment]], TimeAxis]) -> tuple[Relaxation, float]:
        """The program of an axis, solved, with its bound."""
        relaxation.time_axis = axis
        options, no_limit = FluidOptions(max_rounds=50), Budget(math.inf)
        found = relaxation.relax(problem, segments, known, options, no_limit)
        if found is None or found.bound is None:
            raise SystemExit("the linear program was not solved")
        return found, found.bound

    least = [math.inf, math.inf]
    for _ in range(RUNS):
        for at, axis in enumerate((time_axis, long_axis)):
            since = time.process_time()
            relaxed(axis)
            least[at] = min(least[at], time.process_time() - since)
    ratios.append(least[1] / least[0])
    (short, _), (long, _) = relaxed(time_axis), relaxed(long_axis)
    enough = relaxation.ENOUGH
    relaxation.ENOUGH = 0.0
    bounds = [relaxed(axis)[1] for axis in (time_axis, long_axis)]
    relaxation.ENOUGH = enough
    apart = abs(bounds[0] / bounds[1] - 1)
    sizes = [
        f"{len(s.fluid.program.row_low)} x {len(s.fluid.program.cost)}, "
        f"{len(s.fluid.program.entry_rows)}, {s.rounds}"
        for s in (long, short)
    ]
    seconds = [f"{1e3 * least[1]:.0f}", f"{1e3 * least[0]:.0f}", f"{ratios[-1]:.2f}"]
    return [*sizes, *seconds, f"{apart:.1e}"]


def long_axis(problem: Problem, segments: Sequence[Segment]) -> TimeAxis:
    """Every step of the plan is one of the program."""
    steps = np.arange(len(problem.steps))
    return TimeAxis(problem, tuple(segments), steps, steps, steps, np.ones(len(steps), dtype=bool))


def write(rows: list[list[str]], ratios: list[float]) -> str:
    """The table so far."""
    sizes = "rows x columns, entries, rounds"
    columns = ["model", "KiB", f"long: {sizes}", f"merged: {sizes}"]
    columns += ["long ms", "merged ms", "long/merged", "bounds apart"]
    title = (
        f"DMA-only steps merged in the linear program, {TARGET}, int8: "
        f"{geomean(ratios):.2f} times faster (geomean), {min(ratios):.2f} at least"
    )
    return write_table(NAME, title, columns, rows)


if __name__ == "__main__":
    main()
