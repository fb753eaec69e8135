"""A plan as columns: one array of numbers per key, so that files of large plans are small."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.palette import KINDS
from ullage.compiler.driver.cascades import line_buffers
from ullage.compiler.driver.operators import step_figures
from ullage.compiler.ir.cascades import find_cascades
from ullage.compiler.ir.graph import Value
from ullage.compiler.ir.part_names import operator_name
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.cost import Score


def rounded(values: Iterable[float]) -> list[float]:
    """Numbers to six significant digits, whole ones without a decimal point."""
    short = (float(f"{value:.6g}") for value in values)
    return [int(value) if value == int(value) else value for value in short]


def step_columns(plan: Plan, cost: Score) -> dict[str, Any]:
    """T steps: names, kinds, and where their seconds go.

    Keys: name, kind (index into kinds), kinds, operator (index into operators, -1 for none),
    operators (names without the ranges of parts), elapsed_s, compute_s, overhead_s, stall_s,
    utilisation, tier_s and link_s (a list per tier and link), operand_bytes (a list per tier),
    binding (index into bindings), bindings, workspace_bytes, macs. The figures are those of
    `operators_detail`.
    """
    steps, figures = plan.problem.steps, step_figures(plan, cost)
    bindings = ("compute", *cost.tiers, *cost.links, "overhead", "idle")
    index = {name: i for i, name in enumerate(bindings)}
    kinds, kind = _coded([step.kind for step in steps])
    operators, operator = _operators(plan)
    return {
        "name": [step.name for step in steps],
        "kinds": kinds,
        "kind": kind,
        "operators": operators,
        "operator": operator,
        "elapsed_s": rounded(cost.elapsed_s),
        "compute_s": rounded(cost.compute_by_step),
        "overhead_s": rounded(cost.overhead_by_step),
        "stall_s": rounded(figures.stall_s),
        "utilisation": rounded(figures.utilisation),
        "operand_bytes": [[round(size) for size in row] for row in figures.operand_bytes.tolist()],
        "tier_s": [rounded(row) for row in cost.tier_seconds],
        "link_s": [rounded(row) for row in cost.link_seconds],
        "bindings": bindings,
        "binding": [index[name] for name in figures.bound_by],
        "workspace_bytes": [step.workspace_bytes for step in steps],
        "macs": [step.macs for step in steps],
    }


def buffer_columns(plan: Plan, saves_s: Floats, costs_s: Floats) -> dict[str, Any]:
    """B buffers: name, kind (index into kinds), kinds, size_bytes, saves_s, costs_s."""
    buffers = plan.problem.buffers
    return {
        "name": [buffer.name for buffer in buffers],
        "kinds": KINDS,
        "kind": [KINDS.index(buffer.kind) for buffer in buffers],
        "size_bytes": [buffer.size_bytes for buffer in buffers],
        "saves_s": rounded(saves_s),
        "costs_s": rounded(costs_s),
    }


def value_columns(plan: Plan, values: Mapping[str, Value]) -> dict[str, Any]:
    """The values in buffers: buffer, name, start_byte, end_byte, type (index into types).

    A type is `dtype [shape]`, the empty text where the model is not at hand.
    """
    placed = [(b, item) for b, buffer in enumerate(plan.problem.buffers) for item in buffer.values]
    types, type_ = _coded([_type_text(values.get(item.name)) for _, item in placed])
    return {
        "buffer": [b for b, _ in placed],
        "name": [item.name for _, item in placed],
        "start_byte": [item.start_byte for _, item in placed],
        "end_byte": [item.end_byte for _, item in placed],
        "types": types,
        "type": type_,
    }


def use_columns(plan: Plan) -> dict[str, Any]:
    """Uses in step order: step, buffer, start_byte, end_byte, write (0 or 1), accessed_bytes."""
    rows = [
        (t, u.buffer, u.start_byte, u.end_byte, int(u.write), u.accessed_bytes)
        for t, step in enumerate(plan.problem.steps)
        for u in step.uses
    ]
    return _columns("step buffer start_byte end_byte write accessed_bytes", rows)


def _operators(plan: Plan) -> tuple[list[str], list[int]]:
    """Names of the operators in the order in which they first run, and the index of each step's."""
    steps = plan.problem.steps
    found = {step.operator: operator_name(step) for step in reversed(steps) if step.operator >= 0}
    index = {operator: i for i, operator in enumerate(reversed(found))}
    return [found[operator] for operator in index], [index.get(s.operator, -1) for s in steps]


def cascade_columns(plan: Plan) -> list[dict[str, Any]]:
    """The cascades: first, end, steps, ranks (place of the operator of each step), stripes."""
    found: list[dict[str, Any]] = []
    for cascade in find_cascades(plan.program):
        rank = {operator: place for place, operator in enumerate(cascade.operators)}
        steps = plan.problem.steps
        found.append(
            {
                "first": cascade.first,
                "end": cascade.end,
                "steps": list(cascade.steps),
                "ranks": [rank[steps[t].operator] for t in cascade.steps],
                "stripes": list(cascade.stripes),
            }
        )
    return found


def residency_columns(plan: Plan) -> dict[str, Any]:
    """Residencies as the plan lists them; tier is an index into the target's tiers.

    `line_buffer` is 1 where the bytes lie between two operators of a cascade, else 0.
    """
    tier_index = plan.target.tier_index
    rows = [
        (
            r.buffer,
            r.start_byte,
            r.end_byte,
            tier_index[r.tier],
            r.offset,
            r.start,
            r.ready,
            r.end,
            int(is_line_buffer),
        )
        for r, is_line_buffer in zip(plan.residencies, line_buffers(plan), strict=True)
    ]
    return _columns("buffer start_byte end_byte tier offset start ready end line_buffer", rows)


def transfer_columns(plan: Plan) -> dict[str, Any]:
    """Transfers: buffer, start_byte, end_byte, source, destination, link, moves, step and bytes.

    `moves` says how many entries of `step` and `bytes` belong to each transfer, in order.
    """
    tier_index = plan.target.tier_index
    link_index = {link.name: i for i, link in enumerate(plan.target.links)}
    rows = [
        (
            x.buffer,
            x.start_byte,
            x.end_byte,
            tier_index[x.source],
            tier_index[x.destination],
            link_index.get(x.link, -1),
            len(x.moves),
        )
        for x in plan.transfers
    ]
    columns = _columns("buffer start_byte end_byte source destination link moves", rows)
    columns["step"] = [step for x in plan.transfers for step, _ in x.moves]
    columns["bytes"] = [size for x in plan.transfers for _, size in x.moves]
    return columns


def space_columns(plan: Plan) -> list[dict[str, Any]]:
    """For each tier its live bytes (T,) and the highest address in use (T,), step by step."""
    steps = len(plan.problem.steps)
    spaces: list[dict[str, Any]] = []
    for tier in plan.target.tiers:
        change = np.zeros(steps + 1, dtype=np.int64)
        top = np.zeros(steps, dtype=np.int64)
        for r in plan.residencies:
            if r.tier == tier.name:
                size = r.end_byte - r.start_byte
                change[r.start] += size
                change[r.end] -= size
                span = top[r.start : r.end]
                np.maximum(span, r.offset + size, out=span)
        live = change.cumsum()[:steps]
        spaces.append({"live_bytes": live.tolist(), "top_bytes": top.tolist()})
    return spaces


def _columns(names: str, rows: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    keys = names.split()
    columns = zip(*rows, strict=True) if rows else ([] for _ in keys)
    return {key: list(column) for key, column in zip(keys, columns, strict=True)}


def _coded(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The distinct texts in order of appearance, and the index of each text."""
    index: dict[str, int] = {}
    codes = [index.setdefault(text, len(index)) for text in texts]
    return list(index), codes


def _type_text(value: Value | None) -> str:
    if value is None:
        return ""
    bound = " at most" if value.is_upper_bound else ""
    return f"{value.dtype} [{', '.join(map(str, value.shape))}]{bound}"
