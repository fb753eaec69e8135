"""A prepared model in its order: solved, verified, scored, replayed and bounded in its time."""

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.common.kernel_store import activity
from ullage.compiler.driver.anytime import Improvement, trace_of
from ullage.compiler.driver.bounding import (
    with_best_bound,
)
from ullage.compiler.driver.options import (
    DEFAULT_SOLVER,
    CompileOptions,
    solver_of,
)
from ullage.compiler.driver.result import Compiled, best_bound
from ullage.compiler.driver.schedules import (
    limit_text,
    phases_text,
)
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solver, StopReason
from ullage.solvers.run import Outcome, run_solver

# Steps up to which reading and checking take so little that no time is kept for them beforehand.
SHORT_STEPS = 4000
# The first run of `all-slow` works out and imports what later ones find ready: where it took less
# than this share of the time left, a second one tells what checks will take.
AGAIN_SHARE = 0.1
# The same where it did import modules, so that a second one will take far less.
AGAIN_IMPORTED_SHARE = 0.5
# Time kept for verifying, scoring and replaying a plan, in multiples of that second run: 1.1 to 1.8
# were measured on programs of 58 to 5,002 steps.
CLOSING_SHARE = 2.5
# At most this share of the time left is kept for that: solving has the rest, however short.
MOST_CLOSING_SHARE = 0.4
# Solver that plans where `auto` has no plan in time: the quickest of its members that move data.
QUICKEST = "greedy"
# Seconds that it has at least then, and once more where they went into loading its kernels.
QUICKEST_S = 0.5
# Time that the reference, the quickest plan and its checks take, in multiples of what reading took.
CHECKS_SHARE = 1.5
# Time without which a plan gets no bound of its own, in the same multiples: the relaxation of
# programs of 30 to 1,200 steps took 7 to 20 of them.
BOUND_SHARE = 20.0


def solve_in_order(prepared: Prepared, options: CompileOptions, *, quick_bound: bool) -> Compiled:
    """Solve, verify and score a prepared model in its order, in its time.

    Args:
        prepared: the model.
        options: how to compile.
        quick_bound: bound the plan by `fluid`'s relaxation where its solver proves less.

    Raises:
        InfeasibleError: no legal plan exists, or none was found.
        TimeLimitError: time was over before any plan.
        UsageError: an option is wrong.
    """
    limit = options.time_limit_s
    deadline = None if limit is None else prepared.started + limit
    solver = solver_of(options)
    improvements: list[Improvement] = []
    budget = Budget(
        deadline,
        progress=options.progress,
        on_improvement=lambda value: improvements.append((time.monotonic(), value)),
    )
    if budget.is_over():
        raise TimeLimitError(
            f"the time limit{limit_text(prepared, options)} was over before solving began "
            f"({phases_text(prepared)}); give more time (--time-limit)"
        )
    problem = prepared.problem
    least_s = CHECKS_SHARE * prepared.import_s
    if len(problem.steps) > SHORT_STEPS and budget.remaining_s() < least_s:
        raise TimeLimitError(
            f"of the time limit{limit_text(prepared, options)} "
            f"{max(0.0, budget.remaining_s()):.2f} s are left after reading "
            f"{len(problem.steps)} steps; to make, verify and replay the quickest "
            f"plan of them takes about {least_s:.2f} s; give more time (--time-limit)"
        )
    modules = len(sys.modules)
    begun = time.process_time()  # what others use of the processors tells nothing of the checks
    early = options.solver != "all-slow" and options.minimised != "peak"
    slowest = _reference(problem, budget) if early else None
    reference = None if slowest is None else slowest.score
    took_s = 0.0
    if deadline is not None:  # checks after solving take a few times as long as this reference
        took_s = time.process_time() - begun
        again = AGAIN_SHARE if len(sys.modules) == modules else AGAIN_IMPORTED_SHARE
        if early and took_s < again * budget.remaining_s():
            begun = time.process_time()
            _reference(problem, budget)
            took_s = min(took_s, time.process_time() - begun)
        most_s = MOST_CLOSING_SHARE * max(0.0, budget.remaining_s())
        budget = budget.reserving(min(CLOSING_SHARE * took_s, most_s))
    options.progress(f"solving with {options.solver}")
    begun = time.monotonic()
    allowed = budget if prepared.work_s is None else budget.at_most_work(prepared.work_s)
    outcome = _in_time(solver, problem, allowed, options, slowest, took_s)
    solve_s = time.monotonic() - begun
    took_s = took_s if early else solve_s
    plan, cost = outcome.plan, outcome.score
    plan = replace(plan, model=_described(prepared, plan))
    options.progress("replaying")
    if not early:  # `peak` plans for another capacity than the target's
        slow = options.solver == "all-slow"
        slowest = None if slow else _reference(plan.problem, budget)
        reference = cost if slow else None if slowest is None else slowest.score
    fallbacks = tuple(f"{f.kind} {f.operator}: {f.reason}" for f in prepared.graph.fallbacks)
    interrupted = outcome.interrupted
    if quick_bound and not interrupted and budget.remaining_s() >= BOUND_SHARE * took_s:
        try:
            plan = with_best_bound(plan, outcome.value, budget)
        except KeyboardInterrupt:  # the plan is complete; only its bound is the worse for it
            interrupted = True
    plan = replace(plan, notes=(*plan.notes, *prepared.notes, *cost.notes))
    return Compiled(
        plan=plan,
        score=cost,
        simulation=simulate(plan),
        bound=best_bound(plan),
        all_slow=reference,
        fallbacks=fallbacks,
        requested_solver=options.solver,
        import_s=prepared.import_s,
        order_s=prepared.order_s,
        schedule_s=prepared.schedule_s,
        solve_s=solve_s,
        total_s=time.monotonic() - prepared.started,
        interrupted=interrupted,
        stop_reason="interrupted" if interrupted else outcome.solution.stop_reason,
        anytime=trace_of(improvements, begun, solve_s, outcome.value),
        graph=prepared.graph,
    )


def _described(prepared: Prepared, plan: Plan) -> Mapping[str, Any]:
    """How to import the model again: in the order of the plan, where its solver chose another.

    Raises:
        UsageError: in that order other values share bytes than those that were planned.
    """
    if plan.problem.steps == prepared.problem.steps:
        return prepared.model
    described = {**prepared.model, "order": plan.program.order}
    if not prepared.graph.operators:
        return described
    operator_order = [step.operator for step in plan.problem.steps if step.kind != DMA_STEP]
    rebuilt = build_program(
        prepared.graph,
        operator_order,
        order_name=plan.program.order,
        aliases=alias_options(plan.target, alias=bool(prepared.model["alias"])),
        dma_steps=plan.target.dma_steps,
        steady_state=plan.problem.steady_state,
    )
    if rebuilt != plan.program:
        raise UsageError(
            f"{plan.solver} chose another operator order, in which other values share bytes than "
            "those that it planned; use --no-alias"
        )
    return {**described, "operator_order": operator_order}


def _in_time(
    solver: Solver,
    problem: Problem,
    budget: Budget,
    options: CompileOptions,
    slowest: Outcome | None,
    quick_s: float,
) -> Outcome:
    """The answer of a solver; that of a heuristic where `auto` has none in time that moves data.

    It is the better of `all-slow`, which is known, and of what `greedy` decides in a moment.

    Args:
        solver: the solver.
        problem: the problem.
        budget: the time.
        options: how to compile.
        slowest: the answer of `all-slow` for the latency; None where it is not known.
        quick_s: seconds that `all-slow` took.

    Raises:
        TimeLimitError: time was over before any plan.
    """
    given = options.parameters
    slow = None
    if slowest is not None and options.solver == DEFAULT_SOLVER:
        slow = replace(slowest, plan=replace(slowest.plan, problem=problem))
    try:
        best = run_solver(solver, problem, budget, parameters=given, seed=options.seed)
        why = "the time limit was over before any solver had decided anything"
    except TimeLimitError as error:
        if slow is None:
            raise
        best, why = slow, error.message
    ended = best.solution.stop_reason
    is_late = budget.deadline is not None and ended == "time limit"
    if slow is None or (best is not slow and (not is_late or best.value < slow.value)):
        return best
    loaded = activity.loaded
    found = _quickest(problem, options, max(QUICKEST_S, quick_s))
    is_no_gain = found is not None and found.value >= best.value and not found.interrupted
    if is_no_gain and activity.loaded > loaded:
        found = _quickest(problem, options, max(QUICKEST_S, quick_s))
    if found is not None and (found.value < best.value or found.interrupted):
        best = found
    note = f"auto: {why}; this is the plan of {best.plan.solver}"
    plan = replace(best.plan, seed=options.seed, notes=(*best.plan.notes, note))
    reason: StopReason = "interrupted" if best.interrupted else "time limit"
    return replace(best, plan=plan, solution=replace(best.solution, stop_reason=reason))


def _quickest(problem: Problem, options: CompileOptions, seconds: float) -> Outcome | None:
    """What the quickest heuristic decides in some seconds; None where it finds no plan."""
    budget = Budget(time.monotonic() + seconds, options.progress)
    try:
        return run_solver(QUICKEST, problem, budget, seed=options.seed)
    except (InfeasibleError, TimeLimitError, UsageError):  # or it does not know such targets
        return None


def _reference(problem: Problem, budget: Budget) -> Outcome | None:
    """The plan with everything at home; None where the home tiers are too small."""
    try:
        return run_solver("all-slow", problem.minimising("latency"), budget.for_member())
    except InfeasibleError:  # the home tiers are too small for everything at once
        return None
