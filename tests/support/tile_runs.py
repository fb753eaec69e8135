"""Schedules in parts planned and executed without the driver, which reads a target each time."""

import time
from dataclasses import replace
from functools import cache
from pathlib import Path

from ullage.compiler.execute.runner import Execution, run_plan
from ullage.compiler.frontend import FrontendOptions, Ordering, in_order
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import NO_PADDING, Padding, Target
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.run import run_solver


def graph_of(path: Path, padding: Padding = NO_PADDING) -> Graph:
    """The graph of a model, its operators fused."""
    return import_model(path, ImportOptions(padding=padding))


@cache
def _target() -> Target:
    return load_target("edge-npu", {})


def planned(
    path: Path,
    schedule: Schedule,
    memory_bytes: int = 4096,
    solver: str = "greedy",
    padding: Padding = NO_PADDING,
) -> Plan:
    """A verified plan of a model in a schedule."""
    graph = graph_of(path, padding)
    order = tuple(range(len(graph.operators)))
    target = replace(_target().with_fast_memory(memory_bytes), padding=padding)
    options = FrontendOptions()
    prepared = in_order(
        graph,
        target,
        Ordering(order),
        options,
        path=str(path),
        started=time.monotonic(),
        schedule=schedule,
    )
    return replace(run_solver(solver, prepared.problem).plan, model=prepared.model)


def executed(path: Path, schedule: Schedule, memory_bytes: int = 4096) -> Execution:
    """What a model gives when it is planned in a schedule and run by the plan."""
    return run_plan(path, planned(path, schedule, memory_bytes))
