"""How work divides: the parts of an operator together have its multiply-accumulates."""

import pytest

from tests.support.onnx_models import const, imported, model, node, weight
from tests.support.reach_cases import CASES, ReachCase
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.lowering.part_work import part_work

WITH_PRODUCTS = [
    case
    for case in CASES
    if any(o.gemms for o in import_model(case.proto(), ImportOptions(), case.name).operators)
]


def parts_of(graph: Graph, operator: Operator, axis: int, length: int) -> tuple[int, int]:
    """MACs of the two halves of an operator along an axis: of its products, of its loop nests."""
    half = length // 2
    works = [part_work(graph, operator, {axis: part}) for part in ((0, half), (half, length))]
    nests = [nest for work in works for nest in work.nests if nest.is_mac]
    return sum(work.macs for work in works), sum(nest.visits for nest in nests)


@pytest.mark.parametrize("case", WITH_PRODUCTS, ids=lambda c: c.name)
def test_halves_have_the_macs_of_the_whole(case: ReachCase) -> None:
    graph = import_model(case.proto(), ImportOptions(), case.name)
    (operator,) = (o for o in graph.operators if o.gemms)
    assert operator.reach is not None
    assert operator.macs
    shape = graph.values[operator.outputs[0]].shape
    # A transposed convolution is charged by input pixels, of which halves of the result round up:
    # all of them as one product, rows or columns of a loop nest.
    rounding = (1.2, 1.5) if operator.kind == "ConvTranspose" else (1.0, 1.0)
    for axis, label in enumerate(operator.reach.axes):
        if label != "none" and shape[axis] > 1:
            assert label != "elements"
            halves = parts_of(graph, operator, axis, shape[axis])
            for macs, most in zip(halves, rounding, strict=True):
                assert operator.macs <= macs <= most * operator.macs, (axis, label)
    if operator.reach.reduction > 1:
        assert parts_of(graph, operator, REDUCTION, operator.reach.reduction) == (
            operator.macs,
            operator.macs,
        )


def test_channels_of_groups_divide_the_count_others_the_columns() -> None:
    def labels(groups: int) -> tuple[str, ...]:
        kernel = weight("w", (6, 6 // groups, 3, 3))
        nodes = [node("Conv", "x w", "y", group=groups)]
        graph = imported(model(nodes, {"x": (1, 6, 8, 8)}, "y", [kernel]))
        assert graph.operators[0].reach is not None
        return graph.operators[0].reach.axes

    assert labels(1) == ("m", "n", "m", "m")
    assert labels(2) == labels(6) == ("m", "count", "m", "m")


def test_very_long_axes_have_no_tables() -> None:
    long = 100_000
    cases = {
        "conv": (node("Conv", "x w", "y", dilations=[5], pads=[5, 5]), (-5, 6)),
        "transposed": (node("ConvTranspose", "x w", "y", dilations=[5]), (0, long)),
        "tile": (node("Tile", "x r", "y"), (0, long)),
    }
    constants = [weight("w", (2, 2, 3)), const("r", [1, 1, 2])]
    for name, (proto, (low, high)) in cases.items():
        graph = imported(model([proto], {"x": (1, 2, long)}, "y", constants))
        reach = graph.operators[0].reach
        assert reach is not None, name
        shapes = {n: graph.values[n].shape for n in graph.operators[0].inputs}
        (box,) = reach.boxes({2: (0, 1)}, shapes)["x"]
        assert box[2] == (max(0, low), high), name
        assert not any(m is not None and m.table for entry in reach.inputs for m in entry.axes)


@pytest.mark.parametrize("policy", ["int8", "float16"])
def test_a_data_type_policy_changes_nothing(policy: str) -> None:
    for case in CASES[:12]:
        as_is, planned = (
            import_model(case.proto(), ImportOptions(dtype=dtype), case.name)
            for dtype in (None, policy)
        )
        assert [o.reach for o in as_is.operators] == [o.reach for o in planned.operators]
