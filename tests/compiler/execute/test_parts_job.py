"""Plans in parts, executed: bit-exact where the reach is right, and not where it is too small."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.onnx_models import MICROSOFT, const, info, model, node, parsed
from tests.support.tiled import random_schedule
from tests.support.tiled_models import residual_network, saved
from ullage.compiler.common.errors import ModelError, VerificationError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.runner import RunOptions, run_plan
from ullage.compiler.importer import build
from ullage.compiler.importer.build import Imported, ImportOptions, import_model
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.reach import REDUCTION, AxisMap, InputReach
from ullage.compiler.ir.schedule import Part, Schedule, part_of
from ullage.compiler.lowering.tiling.cut import cut_output


def graph_of(path: Path) -> Graph:
    return import_model(path, ImportOptions())


def plan_of(path: Path, schedule: Schedule, memory_bytes: int) -> Plan:
    options = CompileOptions(
        schedule=schedule, solver="greedy", fast_memory_bytes=memory_bytes, fuse=True
    )
    return compile_model(path, options).plan


@pytest.mark.parametrize("seed", range(6))
def test_random_parts_give_the_result_of_the_whole(seed: int, tmp_path: Path) -> None:
    path = saved(residual_network(seed), tmp_path)
    graph = graph_of(path)
    assert all(operator.reach is not None for operator in graph.operators)
    rng = Random(seed)
    schedule = random_schedule(rng, graph)
    plan = plan_of(path, schedule, rng.choice((2048, 8192, 65536)))
    assert any(step.ranges for step in plan.problem.steps)
    execution = run_plan(path, plan, RunOptions(seed=seed, inferences=2))
    sums = any(r.axis == REDUCTION for part in schedule.parts for r in part.ranges)
    assert all(check.passed and (sums or check.bit_exact) for check in execution.outputs)


def test_a_run_in_part_shows_what_a_part_left(tmp_path: Path) -> None:
    path = saved(residual_network(), tmp_path)
    graph = graph_of(path)
    rows = graph.values[graph.operators[0].outputs[0]].shape[2]
    halves = [part_of(0, {2: (0, rows // 2)}), part_of(0, {2: (rows // 2, rows)})]
    rest = [Part(index) for index in range(1, len(graph.operators))]
    plan = plan_of(path, Schedule("mine", (*halves, *rest)), 65536)
    until = next(t for t, step in enumerate(plan.problem.steps) if step.operator == 1) + 1
    assert run_plan(path, plan, RunOptions(until=until)).passed


def test_a_run_stops_within_operators_of_which_parts_are_made_or_gone(tmp_path: Path) -> None:
    path = saved(residual_network(1), tmp_path)
    plan = plan_of(path, random_schedule(Random(1), graph_of(path)), 8192)
    steps = plan.problem.steps
    assert any(step.ranges for step in steps)
    for until in range(1, len(steps)):
        assert run_plan(path, plan, RunOptions(seed=1, until=until)).passed, until


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


def test_a_reach_that_is_too_small_is_refused_when_it_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    with pytest.raises(VerificationError, match=r"needs .* elements of x that it does not read"):
        plan_of(path, schedule, 65536)


SUMS = {
    "Conv": "g (float[1,6,7,5] x) => (float y) { c = Conv<pads=[1,1,1,1]>(x, w, b) y = Relu(c) }",
    "ConvTranspose": "g (float[1,6,5,4] x) => (float y) "
    "{ y = ConvTranspose<strides=[2,2]>(x, w, b) }",
    "MatMul": "g (float[2,4,6] x) => (float y) { m = MatMul(x, w) y = Sigmoid(m) }",
    "product": "g (float[2,4,6] x, float[2,6,3] z) => (float y) { y = MatMul(x, z) }",
    "Gemm": "g (float[6,4] x) => (float y) { y = Gemm<transA=1, alpha=0.5, beta=2.0>(x, w, b) }",
    "Einsum": 'g (float[4,6] x) => (float y) { y = Einsum<equation="ik,kj->ij">(x, w) }',
    "GlobalAveragePool": "g (float[1,3,6,5] x) => (float y) { y = GlobalAveragePool(x) }",
    "ReduceMean": "g (float[1,3,6,5] x) => (float y) <int64[2] a = {2, 3}> "
    "{ m = ReduceMean(x, a) y = Sigmoid(m) }",
    "ReduceSum": "g (float[6,3,5] x) => (float y) <int64[1] a = {0}> "
    "{ y = ReduceSum<keepdims=0>(x, a) }",
    "MatMulInteger": "g (uint8[4,6] x) => (int32 y) { y = MatMulInteger(x, w, p, q) }",
    "ConvInteger": "g (uint8[1,6,5,4] x) => (int32 y) { y = ConvInteger(x, w, p) }",
    "QLinearMatMul": "g (uint8[4,6] x) => (uint8 y) { y = QLinearMatMul(x, s, p, w, s, q, r, p) }",
    "QLinearConv": "g (uint8[1,6,5,4] x) => (uint8 y) "
    "{ y = QLinearConv<pads=[1,1,1,1]>(x, s, p, w, s, q, r, p, b) }",
}
SHAPES = {"Conv": (4, 6, 3, 3), "ConvTranspose": (6, 3, 3, 3), "ConvInteger": (4, 6, 2, 2)}
SHAPES |= {"QLinearConv": (4, 6, 3, 3)}


def sum_model(kind: str) -> onnx.ModelProto:
    """A product of a kind with six terms, or channels, to be summed up."""
    proto, rng = parsed(SUMS[kind]), np.random.default_rng(1)
    shape = SHAPES.get(kind, (6, 3))
    whole = "uint8" if kind.endswith("Integer") or kind.startswith("Q") else "float32"
    weights = rng.integers(0, 200, shape) if whole == "uint8" else rng.standard_normal(shape)
    bias = (
        rng.integers(-99, 99, shape[0])
        if whole == "uint8"
        else rng.standard_normal(shape[1] if kind in ("ConvTranspose", "Gemm") else shape[0])
    )
    constants = [const("w", weights, whole), const("b", bias, {"uint8": "int32"}.get(whole, whole))]
    constants += [const("p", 7, "uint8"), const("q", 3, "uint8")]
    constants += [const("s", 0.25, "float32"), const("r", 9.0, "float32")]
    read = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(c for c in constants if c.name in read)
    return proto


@pytest.mark.parametrize("kind", SUMS)
def test_sums_in_parts_are_executed(kind: str, tmp_path: Path) -> None:
    path = saved(sum_model(kind), tmp_path)
    schedule = cut_output(graph_of(path), "y", {1: 2, REDUCTION: [1, 4, 6]})
    plan = plan_of(path, schedule, 4096)
    starts = {r.start for step in plan.problem.steps for r in step.ranges if r.axis == REDUCTION}
    assert starts == {0, 1, 4}
    (check,) = run_plan(path, plan).outputs
    assert check.passed
    assert check.bit_exact or kind not in ("MatMulInteger", "ConvInteger", "QLinearConv")


def test_means_of_integers_are_refused_by_name(tmp_path: Path) -> None:
    proto = parsed("g (int32[6,3] x) => (int32 y) <int64[1] a = {0}> { y = ReduceMean(x, a) }")
    path = saved(proto, tmp_path)
    plan = plan_of(path, cut_output(graph_of(path), "y", {REDUCTION: 3}), 4096)
    with pytest.raises(ModelError, match="not executed for ReduceMean"):
        run_plan(path, plan)


def test_sums_that_have_no_kernel_are_refused_by_name(tmp_path: Path) -> None:
    fused = node("FusedConv", "x w", "y", domain=MICROSOFT, activation="Relu")
    border = {"x": (1, 6, 7, 5)}, [info("y", (1, 2, 5, 3))]
    path = saved(model([fused], *border, [const("w", np.ones((2, 6, 3, 3)), "float32")]), tmp_path)
    plan = plan_of(path, cut_output(graph_of(path), "y", {REDUCTION: 3}), 4096)
    with pytest.raises(ModelError, match="not executed for FusedConv"):
        run_plan(path, plan)
