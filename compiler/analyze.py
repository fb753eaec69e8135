"""What a model needs, before any solver: sizes, peaks, work, and what was costed by a guess."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ullage.compiler.graph import Graph
from ullage.compiler.lifetimes import build_problem
from ullage.compiler.order import memory_order, model_order
from ullage.compiler.pipeline import Prepared, alias_options
from ullage.compiler.problem import Problem
from ullage.hwmodels.bound import order_free_bound
from ullage.hwmodels.cost import compute_seconds


@dataclass(frozen=True)
class Peak:
    """The largest sum of live bytes over the steps of a problem, and who is alive there."""

    size_bytes: int
    step: int
    residents: tuple[tuple[str, int], ...]


def live_peak(problem: Problem) -> Peak:
    """Peak of live non-weight bytes (inputs from the start, outputs to the end), with residents.

    Liveness is per byte range: from the first write (the start for inputs) to the last use.
    """
    steps = len(problem.steps)
    change = [0] * (steps + 1)
    spans: list[tuple[int, int, int, str]] = []
    for index, buffer in enumerate(problem.buffers):
        if buffer.kind == "weight":
            continue
        for low, high, begin, end in _live_ranges(problem, index):
            change[begin] += high - low
            change[end] -= high - low
            spans.append((begin, end, high - low, buffer.name))
    for t, step in enumerate(problem.steps):
        change[t] += step.workspace_bytes
        change[t + 1] -= step.workspace_bytes
    live, best, where = 0, -1, 0
    for t in range(steps):
        live += change[t]
        if live > best:
            best, where = live, t
    here: dict[str, int] = {}
    for begin, end, size, name in spans:
        if begin <= where < end:
            here[name] = here.get(name, 0) + size
    residents = tuple(sorted(here.items(), key=lambda item: -item[1]))
    return Peak(max(best, 0), where, residents)


def _live_ranges(problem: Problem, index: int) -> list[tuple[int, int, int, int]]:
    """(low, high, first step, one past the last step) for each range with uses of its own."""
    buffer, uses = problem.buffers[index], problem.uses_of[index]
    steps = len(problem.steps)
    cuts = {0, buffer.size_bytes}
    for _, use in uses:
        cuts.update((use.start_byte, use.end_byte))
    for low, high in buffer.outputs:
        cuts.update((low, high))
    edges = sorted(cuts)
    found: list[tuple[int, int, int, int]] = []
    for low, high in pairwise(edges):
        touching = [t for t, u in uses if u.start_byte < high and low < u.end_byte]
        is_output = any(a < high and low < b for a, b in buffer.outputs)
        if not touching and not is_output:
            continue
        begin = 0 if buffer.kind == "input" else min(touching, default=0)
        end = steps if is_output else max(touching) + 1
        found.append((low, high, begin, end))
    return found


def analyse(prepared: Prepared) -> dict[str, Any]:
    """The figures of `ullage analyze --json` (keys are a contract)."""
    graph, target = prepared.graph, prepared.target
    orders = {"model": model_order(graph), "memory": memory_order(graph)}
    peaks = {name: live_peak(_problem(prepared, order)) for name, order in orders.items()}
    best = min(peaks, key=lambda name: peaks[name].size_bytes)
    operand_bound = order_free_bound(prepared.problem, target, "peak")
    compute, notes = compute_seconds(prepared.problem, target)
    sizes = {"weight": 0, "activation": 0, "input": 0, "output": 0}
    for value in graph.values.values():
        sizes[value.kind] += value.size_bytes
    largest = max(graph.values.values(), key=lambda v: v.size_bytes)
    tensors = [v for v in graph.values.values() if v.kind != "weight"]
    return {
        "model": graph.name,
        "target": target.name,
        "operators": prepared.problem.operators,
        "buffers": len(prepared.problem.buffers),
        "tensors": len(tensors),
        "weights_bytes": sizes["weight"],
        "activations_bytes": sizes["activation"] + sizes["input"] + sizes["output"],
        "inputs_bytes": sizes["input"],
        "outputs_bytes": sum(graph.values[n].size_bytes for n in graph.outputs),
        "largest_tensor_bytes": largest.size_bytes,
        "largest_tensor": largest.name,
        "max_operator_bytes": max_operator_bytes(graph),
        "peak_live_bytes": peaks["model"].size_bytes,
        "min_peak_bytes": peaks[best].size_bytes,
        "min_peak_order": best,
        "min_peak_lower_bound_bytes": round(operand_bound.value),
        "min_peak_bound_source": operand_bound.source,
        "peak_step": peaks[best].step,
        "peak_operator": _problem(prepared, orders[best]).steps[peaks[best].step].name,
        "peak_residents": [{"tensor": name, "bytes": size} for name, size in peaks[best].residents],
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
                    if target.homes[b.kind] == tier.name
                ),
                "fits_weights": sizes["weight"] <= tier.capacity_bytes,
                "fits_peak": peaks[best].size_bytes <= tier.capacity_bytes,
            }
            for tier in target.tiers
        ],
        "unsupported": [
            {"operator": f.operator, "kind": f.kind, "reason": f.reason} for f in graph.fallbacks
        ],
        "notes": list(notes),
        "import_s": prepared.import_s,
    }


def _problem(prepared: Prepared, order: Sequence[int]) -> Problem:
    alias = bool(prepared.model.get("alias", True))
    return build_problem(prepared.graph, order, aliases=alias_options(prepared.target, alias=alias))


def max_operator_bytes(graph: Graph) -> int:
    """COSMA's M_R: largest sum of one operator's activation inputs and outputs (section 5.1)."""
    values = graph.values
    return max(
        sum(values[n].size_bytes for n in {*o.inputs, *o.outputs} if values[n].kind != "weight")
        for o in graph.operators
    )
