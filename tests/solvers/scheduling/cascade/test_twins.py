"""A move in one layer is made in all layers like it."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.onnx_models import info, model, node
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Program
from ullage.compiler.lowering.lower import build_program
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.twins import with_twins


def chain(layers: int, last_channels: int = 4) -> OrderFacts:
    """Convolutions one after the other, all alike but for the last."""
    channels = [4] * layers + [last_channels]
    nodes, weights = [], []
    for n in range(layers):
        shape = (channels[n + 1], channels[n], 3, 3)
        weights.append(numpy_helper.from_array(np.zeros(shape, np.float32), f"w{n}"))
        nodes.append(node("Conv", f"v{n} w{n}", f"v{n + 1}", pads=[1, 1, 1, 1]))
    made: onnx.ModelProto = model(
        nodes,
        [info("v0", [1, 4, 8, 8])],
        [info(f"v{layers}", [1, last_channels, 8, 8])],
        weights,
    )
    graph: Graph = import_model(made, ImportOptions(dtype="int8"))
    order = tuple(range(len(graph.operators)))
    program: Program = build_program(graph, order)
    return OrderFacts.of(graph, order, Problem(program, load_target("edge-npu-spm")))


def alone(count: int) -> list[Cascade]:
    return [Cascade(p, p + 1) for p in range(count)]


@pytest.mark.parametrize("layers", [6, 7, 8])
def test_what_changes_in_one_layer_changes_in_all(layers: int) -> None:
    facts, old = chain(layers), alone(layers)
    new = [old[0], Cascade(1, 3, 4, 2), *old[3:]]
    twins = with_twins(facts, old, new)
    assert twins is not None
    assert [g.first for g in twins] == [0, *(g.last for g in twins[:-1])]
    assert twins[-1].last == layers
    assert Cascade(3, 5, 4, 2) in twins
    assert Cascade(1, 3, 4, 2) in twins


def test_layers_of_other_forms_stay() -> None:
    facts, old = chain(4, last_channels=5), alone(4)
    new = [*old[:3], Cascade(3, 4, 2, 1)]
    assert with_twins(facts, old, new) is None
    assert with_twins(facts, old, old) is None
