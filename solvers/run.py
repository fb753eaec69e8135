"""Runs solvers, built in or third party, all alike: label, place, verify, score, compare.

The problem of the answer is compared with the given one (`contract`). A third party's solver runs
in a process of its own (`isolate`): it may raise, print, exit, recurse, crash, change its arguments
or never come back, and only its own answer is lost.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ullage.compiler.common.errors import ContractError, InfeasibleError, UllageError, UsageError
from ullage.compiler.common.units import format_time
from ullage.compiler.ir.assignment import UNPLACED
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import Score, exceeds_limit, objective_value, score, worth
from ullage.solvers import parallel_links, reductions
from ullage.solvers.budget import Budget
from ullage.solvers.contract import broken, check_bound, check_solution, plain_solution
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.isolate import solve_apart
from ullage.solvers.packing.place_unplaced import place_unplaced
from ullage.solvers.parameters import ParameterValue, changed, options_from
from ullage.solvers.registry import find_solver, solvers_for

# Parameters of a solver at their defaults.
NO_PARAMETERS: Mapping[str, ParameterValue] = {}
# How often a plan is asked for that keeps a limit of the latency with what solvers leave out.
LIMIT_TRIES = 4


@dataclass(frozen=True)
class Outcome:
    """A solver's answer, verified and scored.

    Attributes:
        plan: labelled, with addresses, legal.
        score: score of the plan by the cost model.
        solution: as the solver gave it.
        solve_s: seconds that the solver took.
    """

    plan: Plan
    score: Score
    solution: Solution
    solve_s: float

    @property
    def value(self) -> float:
        """What the problem minimises, in the objective's unit."""
        return worth(self.score, self.plan.problem)

    @property
    def interrupted(self) -> bool:
        """Whether the user interrupted the search."""
        return self.solution.stop_reason == "interrupted"


def run_solver(
    solver: Solver | str,
    problem: Problem,
    budget: Budget | None = None,
    *,
    parameters: Mapping[str, ParameterValue] = NO_PARAMETERS,
    seed: int = 0,
) -> Outcome:
    """Run a solver on a problem; label, place, verify and score its answer.

    Args:
        solver: the solver, or its name.
        problem: the problem, with its target and objective.
        budget: the time, and callbacks for progress; default no limit.
        parameters: the solver's own parameters, its defaults where missing.
        seed: seed of everything random.

    Raises:
        UsageError: the solver cannot minimise that, or a parameter is wrong.
        InfeasibleError: no legal plan exists, as far as the solver knows.
        TimeLimitError: the deadline came before any plan.
        ContractError: the solver broke its contract.
    """
    solver_object = find_solver(solver) if isinstance(solver, str) else solver
    check_objective(solver_object, problem.objective)
    if problem.latency_limit_s is not None:
        check_keeps_limit(solver_object)
    options: Any = options_from(solver_object.name, solver_object.options, parameters, seed)
    spent = budget or Budget()
    begun = time.monotonic()
    answered: object
    if solver_object.is_ours:
        answered = _answer(solver_object, problem, options, spent)
    else:
        answered = solve_apart(solver_object, problem, options, spent)
    solve_s = time.monotonic() - begun
    try:
        return _outcome(solver_object, problem, answered, options, seed, solve_s)
    except UllageError:
        raise
    except Exception as error:  # fields of a third party's answer may hold anything
        if solver_object.is_ours:
            raise
        raise broken(solver_object, f"its answer makes no sense: {error!r}"[:300]) from error


def _answer(solver: Solver, problem: Problem, options: object, budget: Budget) -> Solution:
    """The answer of one of our own solvers, which plans a simpler problem (`reductions`).

    Plans of that may take less time than those that are made of them. Under a limit of the latency,
    what they take more is taken off the limit, until a plan keeps it.

    Raises:
        InfeasibleError: no plan was found that keeps the limit.
    """
    keeps = not solver.keeps_nothing
    reduced = reductions.reduce(problem, keeps=keeps)
    if parallel_links.is_needed(problem.target):
        # A plan of one link costs less than the plan that is made of it: none is told.
        budget = budget.for_member()
    limit_s = problem.latency_limit_s
    allowed_s, took_s = limit_s, 0.0
    for number in range(LIMIT_TRIES):
        asked = replace(reduced, latency_limit_s=allowed_s) if number else reduced
        try:
            solution = solver.solve(asked, options, budget)
        except InfeasibleError:
            if not number:
                raise
            break
        if reduced is not problem:
            solution = check_solution(solver, asked, solution)
        answer = reductions.recover(problem, solution, keeps=keeps)
        if limit_s is None or allowed_s is None or reduced is problem:
            return answer
        took_s = score(answer.assignment).latency_s
        if not exceeds_limit(took_s, limit_s):
            return answer
        allowed_s -= took_s - limit_s
        if allowed_s <= 0.0:
            break
    allowed, took = format_time(limit_s or 0.0), format_time(took_s)
    option = "--slower-by; in a problem file latency_limit_s"
    raise InfeasibleError(
        f"{solver.name}: no plan was found that takes at most {allowed}: the nearest takes {took}, "
        f"with what transfers and operators wait for memories. To do: allow more ({option})",
        {"latency_limit_s": limit_s, "latency_s": took_s, "proven": False, "remedies": [option]},
    )


def _outcome(
    solver: Solver, problem: Problem, answered: object, options: object, seed: int, solve_s: float
) -> Outcome:
    """The outcome of an answer: checked, labelled, placed, verified and scored."""
    solution = check_solution(solver, problem, answered)
    if not solver.is_ours:
        solution = plain_solution(solver, solution)
    plan = replace(
        _plan_of(solver, solution), seed=seed, options=changed(options), notes=solution.notes
    )
    there = problem.target.fastest.capacity_bytes
    if plan.target.fastest.capacity_bytes > there:  # only for `peak`: `check_solution` has seen it
        plan = replace(plan, chip_fast_memory_bytes=there)
        if plan.shortfall not in plan.notes:  # a portfolio hands on the notes of its members
            plan = replace(plan, notes=(plan.shortfall, *plan.notes))
    return _judged(solver, plan, solution, solve_s)


def check_objective(solver: Solver, objective: str) -> None:
    """Return if a solver can minimise an objective.

    Raises:
        UsageError: it cannot; names solvers that can.
    """
    if objective not in solver.objectives:
        raise UsageError(
            f"solver {solver.name} cannot minimise {objective} (it can: "
            f"{', '.join(solver.objectives)}); those that can: {', '.join(solvers_for(objective))}"
        )


def check_keeps_limit(solver: Solver) -> None:
    """Return if a solver can minimise the peak under a limit of the latency.

    Raises:
        UsageError: it cannot; names solvers that can.
    """
    if not solver.keeps_limit:
        able = [name for name in solvers_for("peak") if find_solver(name).keeps_limit]
        raise UsageError(
            f"solver {solver.name} cannot minimise the peak under a limit of the latency "
            f"(--slower-by); those that can: {', '.join(able)}"
        )


def _plan_of(solver: Solver, solution: Solution) -> Plan:
    """The plan of a solution, labelled and with addresses."""
    assignment = solution.assignment
    if any(residency.offset == UNPLACED for residency in assignment.residencies):
        assignment = place_unplaced(assignment)
    return Plan(
        problem=assignment.problem,
        residencies=assignment.residencies,
        transfers=assignment.transfers,
        solver=(solution.made_by if solver.is_ours else "") or solver.name,
        shadow_prices=tuple((price.what, price.saves) for price in solution.shadow_prices),
        statistics=dict(solution.statistics),
    )


def _judged(solver: Solver, plan: Plan, solution: Solution, solve_s: float) -> Outcome:
    """The outcome of a plan: verified and scored, its bound compared with its value."""
    violations = find_violations(plan, limit=1)
    if violations:
        first = violations[0]
        raise broken(solver, f"its plan is illegal: {first.message}", rule=first.rule)
    verdict = score(plan)
    limit_s = plan.problem.latency_limit_s
    if limit_s is not None and exceeds_limit(verdict.latency_s, limit_s):
        raise broken(solver, f"its plan takes {verdict.latency_s:.9g} s, allowed are {limit_s:.9g}")
    bound = solution.bound
    if bound is not None and plan.problem.blend is None:  # a blend's bound is not the objective's
        check_bound(solver, bound.value, bound.source, objective_value(verdict, plan.objective))
        if solver.is_ours:
            plan = replace(plan, lower_bound=max(0.0, bound.value), bound_source=bound.source)
        else:
            claim = f"{solver.name} of {solver.origin}"
            plan = replace(plan, claimed_bound=max(0.0, bound.value), claimed_by=claim)
    return Outcome(plan, verdict, solution, solve_s)


__all__ = ["ContractError", "Outcome", "check_objective", "run_solver"]
