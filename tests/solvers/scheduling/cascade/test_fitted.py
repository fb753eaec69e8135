"""Cuts of operators that fit where the compute unit reaches the fastest memory only."""

from random import Random

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.onnx_models import info, model, node
from tests.support.tiled import check_execution, random_tiled_graph
from tests.support.tiled_models import residual_network
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions, alias_options
from ullage.compiler.lowering.parts import lower_schedule
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.fitted import crowded_operators
from ullage.solvers.scheduling.cascade.fitting import grids_that_fit, least_bytes
from ullage.solvers.scheduling.cascade.search import cascade_schedule
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts
from ullage.solvers.scheduling.cascade.valued import SchedulingTask

SPM = load_target("edge-npu-spm")


def task_of(
    graph: Graph, memory_bytes: int, seconds: float = 20.0, chip: Target = SPM
) -> SchedulingTask:
    target = chip.with_fast_memory(memory_bytes)
    order = tuple(range(len(graph.operators)))
    return SchedulingTask(
        graph,
        order,
        target,
        alias_options(target),
        steady_state=False,
        objective="latency",
        seed=0,
        budget=Budget().at_most(seconds),
    )


def product(tokens: int, inner: int, columns: int) -> Graph:
    """One matrix product in int8."""
    weights = np.zeros((inner, columns), dtype=np.float32)
    nodes = [node("MatMul", "x w", "y")]
    made: onnx.ModelProto = model(
        nodes,
        [info("x", [tokens, inner])],
        [info("y", [tokens, columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    return import_model(made, ImportOptions(dtype="int8"))


@pytest.mark.parametrize("seed", range(20))
def test_parts_of_grids_compute_the_operator(seed: int) -> None:
    rng = Random(seed)
    graph = random_tiled_graph(rng, operators=4)
    parts = []
    for position, operator in enumerate(graph.operators):
        grids = grids_that_fit(graph, operator, SPM, rng.choice((600, 1200, 5000)), 1e-6)
        loops = [g.loops for g in grids if REDUCTION not in dict(g.loops)]
        cascade = Cascade(position, position + 1)
        if loops:
            (axis, stripes), *inner = rng.choice(loops)
            cascade = Cascade(position, position + 1, stripes, axis, tuple(inner))
        made = cascade_parts(graph, range(len(graph.operators)), cascade, {})
        assert made is not None
        parts += made
    program = lower_schedule(
        graph, Schedule("grids", tuple(parts)), aliases=AliasOptions(alignment_bytes=1)
    )
    check_execution(graph, program)


@pytest.mark.parametrize("memory_bytes", [12 << 10, 40 << 10])
def test_estimated_bytes_are_those_of_the_steps(memory_bytes: int) -> None:
    graph = product(64, 768, 256)
    (operator,) = graph.operators
    grids = grids_that_fit(graph, operator, SPM, memory_bytes, 1e-6)
    assert len(grids) > 1
    for grid in grids:
        (axis, stripes), *inner = grid.loops
        made = cascade_parts(graph, (0,), Cascade(0, 1, stripes, axis, tuple(inner)), {})
        assert made is not None
        assert len(made) == grid.parts
        program = lower_schedule(graph, Schedule("grid", tuple(made)))
        steps = [
            sum(end - start for _, start, end in {(u.buffer, u.start_byte, u.end_byte) for u in s})
            for s in (step.uses for step in program.steps)
        ]
        assert max(steps) <= grid.part_bytes <= memory_bytes
        if REDUCTION not in dict(grid.loops):
            assert max(steps) == grid.part_bytes


def test_operators_that_do_not_fit_are_cut_and_planned() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = task_of(graph, 4096)
    whole = task.problem_of(Schedule.whole(task.order))
    assert crowded_operators(whole)
    with pytest.raises(InfeasibleError, match="--schedule cascade"):
        run_solver("fluid", whole)
    found = cascade_schedule(task, tries=4)
    problem = task.problem_of(found.schedule)
    assert not crowded_operators(problem)
    outcome = run_solver("fluid", problem)
    assert outcome.solution.bound is not None
    assert outcome.solution.bound.value <= outcome.value
    assert found.value == pytest.approx(outcome.solution.bound.value, rel=0.02)


def test_weights_that_may_stay_behind_need_no_room() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    chip = load_target("edge-npu", {"operand_access": "fastest"})
    for operator in graph.operators:
        least = least_bytes(graph, operator, chip)
        assert least <= least_bytes(graph, operator, SPM)
    task = task_of(graph, 2048, seconds=0.0, chip=chip)
    assert crowded_operators(task.problem_of(Schedule.whole(task.order)))
    problem = task.problem_of(cascade_schedule(task).schedule)
    assert not crowded_operators(problem)
    run_solver("greedy", problem)


def test_without_time_the_parts_fit_all_the_same() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = task_of(graph, 4096, seconds=0.0)
    found = cascade_schedule(task)
    assert found.value is None
    run_solver("greedy", task.problem_of(found.schedule))


def test_what_cannot_be_cut_until_it_fits_is_infeasible_with_its_bytes() -> None:
    graph = product(64, 768, 256)
    (operator,) = graph.operators
    least = least_bytes(graph, operator, SPM)
    assert least == 1 + 1 + 1 + 4  # of each operand and of the result one element; its sum
    assert not grids_that_fit(graph, operator, SPM, least - 1, 1e-6)
    with pytest.raises(InfeasibleError, match="its smallest part") as raised:
        cascade_schedule(task_of(graph, least - 1))
    details = raised.value.details
    assert (details["needed_bytes"], details["excess_bytes"]) == (least, 1)
    assert details["operator"] == operator.name
