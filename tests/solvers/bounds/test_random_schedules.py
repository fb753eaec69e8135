"""Bounds over all schedules of random models, against plans of random schedules of them."""

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest

from tests.support.onnx_models import const, model, node
from tests.support.random_models import RandomModel
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.lowering.tiling.cut import cut_output
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.bounds.network import network_of
from ullage.solvers.bounds.schedules import schedule_bounds
from ullage.solvers.run import run_solver

NEAR = 1e-9


def chip(rng: Random) -> Target:
    """A chip of which memory or computing is scarce, or both."""
    chosen = load_target("edge-npu").with_fast_memory(rng.choice((256, 512, 1024, 4096)))
    slower = rng.choice((1.0, 10.0, 100.0))
    compute = replace(
        chosen.compute,
        macs_per_s={kind: rate / slower for kind, rate in chosen.compute.macs_per_s.items()},
        vector_elements_per_s=chosen.compute.vector_elements_per_s / slower,
        overhead_s=0.0,
    )
    return replace(chosen, compute=compute)


def schedules(made: RandomModel, graph: Graph) -> list[Schedule]:
    """Whole operators, and parts of the last output with halos that are kept and made again."""
    found = [Schedule.whole(range(len(graph.operators)))]
    last = next((o for o in graph.operators if made.last in o.outputs), None)
    tiles = made.tiles(last) if last else {}
    if tiles:
        found += [cut_output(graph, made.last, tiles, halo=h) for h in ("kept", "recomputed")]
    return found


@pytest.mark.wide(1)
@pytest.mark.parametrize("first", range(0, 120, 40))
def test_no_plan_of_a_random_schedule_is_below_the_bounds(first: int, tmp_path: Path) -> None:
    sources: set[str] = set()
    nearest = 0.0
    for seed in range(first, first + 40):
        made = RandomModel(seed)
        if not made.nodes:
            continue
        path = tmp_path / "random.onnx"
        onnx.save(made.proto(), path)
        graph = import_model(path, ImportOptions(dtype="int8"))
        rng = Random(seed)
        target = chip(rng)
        bounds = schedule_bounds(graph, target)
        if bounds is None:
            continue
        sources.add(bounds.any_schedule.source)
        assert bounds.any_schedule.value <= bounds.whole_reductions.value
        for schedule in schedules(made, graph):
            program = lower_schedule(graph, schedule, dma_steps=target.dma_steps)
            for solver in ("greedy", "fluid"):
                latency_s = run_solver(solver, Problem(program, target)).value
                assert latency_s >= bounds.any_schedule.value * (1 - NEAR), (seed, solver)
                nearest = max(nearest, bounds.any_schedule.value / latency_s)
    assert len(sources) > 1
    assert nearest > 0.9


def joined_outputs() -> onnx.ModelProto:
    """Two results that are views of each other, and one that is a part of a third."""
    return model(
        [
            node("Tanh", "x", "a"),
            node("Reshape", "a shape", "b"),
            node("Sigmoid", "x", "c"),
            node("Concat", "a c", "d", axis=1),
        ],
        {"x": (1, 600)},
        "a b d",
        [const("shape", np.array([600], dtype=np.int64))],
    )


def test_results_that_share_bytes_are_stored_once() -> None:
    graph = import_model(joined_outputs(), ImportOptions(dtype="int8"))
    target = load_target("edge-npu").with_fast_memory(4096)
    bounds = schedule_bounds(graph, target)
    assert bounds is not None
    stored = network_of(graph, target).is_stored
    assert {name for name, s in zip(graph.values, stored, strict=True) if s} == {"a"}
    whole = lower_schedule(graph, Schedule.whole(range(4)), dma_steps=target.dma_steps)
    plan_s = run_solver("fluid", Problem(whole, target)).value
    assert bounds.any_schedule.value <= plan_s * (1 + NEAR)
