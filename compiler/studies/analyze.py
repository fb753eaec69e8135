"""What a model needs, whatever the solver: sizes, peaks, work, operators without a cost rule."""

from collections.abc import Sequence
from typing import Any

from ullage.compiler.frontend import Prepared
from ullage.compiler.importer.reach.barriers import barriers
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.program import Program
from ullage.compiler.lowering.aliases import AliasOptions, alias_options
from ullage.compiler.lowering.live_ranges import live_peak
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.scheduling.peak_order import smallest_peak


def analyse(prepared: Prepared) -> dict[str, Any]:
    """The figures of `ullage analyze --json`, whose keys docs/cli.md fixes."""
    graph, target = prepared.graph, prepared.target
    model_peak = live_peak(_problem(prepared, model_order(graph)))
    smallest = smallest_peak(graph, _aliases(prepared))
    best_problem = _problem(prepared, smallest.order)
    best = live_peak(best_problem)
    compute, notes = compute_seconds(prepared.problem)
    sizes = {"weight": 0, "activation": 0, "input": 0, "output": 0}
    for value in graph.values.values():
        sizes[value.kind] += value.size_bytes
    largest = max(graph.values.values(), key=lambda v: v.size_bytes, default=None)
    tensors = [v for v in graph.values.values() if v.kind != "weight"]
    return {
        "model": graph.name,
        "target": target.name,
        "operators": prepared.problem.program.operators,
        "buffers": len(prepared.problem.buffers),
        "tensors": len(tensors),
        "weights_bytes": sizes["weight"],
        "activations_bytes": sizes["activation"] + sizes["input"] + sizes["output"],
        "inputs_bytes": sizes["input"],
        "outputs_bytes": sum(graph.values[n].size_bytes for n in graph.outputs),
        "largest_tensor_bytes": largest.size_bytes if largest else 0,
        "largest_tensor": largest.name if largest else None,
        "max_operator_bytes": max_operator_bytes(graph),
        "peak_live_bytes": model_peak.size_bytes,
        "min_peak_bytes": smallest.peak_bytes,
        "min_peak_order": "model" if smallest.method == "model" else "memory",
        "min_peak_lower_bound_bytes": smallest.lower_bound_bytes,
        "min_peak_bound_source": smallest.bound_source,
        "min_peak_proven": smallest.is_optimal,
        "min_peak_states": smallest.states,
        "peak_step": best.step,
        "peak_operator": best_problem.steps[best.step].name if best_problem.steps else None,
        "peak_residents": [{"tensor": name, "bytes": size} for name, size in best.residents],
        "macs": sum(o.macs for o in graph.operators),
        "vector_elements": sum(o.vector_elements for o in graph.operators),
        "compute_s": float(compute.sum()),
        "tiers": [
            {
                "tier": tier.name,
                "capacity_bytes": tier.capacity_bytes,
                "home_of": [kind for kind, home in target.homes.items() if home == tier.name],
                "home_bytes": sum(
                    b.size_bytes
                    for b in prepared.problem.buffers
                    if target.home(b.kind).name == tier.name
                ),
                "fits_weights": sizes["weight"] <= tier.capacity_bytes,
                "fits_peak": best.size_bytes <= tier.capacity_bytes,
            }
            for tier in target.tiers
        ],
        "unsupported": [
            {"operator": f.operator, "kind": f.kind, "reason": f.reason} for f in graph.fallbacks
        ],
        "barriers": [
            {"operator": b.operator, "kind": b.kind, "reason": b.reason} for b in barriers(graph)
        ],
        "operators_detail": [
            _operator(graph, index, operator) for index, operator in enumerate(graph.operators)
        ],
        "notes": list(notes),
        "import_s": prepared.import_s,
    }


def _operator(graph: Graph, index: int, operator: Operator) -> dict[str, Any]:
    """An operator as schedules name it: its index, what it makes, and along what it may be cut."""
    reach = operator.reach
    outputs = [{"name": n, "shape": list(graph.values[n].shape)} for n in operator.outputs]
    shape = graph.values[operator.outputs[0]].shape
    axes = () if reach is None else enumerate(zip(shape, reach.axes, strict=True))
    return {
        "operator": index,
        "name": operator.name,
        "kind": operator.kind,
        "outputs": outputs,
        "axes": [axis for axis, (size, how) in axes if size > 1 and how != "none"],
        "k": reach.reduction if reach is not None and reach.reduction > 1 else None,
    }


def _problem(prepared: Prepared, order: Sequence[int]) -> Program:
    return build_program(prepared.graph, order, aliases=_aliases(prepared))


def _aliases(prepared: Prepared) -> AliasOptions:
    return alias_options(prepared.target, alias=bool(prepared.model.get("alias", True)))


def max_operator_bytes(graph: Graph) -> int:
    """COSMA's M_R: largest sum of one operator's activation inputs and outputs (section 5.1)."""
    values = graph.values
    sums = (
        sum(values[n].size_bytes for n in {*o.inputs, *o.outputs} if values[n].kind != "weight")
        for o in graph.operators
    )
    return max(sums, default=0)
