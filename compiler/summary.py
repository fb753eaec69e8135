"""What `compile --json` prints, from a compiled plan (keys are a contract, see docs/cli.md)."""

from collections.abc import Mapping
from typing import Any

from ullage.compiler.pipeline import Compiled


def summarise(compiled: Compiled, plan_path: str | None = None) -> dict[str, Any]:
    """The summary of a compiled plan, JSON-serialisable, with units in the names.

    Args:
        compiled: what `compile_model` returned.
        plan_path: where the plan was written, if it was.
    """
    plan, found = compiled.plan, compiled.score
    is_latency = plan.objective == "latency"
    slow_s = None if compiled.all_slow is None else compiled.all_slow.latency_s
    summary: dict[str, Any] = {
        "model": plan.model.get("name", plan.problem.name),
        "target": plan.target.name,
        "solver": compiled.asked,
        "objective": plan.objective,
        "order": plan.problem.order,
        "seed": plan.seed,
        "steady_state": False,
        "status": "optimal" if compiled.is_optimal else "feasible",
        "latency_s": found.latency_s,
        "compute_s": found.compute_s,
        "all_slow_latency_s": slow_s,
        "speedup_over_all_slow": None if slow_s is None else _ratio(slow_s, found.latency_s),
        "simulated_latency_s": compiled.simulation.latency_s,
        "simulated_over_model": _ratio(compiled.simulation.latency_s, found.latency_s),
        "value": compiled.value,
        "lower_bound": compiled.bound.value,
        "lower_bound_s": compiled.bound.value if is_latency else None,
        "gap": compiled.gap,
        "bound_source": compiled.bound.source,
        "traffic_bytes": found.traffic_bytes,
        "compulsory_bytes": found.compulsory_bytes,
        "noncompulsory_bytes": found.noncompulsory_bytes,
        "energy_j": found.energy_j,
        "peak_bytes": found.peak_bytes,
        "load_bytes": found.load_bytes,
        "fast_memory_bytes": plan.target.fastest.capacity_bytes,
        "operators": plan.problem.operators,
        "buffers": len(plan.problem.buffers),
        "slices": len(plan.residencies),
        "transfers": len(plan.transfers),
        "import_s": compiled.import_s,
        "solve_s": compiled.solve_s,
        "total_s": compiled.total_s,
        "verified": True,
        "interrupted": compiled.interrupted,
        "solver_options": dict(plan.options),
        "notes": list(plan.notes),
        "fallbacks": list(compiled.fallbacks),
        "plan": plan_path,
    }
    if plan.solver != compiled.asked:
        summary["chosen_solver"] = plan.solver
    return summary


def _ratio(a: float, b: float) -> float | None:
    return a / b if b > 0 else None


def time_by_binding(compiled: Compiled) -> Mapping[str, float]:
    """Seconds of the latency by what binds the step (`compute`, a tier, a link), largest first."""
    from ullage.hwmodels.cost import bottleneck

    spent: dict[str, float] = {}
    for name, seconds in zip(
        bottleneck(compiled.score), compiled.score.elapsed_s.tolist(), strict=True
    ):
        if seconds > 0:
            spent[name] = spent.get(name, 0.0) + seconds
    return dict(sorted(spent.items(), key=lambda item: -item[1]))
