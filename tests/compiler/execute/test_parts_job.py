"""Plans in parts, executed: bit-exact where the reach is right, and not where it is too small."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.tiled import random_schedule
from tests.support.tiled_models import residual_network, saved
from ullage.compiler.common.errors import ModelError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute import runner
from ullage.compiler.execute.runner import RunOptions, run_plan
from ullage.compiler.importer import build
from ullage.compiler.importer.build import Imported, ImportOptions, import_model
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.reach import REDUCTION, AxisMap, InputReach
from ullage.compiler.ir.schedule import Part, Schedule, part_of


def graph_of(path: Path) -> Graph:
    return import_model(path, ImportOptions())


def without_cut_sums(schedule: Schedule) -> Schedule:
    """The schedule with operators whole where it cuts their reduction."""
    cut = {p.operator for p in schedule.parts if any(r.axis == REDUCTION for r in p.ranges)}
    parts: list[Part] = []
    for at, part in enumerate(schedule.parts):
        if part.operator not in cut:
            parts.append(part)
        elif all(later.operator != part.operator for later in schedule.parts[at + 1 :]):
            parts.append(Part(part.operator))
    return Schedule(schedule.name, tuple(parts))


def plan_of(path: Path, schedule: Schedule, memory_bytes: int) -> Plan:
    options = CompileOptions(
        schedule=schedule, solver="greedy", fast_memory_bytes=memory_bytes, fuse=True
    )
    return compile_model(path, options).plan


@pytest.mark.parametrize("seed", range(6))
def test_random_parts_are_bit_exact(seed: int, tmp_path: Path) -> None:
    path = saved(residual_network(seed), tmp_path)
    graph = graph_of(path)
    assert all(operator.reach is not None for operator in graph.operators)
    rng = Random(seed)
    schedule = without_cut_sums(random_schedule(rng, graph))
    plan = plan_of(path, schedule, rng.choice((2048, 8192, 65536)))
    assert any(step.ranges for step in plan.problem.steps)
    execution = run_plan(path, plan, RunOptions(seed=seed, inferences=2))
    assert all(check.bit_exact for check in execution.outputs)


def test_a_run_in_part_shows_what_a_part_left(tmp_path: Path) -> None:
    path = saved(residual_network(), tmp_path)
    graph = graph_of(path)
    rows = graph.values[graph.operators[0].outputs[0]].shape[2]
    halves = [part_of(0, {2: (0, rows // 2)}), part_of(0, {2: (rows // 2, rows)})]
    rest = [Part(index) for index in range(1, len(graph.operators))]
    plan = plan_of(path, Schedule("mine", (*halves, *rest)), 65536)
    until = next(t for t, step in enumerate(plan.problem.steps) if step.operator == 1) + 1
    assert run_plan(path, plan, RunOptions(until=until)).passed


def narrowed(operator: Operator) -> Operator:
    """The operator with windows along rows that forget their last tap."""
    assert operator.reach is not None
    entries = []
    for entry in operator.reach.inputs:
        axes = [
            replace(m, last=m.last - 1) if isinstance(m, AxisMap) and m.last > m.first else m
            for m in entry.axes
        ]
        entries.append(InputReach(entry.name, tuple(axes), entry.at_end))
    return replace(operator, reach=replace(operator.reach, inputs=tuple(entries)))


def test_a_reach_that_is_too_small_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(residual_network(), tmp_path)
    graph = graph_of(path)
    rows = graph.values[graph.operators[0].outputs[0]].shape[2]
    cut = [part_of(0, {2: (r, r + 1)}) for r in range(rows)]
    rest = [Part(i) for i in range(1, len(graph.operators))]
    schedule = Schedule("mine", (*cut, *rest))
    plan = plan_of(path, schedule, 65536)
    assert run_plan(path, plan).passed
    detailed = build.import_detailed

    def import_wrong(*arguments: Any, **options: Any) -> Imported:
        read = detailed(*arguments, **options)
        first, *others = read.graph.operators
        return replace(read, graph=replace(read.graph, operators=(narrowed(first), *others)))

    monkeypatch.setattr(build, "import_detailed", import_wrong)
    monkeypatch.setattr(runner, "import_detailed", import_wrong)
    assert not run_plan(path, plan_of(path, schedule, 65536)).passed


def test_sums_in_parts_are_refused_by_name(tmp_path: Path) -> None:
    path = saved(residual_network(), tmp_path)
    graph = graph_of(path)
    index, operator = next(
        (i, o)
        for i, o in enumerate(graph.operators)
        if o.reach is not None and o.reach.reduction > 1
    )
    assert operator.reach is not None
    half = operator.reach.reduction // 2
    sums = [
        part_of(index, {REDUCTION: (0, half)}),
        part_of(index, {REDUCTION: (half, operator.reach.reduction)}),
    ]
    others = [Part(i) for i in range(len(graph.operators))]
    parts = (*others[:index], *sums, *others[index + 1 :])
    plan = plan_of(path, Schedule("mine", parts), 65536)
    with pytest.raises(ModelError, match="sums in several parts"):
        run_plan(path, plan)
