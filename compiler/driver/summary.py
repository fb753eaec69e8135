"""The summary of a compiled plan: what `compile --json` prints (docs/cli.md fixes the keys)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ullage.compiler.common.units import (
    counted,
    fixed,
    format_count,
    format_energy,
    format_size,
    format_time,
    objective_text,
)
from ullage.compiler.common.visible import visible
from ullage.compiler.driver.cascades import cascades_detail, schedule_name, schedule_texts
from ullage.compiler.driver.recomputation.told import recomputation_of, recompute_texts
from ullage.compiler.driver.result import OPTIMAL_GAP, Compiled
from ullage.compiler.driver.shares import (
    dma_busy,
    dma_busy_by_link,
    fast_memory_occupancy,
    operand_access_text,
    streamed_bytes,
    traffic_by_kind,
    traffic_text,
)
from ullage.compiler.driver.summary_text import (
    beyond_text,
    bound_text,
    change_text,
    claimed_bound_text,
    gap_text,
    percent,
)
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.states.kept import kept_states, state_text
from ullage.solvers.bounds.schedules import TRIVIAL

# Seconds that are shown as 0.00.
SHORT_S = 0.005


def summarise(compiled: Compiled, plan_path: str | None = None) -> dict[str, Any]:
    """The summary of a compiled plan, JSON-serialisable, with units in the names.

    Args:
        compiled: what `compile_model` returned.
        plan_path: where the plan was written, if it was.
    """
    plan, cost = compiled.plan, compiled.score
    is_latency = plan.objective == "latency"
    slow_s = None if compiled.all_slow is None else compiled.all_slow.latency_s
    cascades = cascades_detail(plan, cost, compiled.whole)
    again = recomputation_of(plan)
    summary: dict[str, Any] = {
        "model": plan.model.get("name", plan.problem.name),
        "target": plan.target.name,
        "solver": compiled.requested_solver,
        "objective": plan.objective,
        "order": plan.program.order,
        "schedule": schedule_name(plan),
        "seed": plan.seed,
        "steady_state": plan.problem.steady_state,
        "status": "optimal" if compiled.is_optimal else "feasible",
        "latency_s": cost.latency_s,
        "compute_s": cost.compute_s,
        "all_slow_latency_s": slow_s,
        "estimates": None if compiled.estimates is None else list(compiled.estimates),
        "speedup_over_all_slow": None if slow_s is None else _ratio(slow_s, cost.latency_s),
        "simulated_latency_s": compiled.simulation.latency_s,
        "simulated_over_model": _ratio(compiled.simulation.latency_s, cost.latency_s),
        "inferences_per_s": _ratio(1.0, cost.latency_s),
        "value": compiled.value,
        "lower_bound": compiled.bound.value,
        "lower_bound_s": compiled.bound.value if is_latency else None,
        "gap": compiled.gap,
        "bound_source": compiled.bound.source,
        "bound_every_order": compiled.bound.every_order,
        **_every_schedule(compiled),
        "traffic_bytes": cost.traffic_bytes,
        "compulsory_bytes": cost.compulsory_bytes,
        "noncompulsory_bytes": cost.noncompulsory_bytes,
        "traffic_by_kind_bytes": traffic_by_kind(plan),
        "streamed_bytes": streamed_bytes(cost),
        "dma_busy": dma_busy(cost),
        "dma_busy_by_link": dma_busy_by_link(cost),
        "fast_memory_occupancy": fast_memory_occupancy(plan, cost),
        "energy_j": cost.energy_j,
        "peak_bytes": cost.peak_bytes,
        "load_bytes": cost.load_bytes,
        "fast_memory_bytes": plan.target.fastest.capacity_bytes,
        "fits_chip": not plan.shortfall,
        "chip_fast_memory_bytes": _there(plan),
        "operators": plan.program.operators,
        "parts": plan.program.parts,
        "cut_operators": len({step.operator for step in plan.problem.steps if step.ranges}),
        "cascades": sum(len(row["operators"]) > 1 for row in cascades),
        "recomputed_operators": sum(row["recomputed_operators"] for row in cascades)
        + again.operators * (not plan.program.is_cut),
        "recomputed_steps": again.steps,
        "recompute_s": again.compute_s,
        "cascades_detail": cascades,
        "whole_because": compiled.whole_because or None,
        "whole_value": None if compiled.whole is None else compiled.whole.value,
        "whole_slow_bytes": None if compiled.whole is None else compiled.whole.slow_bytes,
        "state": [asdict(state) for state in kept_states(plan)],
        "buffers": len(plan.problem.buffers),
        "slices": len(plan.residencies),
        "transfers": len(plan.transfers),
        "import_s": compiled.import_s,
        "order_s": compiled.order_s,
        "schedule_s": compiled.schedule_s,
        "solve_s": compiled.solve_s,
        "total_s": compiled.total_s,
        "anytime": [list(point) for point in compiled.anytime],
        "verified": True,
        "interrupted": compiled.interrupted,
        "stop_reason": "interrupted" if compiled.interrupted else compiled.stop_reason,
        "solver_options": dict(plan.options),
        "statistics": dict(plan.statistics),
        "claimed_bound": plan.claimed_bound,
        "claimed_by": plan.claimed_by or None,
        "notes": list(plan.notes),
        "fallbacks": list(compiled.fallbacks),
        "plan": plan_path,
    }
    if compiled.secondary is not None:
        summary["then"] = asdict(compiled.secondary)
    if compiled.limit is not None:
        summary["slower_by"] = {
            **asdict(compiled.limit),
            "limit_s": compiled.limit.limit_s,
            "slower": cost.latency_s / compiled.limit.best_latency_s - 1
            if compiled.limit.best_latency_s
            else 0.0,
            "kept": cost.latency_s <= compiled.limit.limit_s,
        }
    if plan.solver != compiled.requested_solver:
        summary["chosen_solver"] = plan.solver
    return summary


def _every_schedule(compiled: Compiled) -> dict[str, Any]:
    """The bounds over all schedules, and over all repetitions; null where there is none."""
    again = compiled.repetitions_bound
    bounds, gap = compiled.schedule_bounds, compiled.gap_any_schedule
    free = None if bounds is None or bounds.any_schedule.source == TRIVIAL else bounds.any_schedule
    return {
        "lower_bound_any_schedule": None if free is None else free.value,
        "lower_bound_any_schedule_source": None if free is None else free.source,
        "lower_bound_any_schedule_missing": compiled.unbounded or None,
        "gap_any_schedule": gap,
        "lower_bound_whole_reductions": None if bounds is None else bounds.whole_reductions.value,
        "optimal_any_schedule": None if free is None else gap is not None and gap <= OPTIMAL_GAP,
        "lower_bound_repetitions": None if again is None else again.value,
        "lower_bound_repetitions_source": None if again is None else again.source,
        "gap_repetitions": compiled.gap_repetitions,
    }


def _there(plan: Plan) -> int:
    """Capacity of the chip's fastest tier in bytes, where a plan of `peak` needs more, too."""
    stated = plan.chip_fast_memory_bytes if plan.shortfall else None
    return plan.target.fastest.capacity_bytes if stated is None else stated


def _ratio(a: float, b: float) -> float | None:
    return a / b if b > 0 else None


def time_by_binding(compiled: Compiled) -> Mapping[str, float]:
    """Seconds of the latency by what binds the step (`compute`, a tier, a link), largest first."""
    from ullage.hwmodels.cost import bottleneck

    seconds_by_binding: dict[str, float] = {}
    for name, seconds in zip(
        bottleneck(compiled.score), compiled.score.elapsed_s.tolist(), strict=True
    ):
        if seconds > 0:
            seconds_by_binding[name] = seconds_by_binding.get(name, 0.0) + seconds
    return dict(sorted(seconds_by_binding.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class TierPeak:
    """Where a tier holds the most live bytes (workspace not counted).

    Attributes:
        step: the first such step.
        size_bytes: live bytes there.
        residents: (buffer, bytes) pairs, the largest first.
    """

    step: int
    size_bytes: int
    residents: tuple[tuple[int, int], ...]


def peak_residents(plan: Plan, tier: str) -> TierPeak:
    """The peak of a tier and what it is made of."""
    held = [r for r in plan.residencies if r.tier == tier]
    change = np.zeros(len(plan.problem.steps) + 1, dtype=np.int64)
    for r in held:
        change[r.start] += r.end_byte - r.start_byte
        change[r.end] -= r.end_byte - r.start_byte
    live = change.cumsum()
    step = int(live.argmax())
    residents: dict[int, int] = {}
    for r in held:
        if r.start <= step < r.end:
            residents[r.buffer] = residents.get(r.buffer, 0) + r.end_byte - r.start_byte
    largest_first = sorted(residents.items(), key=lambda item: (-item[1], item[0]))
    return TierPeak(step, int(live[step]), tuple(largest_first))


def _estimate(compiled: Compiled) -> list[tuple[str, str]]:
    """A row where times follow from figures of low confidence."""
    if not compiled.estimates:
        return []
    text = (
        f"times follow from {counted(len(compiled.estimates), 'figure')} of low confidence "
        f"(ullage targets show {visible(compiled.plan.target.name)})"
    )
    return [("estimate", text)]


def summary_rows(compiled: Compiled, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, text) rows for people: the terminal and the report show the same.

    Args:
        compiled: what `compile_model` returned.
        summary: what `summarise` returned for it.
    """
    cost, plan = compiled.score, compiled.plan
    traffic = cost.compulsory_bytes + cost.noncompulsory_bytes
    beyond = beyond_text(
        steady_state=plan.problem.steady_state, several_links=plan.target.dma_steps.at_ends > 1
    )
    rows = [
        (
            "latency",
            f"{format_time(cost.latency_s)}  compute alone {format_time(cost.compute_s)}, "
            f"event-driven replay {format_time(compiled.simulation.latency_s)}",
        ),
        *_estimate(compiled),
        ("throughput", _throughput(plan, summary)),
        ("against all-slow", _against_all_slow(compiled, summary)),
        (
            "lower bound",
            f"{bound_text(compiled.bound, plan.objective, in_parts=plan.program.is_scheduled)}: "
            f"gap {gap_text(compiled.gap)} ({summary['status']})",
        ),
        *_repetitions_bound(compiled),
        *_schedule_bounds(compiled),
        *_claim(compiled),
        *_then(compiled),
        *_limit(compiled),
        *_schedule(compiled, summary),
        ("state", state_text(plan)),
        ("steps bound by", _shares(time_by_binding(compiled), cost.latency_s)),
        (
            "slow traffic",
            f"{format_size(traffic)}, of which {format_size(cost.noncompulsory_bytes)} "
            f"({percent(cost.noncompulsory_bytes, traffic)}) {beyond}",
        ),
        ("", traffic_text(summary["traffic_by_kind_bytes"]) if traffic else ""),
        ("", ", ".join(f"{k} {format_size(v)}" for k, v in cost.traffic_bytes.items() if v)),
        ("operands", _operands(plan, summary["streamed_bytes"], traffic)),
        ("energy", format_energy(cost.energy_j)),
    ]
    if plan.shortfall:
        rows.append(("does not fit", plan.shortfall))
    for tier in plan.target.tiers:
        peak, load = cost.peak_bytes[tier.name], cost.load_bytes[tier.name]
        there = _there(plan) if tier.name == plan.target.fastest.name else tier.capacity_bytes
        rows.append(
            (
                f"{tier.name} peak",
                f"{format_size(peak)} of {format_size(there)} "
                f"({percent(peak, there)}), live {format_size(load)}, "
                f"fragmentation {format_size(peak - load)}",
            )
        )
    rows.append(
        (
            "plan",
            f"{counted(summary['slices'], 'residency', 'residencies')}, "
            f"{counted(summary['transfers'], 'transfer')}, verified; "
            f"import {compiled.import_s:.2f} s, {_order_time(compiled)}"
            f"solve {compiled.solve_s:.2f} s, "
            f"total {compiled.total_s:.2f} s",
        )
    )
    return [row for row in rows if row[1]]


def _order_time(compiled: Compiled) -> str:
    """The time that choosing order and schedule took; empty where both were given."""
    order = schedule = ""
    if compiled.plan.program.order != "model" or compiled.order_s >= SHORT_S:
        order = f"order {compiled.order_s:.2f} s, "
    if compiled.schedule_s >= SHORT_S:
        schedule = f"schedule {compiled.schedule_s:.2f} s, "
    return order + schedule


def _schedule(compiled: Compiled, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows of a schedule that cuts operators, or why none does."""
    if compiled.whole_because:
        return [("schedule", f"whole operators: {compiled.whole_because}")]
    slow_bytes = sum(compiled.score.traffic_bytes.values())
    rows = summary["cascades_detail"]
    if not rows:
        texts = recompute_texts(compiled.plan, slow_bytes, compiled.whole)
    else:
        texts = schedule_texts(compiled.plan, rows, slow_bytes, compiled.whole)
    return [("" if number else "schedule", text) for number, text in enumerate(texts)]


def _throughput(plan: Plan, summary: Mapping[str, Any]) -> str:
    """Inferences per second, and how busy DMA and how full the fastest tier are meanwhile."""
    rate = summary["inferences_per_s"]
    per_second = "no time is spent" if rate is None else f"{format_count(rate)} inferences/s"
    full = f"{plan.target.fastest.name} {percent(summary['fast_memory_occupancy'], 1.0)} full"
    return f"{per_second}; DMA busy {percent(summary['dma_busy'], 1.0)}, {full} (mean)"


def _operands(plan: Plan, streamed: int, traffic: int) -> str:
    """Where the compute unit may read operands, and how much of the slow traffic it so reads."""
    access = operand_access_text(plan.target)
    if not traffic:
        return access
    return f"{access}: {format_size(streamed)} of {format_size(traffic)} is read in place"


def _against_all_slow(compiled: Compiled, summary: Mapping[str, Any]) -> str:
    if compiled.all_slow is None:
        return "impossible: the home tiers are too small to hold everything"
    times = fixed(summary["speedup_over_all_slow"] or 1, 2)
    target = compiled.plan.target
    how = "everything in its home tier"
    if all(target.must_be_fastest(kind) for kind in target.homes):
        how = "every operand fetched for each use"
    if compiled.plan.problem.program.is_cut:
        how += ", in these parts"
    slow = f"{format_time(compiled.all_slow.latency_s)} with {how}"
    if times == "1.00":
        return f"as fast as {slow}"
    return f"{times}x faster than {slow}" if float(times) > 1 else f"slower than {slow}: {times}x"


def _shares(seconds_by_binding: Mapping[str, float], total: float) -> str:
    shares = ", ".join(
        f"{name} {percent(seconds, total)}" for name, seconds in seconds_by_binding.items()
    )
    return f"{shares} of latency" if shares else ""


def _then(compiled: Compiled) -> list[tuple[str, str]]:
    """The row of a second objective, empty where there is none."""
    told = compiled.secondary
    if told is None:
        return []
    before, after = (objective_text(v, told.objective) for v in (told.before, told.after))
    above = compiled.value / told.first_before - 1 if told.first_before else 0.0
    text = (
        f"{before} before, {after} now, for {change_text(above)} of {compiled.plan.objective} "
        f"({percent(told.within, 1.0)} allowed)"
    )
    return [(f"then {told.objective}", text)]


def _limit(compiled: Compiled) -> list[tuple[str, str]]:
    """The row of a limit of the latency, empty where there is none."""
    limit = compiled.limit
    if limit is None:
        return []
    fast = compiled.plan.target.fastest.name
    above = compiled.score.latency_s / limit.best_latency_s - 1 if limit.best_latency_s else 0.0
    best = f"the best plan with all of {fast} ({format_time(limit.best_latency_s)})"
    if limit.surpassed_s is not None:
        which = "this plan itself" if above == 0 else "the fastest plan found"
        best = (
            f"{which} ({format_time(limit.best_latency_s)}; the search for the best "
            f"latency ended with {format_time(limit.surpassed_s)})"
        )
    text = (
        f"{format_time(limit.limit_s)}, {percent(limit.slower_by, 1.0)} above {best}: kept, "
        f"{change_text(above)}"
    )
    return [("latency limit", text)]


def _schedule_bounds(compiled: Compiled) -> list[tuple[str, str]]:
    """The row of the bound over all schedules, or why there is none; empty if nobody asked."""
    bounds = compiled.schedule_bounds
    if bounds is None:
        missing = f"no bound: {compiled.unbounded}" if compiled.unbounded else ""
        return [("every schedule", missing)]
    free, whole = bounds.any_schedule, bounds.whole_reductions
    objective = compiled.plan.objective
    least = f"{objective_text(whole.value, objective)} where sums are finished in one step"
    if free.source == TRIVIAL:
        return [("every schedule", f"{least}, for any order and parts, proven by {whole.source}")]
    text = (
        f"{objective_text(free.value, objective)} for any order and any parts, proven by "
        f"{free.source}: gap {gap_text(compiled.gap_any_schedule)}"
    )
    if whole.value > free.value:
        text += f"; {least}"
    return [("every schedule", text)]


def _repetitions_bound(compiled: Compiled) -> list[tuple[str, str]]:
    """The row of the bound over all repetitions of the order, empty where there is none."""
    bound = compiled.repetitions_bound
    if bound is None:
        return []
    text = (
        f"{objective_text(bound.value, compiled.plan.objective)} for this order, whichever "
        f"operators run again, proven by {bound.source}: gap {gap_text(compiled.gap_repetitions)}"
    )
    return [("every repetition", text)]


def _claim(compiled: Compiled) -> list[tuple[str, str]]:
    """The row of a bound that a file or a third party claims, empty where there is none."""
    claim = claimed_bound_text(compiled.plan)
    return [("claimed bound", claim)] if claim else []
