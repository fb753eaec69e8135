"""The cascades of a compiled plan: rows of `cascades_detail`, and texts for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ullage.compiler.common.byte_sets import ByteSet, common
from ullage.compiler.common.units import counted, format_size, objective_text
from ullage.compiler.driver.options import WHOLE
from ullage.compiler.ir.cascades import CascadeSteps, cascade_data, find_cascades
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.cost import Score
from ullage.hwmodels.operator_traffic import OperatorTraffic, operator_traffic


@dataclass(frozen=True)
class WholePlan:
    """The plan of whole operators that a plan in parts was compared with.

    Attributes:
        value: its objective's value, in the objective's unit.
        slow_bytes: its slow traffic.
        cascade_slow_bytes: for each cascade of the plan in parts, in the order of `find_cascades`,
            the slow traffic of the same operators in this plan.
    """

    value: float
    slow_bytes: int
    cascade_slow_bytes: tuple[int, ...]


def whole_plan(value: float, whole: Plan, plan: Plan) -> WholePlan:
    """What is kept of the plan of whole operators, for the cascades of another plan.

    Args:
        value: its objective's value.
        whole: the plan of whole operators.
        plan: the plan in parts, of the same graph.
    """
    traffic = operator_traffic(whole)
    return WholePlan(
        value=value,
        slow_bytes=round(sum(one.size_bytes for one in traffic.values())),
        cascade_slow_bytes=tuple(
            round(_of(traffic, cascade).size_bytes) for cascade in find_cascades(plan.program)
        ),
    )


def cascades_detail(plan: Plan, cost: Score, whole: WholePlan | None) -> list[dict[str, Any]]:
    """Rows of `cascades_detail` (docs/cli.md lists the keys), in step order.

    Args:
        plan: a legal plan.
        cost: its score.
        whole: the plan of whole operators that it was compared with, if any.
    """
    cascades = find_cascades(plan.program)
    if not cascades:
        return []
    traffic = operator_traffic(plan)
    known = whole is not None and len(whole.cascade_slow_bytes) == len(cascades)
    rows: list[dict[str, Any]] = []
    for index, cascade in enumerate(cascades):
        data = cascade_data(plan.program, cascade)
        slow = _of(traffic, cascade)
        before = whole.cascade_slow_bytes[index] if whole is not None and known else None
        rows.append(
            {
                "operators": list(cascade.names),
                "first_step": cascade.first,
                "end_step": cascade.end,
                "parts": len(cascade.steps),
                "stripes": len(cascade.stripes),
                "axes": list(cascade.axes),
                "cut_text": cascade.cut_text,
                "elapsed_s": float(cost.elapsed_s[cascade.first : cascade.end].sum()),
                "between_bytes": data.between_bytes,
                "buffered_bytes": data.buffered_bytes,
                "halo_indices": data.halo_indices,
                "halo_bytes": data.halo_bytes,
                "recomputed_bytes": data.recomputed_bytes,
                "recomputed_operators": len(data.recomputed_operators),
                "weight_bytes": data.weight_bytes,
                "weight_slow_bytes": round(slow.weight_bytes),
                "slow_bytes": round(slow.size_bytes),
                "whole_slow_bytes": before,
                "saved_bytes": None if before is None else before - round(slow.size_bytes),
            }
        )
    return rows


def _of(traffic: Mapping[int, OperatorTraffic], cascade: CascadeSteps) -> OperatorTraffic:
    """The traffic of all operators of a cascade."""
    own = [traffic[operator] for operator in cascade.operators if operator in traffic]
    return OperatorTraffic(
        sum(one.weight_bytes for one in own), sum(one.other_bytes for one in own)
    )


def line_buffers(plan: Plan) -> list[bool]:
    """For each residency whether it holds bytes between two operators of a running cascade."""
    found: dict[int, list[tuple[int, int, ByteSet]]] = {}
    for cascade in find_cascades(plan.program):
        if cascade.interleaves:
            for buffer, ranges in cascade_data(plan.program, cascade).between.items():
                found.setdefault(buffer, []).append((cascade.first, cascade.end, ranges))
    return [
        any(
            first <= r.start < end and common([(r.start_byte, r.end_byte)], ranges)
            for first, end, ranges in found.get(r.buffer, ())
        )
        for r in plan.residencies
    ]


def schedule_texts(
    plan: Plan, rows: Sequence[Mapping[str, Any]], slow_bytes: int, whole: WholePlan | None
) -> list[str]:
    """What a schedule is, what waits between its stripes, and what it saves; none where whole.

    Args:
        plan: the plan.
        rows: its `cascades_detail`.
        slow_bytes: its slow traffic.
        whole: the plan of whole operators that it was compared with, if any.
    """
    if not rows:
        return []
    cut = [step.operator for step in plan.problem.steps if step.ranges]
    together = [row for row in rows if len(row["operators"]) > 1]
    alone = len(rows) - len(together)
    kinds = [counted(len(together), "cascade")] if together else []
    kinds += [f"{counted(alone, 'operator')} cut alone"] if alone else []
    operators = counted(plan.program.operators, "operator")
    texts = [
        f"{schedule_name(plan)}: {len(set(cut))} of {operators} in {counted(len(cut), 'part')} "
        f"({', '.join(kinds)}), {counted(plan.program.parts, 'step')} in all"
    ]
    kept, recomputed = (sum(row[key] for row in rows) for key in ("halo_bytes", "recomputed_bytes"))
    if together:
        most = max(together, key=lambda row: int(row["buffered_bytes"]))
        halo = [f"{format_size(kept)} kept"] if kept else []
        halo += [f"{format_size(recomputed)} computed again"] if recomputed else []
        texts.append(
            f"line buffers of {format_size(most['buffered_bytes'])} at most (the whole tensors: "
            f"{format_size(most['between_bytes'])}); halo: {', '.join(halo) or 'none'}"
        )
    if whole is not None:
        texts.append(beside_whole_text(plan, slow_bytes, whole, "whole operators"))
    return texts


def beside_whole_text(plan: Plan, slow_bytes: int, whole: WholePlan, name: str) -> str:
    """What a plan is compared with: the value and the slow traffic of the plan beside it.

    Args:
        plan: the plan.
        slow_bytes: its slow traffic.
        whole: the plan in which each operator runs once, whole.
        name: what that one is called.
    """
    less = whole.slow_bytes - slow_bytes
    return (
        f"{name}: {objective_text(whole.value, plan.objective)} of {plan.objective}, "
        f"{format_size(whole.slow_bytes)} of slow traffic "
        f"({format_size(abs(less))} {'more' if less >= 0 else 'less'})"
    )


def schedule_name(plan: Plan) -> str:
    """How the schedule was chosen; `whole` where each operator is one step."""
    described = plan.model.get("schedule")
    return WHOLE if described is None else str(described["name"])
