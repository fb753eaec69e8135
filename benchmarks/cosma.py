"""COSMA's evaluation repeated: non-compulsory bytes at three sizes of fast memory.

For each network, activations alone or with weights, at M_R (what the largest operator needs), M_P
(the smallest peak over orders) and M_H between them: the paper's four baselines; `ilp` as
published, in the order of smallest peak and in a free one; `cpsat` in the file's order, in that of
smallest peak and in a free one; `divide`, and `fluid`, which may keep parts of tensors, in the
order of smallest peak. Rows are written as they come; a second run skips those that are there
already. Budgets of equal size have equal rows.

Run: python benchmarks/cosma.py [--only NAME,NAME] [--seconds S] [--ilp-seconds S] [--weights]
     [--budgets M_R,M_H,M_P]
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from common import RESULTS, plan_by, write_table
from cosma_baselines import POLICIES, baseline_bytes
from cosma_graphs import DESIGNED, NETWORKS

from ullage.compiler.common.errors import UllageError
from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import NO_ALIASES
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.cosma import ilp
from ullage.solvers.scheduling.peak_order import OrderResult, smallest_peak

BUDGETS = ("M_R", "M_H", "M_P")
ORDERS = ("file", "memory")
BASELINES = tuple(f"{order} {policy}" for order in ORDERS for policy in POLICIES)
# column -> solver, order of its problem, parameters
SOLVERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ilp": ("ilp", "memory", {}),
    "ilp free": ("ilp", "memory", {"order": "free"}),
    "cpsat file": ("cpsat", "file", {"relative_gap": 0.0}),
    "cpsat": ("cpsat", "memory", {"relative_gap": 0.0}),
    "cpsat free": ("cpsat", "memory", {"order": "free"}),
    "divide": ("divide", "memory", {}),
    "fluid": ("fluid", "memory", {}),
}
COLUMNS = (
    *("network", "tensors", "operators", "budget", "KiB", *BASELINES),
    *(f"{name}{what}" for name in SOLVERS for what in ("", " gap", " s")),
    "reduction %",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--ilp-seconds", type=float, default=20.0)
    parser.add_argument("--weights", action="store_true")
    parser.add_argument("--budgets", default=",".join(BUDGETS))
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    given = parser.parse_args()
    name = "cosma_weights" if given.weights else "cosma"
    file = RESULTS / f"{name}.json"
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    done = {(row["network"], row["budget"]) for row in rows}
    for network in given.only.split(",") if given.only else NETWORKS:
        budgets = [b for b in given.budgets.split(",") if (network, b) not in done]
        for row in network_rows(network, budgets, given.solvers.split(","), given):
            rows.append(row)
            rows.sort(key=lambda r: ([*NETWORKS].index(r["network"]), BUDGETS.index(r["budget"])))
            write_table(name, title_of(rows, given), COLUMNS, table(rows))
            print(" | ".join(f"{c} {row[c]}" for c in COLUMNS), flush=True)


def table(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Rows as lists."""
    return [[row[c] for c in COLUMNS] for row in rows]


def title_of(rows: Sequence[dict[str, Any]], given: argparse.Namespace) -> str:
    """Mean reductions so far, over the networks whose baselines move anything."""
    parts = []
    for what, members in (("designed", set(DESIGNED)), ("searched", set(NETWORKS) - set(DESIGNED))):
        found = [
            float(r["reduction %"])
            for r in rows
            if r["network"] in members and r["budget"] == "M_R" and r["reduction %"] != "-"
        ]
        if found:
            parts.append(f"{what} {sum(found) / len(found):.1f} % ({len(found)})")
    mean = f"; mean reduction at M_R: {', '.join(parts)}" if parts else ""
    limits = f"{given.seconds:g} s a solver, {given.ilp_seconds:g} s ilp"
    return f"Non-compulsory bytes, {limits}{mean}"


def network_rows(
    network: str, budgets: Sequence[str], solvers: Sequence[str], given: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One row for each budget."""
    if not budgets:
        return
    graph = NETWORKS[network]()
    target = replace(load_target("cosma"), weights_in_fastest=given.weights)
    found = smallest_peak(graph, NO_ALIASES, limit_s=20.0)
    problems = {
        "file": problem_of(graph, model_order(graph), target),
        "memory": problem_of(graph, found.order, target),
    }
    sizes = budgets_of(problems["memory"], found)
    made: dict[int, dict[str, Any]] = {}
    for budget in budgets:
        if sizes[budget] in made:
            yield {**made[sizes[budget]], "budget": budget}
            continue
        chip = target.with_fast_memory(sizes[budget])
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "-")
        row["network"], row["operators"] = network, len(graph.operators)
        row["tensors"] = "with weights" if given.weights else "activations"
        row["budget"], row["KiB"] = budget, f"{sizes[budget] / 1024:.2f}"
        for order in ORDERS:
            for policy in POLICIES:
                row[f"{order} {policy}"] = baseline_bytes(problems[order].on(chip), policy)
        for solver in solvers:
            seconds = given.ilp_seconds if solver.startswith("ilp") else given.seconds
            row.update(solver_cells(solver, problems, chip, seconds))
        row["reduction %"] = reduction(row, solvers)
        made[sizes[budget]] = row
        yield row


def problem_of(graph: Graph, order: Sequence[int], target: Target) -> Problem:
    """The problem in an order, nothing shared."""
    program = build_program(graph, order, aliases=NO_ALIASES, dma_steps=target.dma_steps)
    return Problem(program, target, "traffic")


def budgets_of(problem: Problem, found: OrderResult) -> dict[str, int]:
    """M_R, M_H and M_P in bytes, multiples of the alignment.

    With weights, M_P is the peak of live activations and the running operator's weights in the
    order of smallest peak: an upper bound of the paper's.
    """
    target = problem.target
    unit = target.fastest.alignment_bytes
    aligned = [-(-b.size_bytes // unit) * unit for b in problem.buffers]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    least = 0
    counted = [target.must_be_fastest(b.kind) for b in problem.buffers]
    for t, step in enumerate(problem.steps):
        used = {u.buffer for u in step.uses if counted[u.buffer]}
        least = max(least, sum(aligned[b] for b in used))
        for b in used:
            first.setdefault(b, t)
            last[b] = t
    loads = [0] * len(problem.steps)
    for b, begin in first.items():
        for t in range(begin, last[b] + 1):
            loads[t] += aligned[b]
    peak = max(loads)
    if not target.weights_in_fastest and peak > found.peak_bytes + len(aligned) * unit:
        raise AssertionError((peak, found.peak_bytes))
    middle = (least + peak) // 2 // unit * unit
    return {"M_R": least, "M_H": max(middle, least), "M_P": peak}


def solver_cells(
    name: str, problems: Mapping[str, Problem], target: Target, seconds: float
) -> dict[str, Any]:
    """Bytes, gap to the bound of its kind, and seconds of a solver."""
    solver, order, parameters = SOLVERS[name]
    problem = problems[order].on(target)
    begun = time.monotonic()
    own_gap: str | None = None
    plan: Assigned
    try:
        if solver == "ilp":  # which claims no bound for plans that (1) forbids
            options = ilp.IlpOptions(**parameters)
            answered = ilp.answer(problem, options, Budget(begun + seconds))
            plan, own_gap = answered.solution.assignment, "open"
            notes = answered.solution.notes
            if answered.objective is not None and answered.bound is not None:
                own_gap = str(round(answered.objective - answered.bound))
        else:
            plan = plan_by(solver, problem, seconds, parameters)
            notes = plan.notes
    except UllageError as error:
        return {name: type(error).__name__}
    spent = time.monotonic() - begun
    if find_violations(plan):
        raise SystemExit(f"{problem.name}: {name} made an illegal plan")
    value = score(plan).noncompulsory_bytes
    stands_in = any("plan is that of" in note for note in notes) and solver == "ilp"
    return {
        name: f"({value})" if stands_in else value,
        f"{name} gap": own_gap or (gap_of(plan, value) if isinstance(plan, Plan) else "open"),
        f"{name} s": f"{spent:.1f}",
    }


def gap_of(plan: Plan, value: int) -> str:
    """Bytes above the best proven bound for plans of whole tensors, or of parts for `fluid`."""
    bound = plan.statistics.get("whole_bound", plan.lower_bound) if value else 0
    return "open" if bound is None else str(round(max(0.0, value - bound)))


def reduction(row: dict[str, Any], solvers: Sequence[str]) -> str:
    """Bytes that the best whole-tensor plan saves against the best baseline, in percent."""
    best = min(row[name] for name in BASELINES)
    values = [row[s] for s in solvers if s != "fluid" and isinstance(row[s], int)]
    return "-" if not best or not values else f"{100 * (1 - min(values) / best):.1f}"


if __name__ == "__main__":
    main()
