"""Reports of hand-made and of large plans, for the tests beside this file."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.support.plans import ANY, buffer, plan, problem
from tests.support.tiled import TiledGraph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Part, Schedule, part_of
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.report.data import report_data
from ullage.compiler.report.extras import Extras
from ullage.compiler.report.page import render_page
from ullage.compiler.report.subject import compiled_of
from ullage.solvers.run import run_solver


def data_of(made: Plan, extras: Extras | None = None) -> dict[str, Any]:
    """The report's data of a plan."""
    return report_data(compiled_of(made), extras=extras)


@cache
def large_page() -> bytes:
    """The report of a large plan."""
    return render_page(data_of(large()))


def write_report(made: Plan, path: Path, extras: Extras | None = None) -> str:
    """Write the report of a plan; returns its address."""
    path.write_bytes(render_page(data_of(made, extras)))
    return path.as_uri()


def large(operators: int = 1200, slices: int = 8) -> Plan:
    """Each operator reads a weight that comes just before it, in slices of 4 bytes."""
    size = 4 * slices
    weights = [buffer(f"layers/{i}/weight", size, "weight") for i in range(operators)]
    buffers = (buffer("x", 8, "input"), buffer("y", 8, "output"), *weights)
    steps: list[tuple[str, str] | None] = [None]
    held: list[tuple[str, int, int, str, int, int, int, int]] = [
        ("x", 0, 8, "dram", 0, 0, 0, operators + 2),
        ("y", 0, 8, "dram", 8, 1, 1, operators + 2),
    ]
    moved: list[tuple[str, int, int, str, str, tuple[tuple[int, int], ...]]] = []
    for i, weight in enumerate(weights):
        steps.append((f"{weight.name} {'y' if i else 'x'}", "y"))
        held.append((weight.name, 0, size, "dram", 16 + size * i, 0, 0, operators + 2))
        for start in range(0, size, 4):
            address = start + size * (i % 2)
            held.append((weight.name, start, start + 4, "sram", address, i, i + 1, i + 2))
            moved.append((weight.name, start, start + 4, "dram", "sram", ((i, 4),)))
    return plan(
        uncapacitated(operators * size), problem("large", buffers, [*steps, None]), held, moved
    )


def in_parts(stripes: int = 4, operators: int = 3) -> Plan:
    """A cascade of convolutions of 3 x 3 in stripes of 8 rows, and one behind it that is whole.

    Each stripe makes what the next operator needs, one row more of every operator further back.
    """
    size = 8 * stripes
    graph = TiledGraph(Random(0))
    name = graph.value("x", (1, 2, size, 4), "input")
    for _ in range(operators + 1):
        name = graph.conv(name, 2)
    parts: list[Part] = []
    for stripe in range(stripes):
        for operator in range(operators):
            ahead = operators - 1 - operator
            start = 8 * stripe + ahead if stripe else 0
            end = size if stripe == stripes - 1 else 8 * (stripe + 1) + ahead
            parts.append(part_of(operator, {2: (start, end)}))
    program = lower_schedule(graph.finish(), Schedule("mine", (*parts, Part(operators))))
    target = uncapacitated(10 * operators * 8 * size)
    fast = replace(target.tiers[0], capacity_bytes=16 * 8 * operators)
    target = replace(target, tiers=(fast, target.tiers[1]))
    return run_solver("greedy", Problem(program, target)).plan


def uncapacitated(size: int) -> Target:
    """The target of the small plans with enough dram."""
    sram, dram = ANY.tiers
    return replace(ANY, tiers=(sram, replace(dram, capacity_bytes=size + 1024)))
