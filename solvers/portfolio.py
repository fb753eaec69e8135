"""`auto`: a portfolio under one deadline; the best plan wins.

Members run one after the other, cheap ones first. What is found stays: the deadline, a member that
fails, or Ctrl-C end the run with the best plan so far. Where tensors stay whole, a deadline was
given, and the best plan is not proven best, what time is left goes to an exact solver.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.registry import SolverOptions, find_solver, parameters_of

SUMMARY = "portfolio: runs the other solvers under one deadline and keeps the best plan"
DEFAULTS: Mapping[str, Any] = {
    "members": "greedy,msa,fluid,all-slow,no-spill",
    "refine": "cpsat",  # empty: nobody
}
LEAST_REFINE_S = 2.0  # an exact solver needs about a second to begin
PROVEN = 1e-6  # a gap so small is none
OBJECTIVES = ("latency", "traffic", "energy", "peak")


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The best plan of the members that know the objective.

    Raises:
        InfeasibleError: no member found a plan because there is none.
        UsageError: no member can plan for this target.
        TimeLimitError: the deadline passed before any plan.
        KeyboardInterrupt: interrupted before any plan.
    """
    chosen = parameters_of(options, DEFAULTS)
    members = [name.strip() for name in str(chosen["members"]).split(",") if name.strip()]
    if not members or "auto" in members:
        raise UsageError(f"members of auto must be other solvers, not {chosen['members']!r}")
    members = [m for m in members if options.objective in find_solver(m).objectives]
    best: tuple[float, Plan] | None = None
    proven: tuple[float, str] | None = None
    infeasible: InfeasibleError | UsageError | None = None
    late: TimeLimitError | None = None
    notes: list[str] = []
    interrupted = False
    refiner = str(chosen["refine"]).strip()
    if refiner:
        find_solver(refiner)  # a wrong name is told at once
    for number, name in enumerate((*members, refiner)):
        refines = number == len(members)
        if refines and not _worth_refining(refiner, best, proven, target, options):
            break
        if options.remaining_s() <= 0:
            notes.append(f"auto: the time limit left {name} out")
            break
        options.progress(f"solving with {name}")
        try:
            plan = find_solver(name).solve(problem, target, replace(options, parameters={}))
        except (InfeasibleError, UsageError) as error:  # a member may not know such targets
            infeasible = infeasible or error
            notes.append(f"auto: {name} found no plan: {error.message}")
            continue
        except TimeLimitError as error:  # or not be compiled yet: others may be faster
            late = late or error
            notes.append(f"auto: {name} found no plan: {error.message}")
            continue
        except KeyboardInterrupt:
            if best is None:
                raise
            interrupted = True
            break
        if plan.lower_bound is not None and (proven is None or plan.lower_bound > proven[0]):
            proven = (plan.lower_bound, plan.bound_source)
        violations = find_violations(plan, limit=1)
        if violations:  # a defect, but one that another member's plan makes good
            notes.append(f"auto: the plan of {name} is illegal: {violations[0].message}")
            continue
        value = objective_value(score(plan), options.objective)
        if best is None or value < best[0]:
            best = (value, plan)
    if best is None:
        late = late or TimeLimitError(
            "the time limit was over before any solver had a plan; give more (--time-limit)"
        )
        raise infeasible or late
    told = {"interrupted": True} if interrupted else {}
    plan = best[1]
    plan = replace(plan, notes=(*plan.notes, *notes), options={**plan.options, **told})
    return plan if proven is None else replace(plan, lower_bound=proven[0], bound_source=proven[1])


def _worth_refining(
    name: str,
    best: tuple[float, Plan] | None,
    proven: tuple[float, str] | None,
    target: Target,
    options: SolverOptions,
) -> bool:
    """Whether an exact solver of whole tensors may still find something better in time."""
    if not name or best is None or options.deadline is None:
        return False
    if options.remaining_s() < LEAST_REFINE_S or target.split_operands:
        return False
    if options.objective not in find_solver(name).objectives:
        return False
    return proven is None or best[0] > proven[0] * (1 + PROVEN)
