"""Forty public models, where they are at hand: all import, with the published peaks."""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.build import Imported, ImportOptions, import_detailed, import_model
from ullage.compiler.ir.graph import Graph

FOLDER = Path(__file__).parents[3].parent / "shared" / "models"
pytestmark = pytest.mark.skipif(
    not (FOLDER / "index.csv").is_file(), reason="the public model set is not at hand"
)

# Rows whose published peak counts sizes that are computed from the Shape of a tensor of known
# shape, which we fold: (bytes of such tensors alive at the peak).
COUNT_FOLDED = {"llama7b_decode_1024": 32, "tinyllama_1b_decode_512": 56}


@cache
def index() -> Mapping[str, Mapping[str, str]]:
    if not (FOLDER / "index.csv").is_file():
        return {}
    with (FOLDER / "index.csv").open(newline="") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def plain(name: str) -> Imported:
    """A model with every node by itself; symbolic batches are 1."""
    batch = 1 if name == "mobilenet_v2_dyn_batch" else None
    return import_detailed(FOLDER / f"{name}.onnx", ImportOptions(fuse=False, batch=batch))


def peak_bytes(graph: Graph, folded: Mapping[str, tuple[int, int, int]] | None = None) -> int:
    """Largest sum of live bytes in file order, no storage shared, weights excluded.

    Args:
        graph: one operator per node.
        folded: further tensors, name -> (first node, last node, bytes).
    """
    born = dict.fromkeys(graph.inputs, 0)
    dies: dict[str, int] = {}
    last = max(o.nodes[0] for o in graph.operators)
    for operator in graph.operators:
        (at,) = operator.nodes
        dies.update(dict.fromkeys(operator.inputs, at))
        for name in operator.outputs:
            born[name] = at
            dies.setdefault(name, at)
    dies.update(dict.fromkeys(graph.outputs, last))
    live_ranges = [
        (first, dies[name], graph.values[name].size_bytes)
        for name, first in born.items()
        if name in dies and graph.values[name].kind != "weight"
    ]
    change = [0] * (last + 2)
    for first, final, size_bytes in [*live_ranges, *(folded or {}).values()]:
        change[first] += size_bytes
        change[final + 1] -= size_bytes
    live = peak = 0
    for step in change:
        live += step
        peak = max(peak, live)
    return peak


def folded_from_shapes(found: Imported) -> dict[str, tuple[int, int, int]]:
    """Constants that descend from a Shape node: first node, last node, bytes."""
    live_ranges: dict[str, tuple[int, int, int]] = {}
    for at, node in enumerate(found.proto.graph.node):
        parents = [name for name in node.input if name in live_ranges]
        for name in parents:
            first, _, size_bytes = live_ranges[name]
            live_ranges[name] = (first, at, size_bytes)
        if node.op_type == "Shape" or parents:
            for name in node.output:
                if name in found.scope.constants:
                    known = found.scope.types[name]
                    assert known.dtype == "int64"
                    live_ranges[name] = (at, at, 8 * known.elements)
    return live_ranges


@pytest.mark.parametrize("name", sorted(index()))
def test_published_peaks(name: str) -> None:
    found = plain(name)
    graph, row = found.graph, index()[name]
    assert graph.operators
    assert all(v.size_bytes > 0 or 0 in v.shape for v in graph.values.values())
    published = int(row["peak_live_bytes"])
    if int(row["unknown_after_fold"]) > 0:
        assert peak_bytes(graph) > published  # unknown shapes count 0 there, and here they do not
        return
    assert published - peak_bytes(graph) == COUNT_FOLDED.get(name, 0)


@pytest.mark.parametrize("name", sorted(set(COUNT_FOLDED) & set(index())))
def test_what_two_published_peaks_count_besides(name: str) -> None:
    """Slices and Concats of the Shape of a known shape; as activations they fill the difference."""
    found = plain(name)
    folded = folded_from_shapes(found)
    makers = {n: node.op_type for node in found.proto.graph.node for n in node.output}
    assert {makers[n] for n in folded} == {"Shape", "Slice", "Concat"}
    assert all(n not in found.graph.values for n in folded)
    assert peak_bytes(found.graph, folded) == int(index()[name]["peak_live_bytes"])


def test_the_set_is_complete() -> None:
    assert len(index()) == 40


def test_symbolic_models_are_refused_without_a_batch() -> None:
    with pytest.raises(ModelError, match="--dim N=1"):
        import_model(FOLDER / "mobilenet_v2_dyn_batch.onnx")


@pytest.mark.parametrize(
    "name",
    sorted(
        {"mobilenet_v2", "mobilenet_v2_int8_qdq", "randwire_cifar", "lstm_tagger"} & set(index())
    ),
)
def test_fusion_changes_no_work_and_adds_no_memory(name: str) -> None:
    path = FOLDER / f"{name}.onnx"
    apart, fused = plain(name).graph, import_model(path)
    assert sum(o.macs for o in fused.operators) == sum(o.macs for o in apart.operators)
    assert len(fused.operators) < len(apart.operators)
    assert set(fused.values) <= set(apart.values)
    assert fused.outputs == apart.outputs
