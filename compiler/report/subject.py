"""The plan that a report is about: read from a file, with all its figures worked out again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import ContractError, InfeasibleError, UllageError, UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, is_file, read_file
from ullage.compiler.driver.bounding import with_best_bound, with_schedule_bounds
from ullage.compiler.driver.cascades import WholePlan
from ullage.compiler.driver.options import OBJECTIVES
from ullage.compiler.driver.result import Compiled, LatencyLimit, Secondary, best_bound
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.verify.verifier import verify
from ullage.hwmodels.bounds import BOUND_TOLERANCE
from ullage.hwmodels.cost import Score, objective_value, score
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers.budget import Budget

# Keys of a summary that only the run that made the plan knows, in seconds.
TIMES = ("import_s", "solve_s", "total_s")


def compiled_of(plan: Plan, beside: Path | None = None) -> Compiled:
    """A plan, verified, scored, replayed and bounded again.

    What only the run that made the plan knew (the solver in its options, wall-clock times,
    fallbacks, figures of low confidence, a limit of the latency, a second objective) comes from
    the `summary.json` beside it, where that is a summary of the same plan; otherwise the times are
    zero and a note says so. A bound that the file states is shown as claimed: nobody has proven it
    in this run. The bound is proven again, as `compile` does.

    Args:
        plan: the plan.
        beside: its file.

    Raises:
        ContractError: the file claims a bound above the plan's own value.
        VerificationError: the plan is illegal.
    """
    verify(plan)
    cost = score(plan)
    value = objective_value(cost, plan.objective)
    summary = {} if beside is None else _summary_beside(beside, cost, plan)
    limit = _limit_beside(summary, cost)
    if limit is not None:
        plan = replace(plan, problem=plan.problem.within(limit.limit_s))
    plan = _reproven(plan, value)
    notes = (
        plan.notes if summary else (*plan.notes, "report: times of import and solving are unknown")
    )
    return Compiled(
        plan=replace(plan, notes=notes),
        score=cost,
        simulation=simulate(plan),
        bound=best_bound(plan),
        all_slow=_all_slow(plan),
        fallbacks=tuple(map(str, summary.get("fallbacks", ()))),
        requested_solver=str(summary.get("solver", plan.solver)),
        import_s=float(summary.get("import_s", 0.0)),
        order_s=_seconds(summary.get("order_s")),
        solve_s=float(summary.get("solve_s", 0.0)),
        total_s=float(summary.get("total_s", 0.0)),
        interrupted=summary.get("interrupted") is True,
        secondary=_secondary_beside(summary),
        limit=limit,
        schedule_s=_seconds(summary.get("schedule_s")),
        whole=_whole_beside(summary),
        whole_because=str(summary.get("whole_because") or ""),
        estimates=_estimates_beside(summary),
    )


def _reproven(plan: Plan, value: float) -> Plan:
    """The plan with the best bound known; where that bears out its file's, that is no mere claim.

    Args:
        plan: the plan as its file has it.
        value: the objective's value.
    """
    bounded = with_best_bound(_claiming(plan, value), value, Budget())
    stated, proven = plan.lower_bound, best_bound(bounded).value
    if stated is None or proven < stated - BOUND_TOLERANCE * abs(stated):
        return bounded
    return replace(bounded, claimed_bound=plan.claimed_bound, claimed_by=plan.claimed_by)


def _claiming(plan: Plan, value: float) -> Plan:
    """The plan with the bound that its file states turned into a claim."""
    claimed, by = plan.claimed_bound, plan.claimed_by
    _refuse_above(claimed, by, value)
    if plan.lower_bound is not None:
        claimed, by = plan.lower_bound, f"{plan.bound_source or plan.solver}, in the plan's file"
    _refuse_above(claimed, by, value)
    return replace(plan, lower_bound=None, bound_source="", claimed_bound=claimed, claimed_by=by)


def _refuse_above(claimed: float | None, by: str, value: float) -> None:
    if claimed is not None and not claimed <= value * (1 + BOUND_TOLERANCE):
        raise ContractError(
            f"the plan claims the lower bound {claimed:.9g} (by {by}), and its own verified value "
            f"is {value:.9g}: what proved the bound is wrong",
            {"claimed_bound": claimed, "claimed_by": by, "value": value},
        )


def graph_of(plan: Plan, model: Path | None = None) -> tuple[Graph | None, str | None]:
    """The graph of a plan's model, or the reason why there is none.

    Args:
        plan: says where its model is and how it was imported.
        model: the model's file, where the user names it.

    Raises:
        UllageError: the user's file cannot be read or is another model.
    """
    from ullage.compiler.driver.provenance import (
        check_problem_matches,
        import_options,
        importing_as_planned,
    )
    from ullage.compiler.importer.build import import_model

    known = plan.model.get("path")
    if model is None and not (isinstance(known, str) and is_file(known)):
        return None, "report: the model is not at hand, so types and shapes are unknown (--model)"
    path = model or Path(str(known))
    try:
        with importing_as_planned(plan, path):
            graph = import_model(path, import_options(plan), name=plan.problem.name)
        check_problem_matches(plan, graph, str(path))
    except UllageError as error:
        if model is not None:
            raise
        return None, f"report: types and shapes are unknown: {error.message}"
    return graph, None


def with_graph(compiled: Compiled, graph: Graph) -> Compiled:
    """The same with the graph of its model, and what no schedule of that falls below."""
    return with_schedule_bounds(replace(compiled, graph=graph), Budget())


def _summary_beside(path: Path, cost: Score, plan: Plan) -> dict[str, Any]:
    """The summary in the plan's folder, empty where it is missing or another plan's."""
    try:
        summary = json.loads(read_file(path.with_name("summary.json"), MAX_READ_BYTES))
    except (UsageError, ValueError, RecursionError):
        return {}
    if not isinstance(summary, dict) or not isinstance(summary.get("fallbacks"), list):
        return {}
    same = summary.get("latency_s") == cost.latency_s and summary.get("transfers") == len(
        plan.transfers
    )
    known = all(type(summary.get(key)) in {int, float} for key in TIMES)
    return summary if same and known else {}


def _estimates_beside(summary: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The target's fields of low confidence that the summary names; None where it does not say."""
    fields = summary.get("estimates")
    return tuple(map(str, fields)) if isinstance(fields, list) else None


def _whole_beside(summary: Mapping[str, Any]) -> WholePlan | None:
    """What the summary says of the plan of whole operators; None where it says nothing."""
    value, size, rows = (
        summary.get(key) for key in ("whole_value", "whole_slow_bytes", "cascades_detail")
    )
    if not isinstance(value, int | float) or type(size) is not int or not isinstance(rows, list):
        return None
    by_cascade = [row.get("whole_slow_bytes") for row in rows if isinstance(row, dict)]
    whole = tuple(known for known in by_cascade if type(known) is int)
    return WholePlan(float(value), size, whole) if len(whole) == len(rows) else None


def _limit_beside(summary: Mapping[str, Any], cost: Score) -> LatencyLimit | None:
    """The limit of the latency that the summary names and the plan keeps; None for none."""
    told = summary.get("slower_by")
    found = _numbers(told, ("slower_by", "best_latency_s", "best_bound_s"))
    if found is None:
        return None
    surpassed = _numbers(told, ("surpassed_s",))
    slower_by, best_s, bound_s = found
    limit = LatencyLimit(slower_by, best_s, bound_s, None if surpassed is None else surpassed[0])
    return limit if cost.latency_s <= limit.limit_s else None


def _secondary_beside(summary: Mapping[str, Any]) -> Secondary | None:
    """What the summary says of a second objective; None where it says nothing."""
    told = summary.get("then")
    found = _numbers(told, ("within", "before", "after", "first_before"))
    if found is None or not isinstance(told, dict) or told.get("objective") not in OBJECTIVES:
        return None
    within, before, after, first_before = found
    bound = _numbers(told, ("lower_bound",))
    lowest = None if bound is None else bound[0]
    return Secondary(told["objective"], within, before, after, lowest, first_before)


def _numbers(stated: object, keys: Sequence[str]) -> list[float] | None:
    """Numbers of an object in a summary; None where one is missing or is none."""
    if not isinstance(stated, dict):
        return None
    found = [stated.get(key) for key in keys]
    known = [float(number) for number in found if isinstance(number, int | float)]
    return known if len(known) == len(keys) else None


def _seconds(stated: object) -> float:
    """Seconds of a summary; earlier versions do not say how long order and schedule took."""
    return float(stated) if isinstance(stated, int | float) else 0.0


def _all_slow(plan: Plan) -> Score | None:
    from ullage.solvers.run import run_solver

    try:
        return run_solver("all-slow", plan.problem.minimising("latency")).score
    except InfeasibleError:  # the home tiers are too small for everything at once
        return None
