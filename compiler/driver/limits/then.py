"""A second objective: as little of it as there can be while the first stays within a tolerance.

    second |  A                the plan of the first objective alone
           |    .      |
           |      C    |       limit: the first within the tolerance
           |         . | D
           |           |     . B    the plan of the second alone
           +------------------------------- first

B is tried first: where it keeps the limit, nothing can be better. Otherwise both objectives are
minimised together, the second with the weight at which A and B are worth the same; the plan found
(C, D) takes the place of A or of B by the side of the limit on which it lies, until no weight gives
a better plan. So the corners of the lower hull next to the limit are found, as far as the solver
finds them (Aneja and Nair 1979). Every plan is verified and judged by its cost; the answer is one
that keeps the limit. Where the second objective is the peak, plans are made for ever less fast
memory instead.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ullage.compiler.common.errors import InfeasibleError, OwnPlanError, TimeLimitError
from ullage.compiler.common.units import objective_text
from ullage.compiler.driver.bounding import with_best_bound
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled, Secondary
from ullage.compiler.driver.summary_text import change_text
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Blend, Problem
from ullage.compiler.verify.verifier import verify
from ullage.hwmodels.cost import Score, objective_value
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers.budget import Budget
from ullage.solvers.run import Outcome, run_solver

# Share of the time left that the first objective gets.
FIRST_SHARE = 0.5
# Share of the rest that is kept for checks and for replaying the plan.
CLOSING_SHARE = 0.1
# Plans at most that are made on the way.
MOST_PLANS = 10
# Relative difference below which two values are the same.
SAME = 1e-9


@dataclass(frozen=True)
class _Pair:
    """A plan with the values of both objectives."""

    plan: Plan
    score: Score
    first: float
    second: float


def minimise_then(compiled: Compiled, options: CompileOptions, budget: Budget) -> Compiled:
    """The result with less of the second objective, where the first stays within the tolerance.

    Args:
        compiled: the plan of the first objective.
        options: with the second objective (`then`) and the tolerance (`within`).
        budget: the time; what is found until its end or Ctrl-C counts.
    """
    assert options.then is not None  # noqa: S101 - callers ask
    search = _Search(compiled, options, budget.share(1 - CLOSING_SHARE).for_member())
    interrupted, ended = compiled.interrupted, ""
    try:
        if not interrupted:
            search.run()
    except (InfeasibleError, TimeLimitError, OwnPlanError) as error:  # what was found stands
        ended = f"then {options.then}: the search ended early: {error.message}"
    except KeyboardInterrupt:
        interrupted = True
    if ended:
        plan = replace(compiled.plan, notes=(*compiled.plan.notes, ended))
        compiled = replace(compiled, plan=plan)
    best = search.best
    told = Secondary(
        objective=options.then,
        within=options.within,
        before=search.begun.second,
        after=best.second,
        lower_bound=search.lower_bound,
        first_before=search.begun.first,
    )
    if best is search.begun:
        return replace(compiled, secondary=told, interrupted=interrupted)
    return replace(_with_plan(compiled, best, told), interrupted=interrupted)


def _with_plan(compiled: Compiled, best: _Pair, told: Secondary) -> Compiled:
    """The result with another plan of the same problem; its bound is still the problem's."""
    old = compiled.plan
    above = best.first / told.first_before - 1 if told.first_before else 0.0
    note = (
        f"then {told.objective}: {objective_text(told.before, told.objective)} -> "
        f"{objective_text(told.after, told.objective)}, {old.objective} {change_text(above)} "
        f"(allowed {100 * told.within:g} %)"
    )
    plan = replace(
        old,
        residencies=best.plan.residencies,
        transfers=best.plan.transfers,
        solver=best.plan.solver,
        notes=(*old.notes, note),
    )
    verify(plan)
    last = compiled.anytime[-1][0] if compiled.anytime else compiled.solve_s
    return replace(
        compiled,
        plan=plan,
        score=best.score,
        simulation=simulate(plan),
        anytime=(*compiled.anytime, (last, best.first)),
        secondary=told,
    )


class _Search:
    """Plans between the two objectives.

    Attributes:
        begun: the plan of the first objective.
        best: the plan within the limit with the least of the second.
        lower_bound: of the second objective, None where nothing proves one.
    """

    def __init__(self, compiled: Compiled, options: CompileOptions, budget: Budget) -> None:
        self.problem = compiled.plan.problem
        self.first = compiled.plan.objective
        self.second = options.then or ""
        self.options = options
        self.budget = budget
        self.begun = self._pair(compiled.plan, compiled.score)
        self.best = self.begun
        self.limit = self.begun.first * (1 + options.within)
        self.lower_bound: float | None = None

    def run(self) -> None:
        """Search until no plan is new, the time ends, or enough plans were made."""
        plans = self._smaller() if self.second == "peak" else self._between()
        for number, pair in enumerate(plans, 2):
            if pair.first <= self.limit and pair.second < self.best.second * (1 - SAME):
                self.best = pair
            if number > MOST_PLANS or self.budget.is_over():
                return

    def _between(self) -> Iterator[_Pair]:
        """Plans on the way from the first objective to the second."""
        self.budget.progress(f"then {self.second}")
        alone = self._solve(self.problem.minimising(self.second))
        if alone is None:
            return
        plan = with_best_bound(alone.plan, alone.value, self.budget)
        self.lower_bound = plan.lower_bound
        near, far = self.begun, self._pair(alone.plan, alone.score)
        yield far
        if far.first <= self.limit:
            return
        while far.first > near.first and near.second > far.second:
            weight = (far.first - near.first) / (near.second - far.second)
            found = self._solve(self._weighed(weight))
            if found is None:
                return
            pair = self._pair(found.plan, found.score)
            yield pair
            if pair.first + weight * pair.second >= (near.first + weight * near.second) * (
                1 - SAME
            ):
                return  # nothing lies below the line between the two
            near, far = (pair, far) if pair.first <= self.limit else (near, pair)

    def _weighed(self, weight: float) -> Problem:
        """The problem of both objectives; latency, where it is one of them, is the first."""
        if self.second == "latency":
            blend = Blend(self.first, 1.0 / weight)
            return self.problem.minimising("latency").blended(blend)
        return self.problem.blended(Blend(self.second, weight))

    def _smaller(self) -> Iterator[_Pair]:
        """Plans for less and less fast memory: halving between what is enough and what is not."""
        target = self.problem.target
        unit = target.fastest.alignment_bytes
        enough, too_small = self.begun.second, 0.0
        while (size := round((enough + too_small) / 2 / unit) * unit) < enough and (
            size > too_small
        ):
            sized = self.problem.on(target.with_fast_memory(size))
            try:
                found = self._solve(sized)
            except InfeasibleError:
                too_small = size
                continue
            if found is None:
                return
            plan = replace(found.plan, problem=self.problem)
            pair = self._pair(plan, found.score)
            yield pair
            if pair.first <= self.limit:
                enough = min(size, pair.second)
            else:
                too_small = size

    def _solve(self, problem: Problem) -> Outcome | None:
        """The solver's plan; None where it changed the order, so that it is of another problem."""
        options = self.options
        outcome = run_solver(
            options.solver,
            problem,
            self.budget,
            parameters=options.parameters,
            seed=options.seed,
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        return outcome if outcome.plan.problem.steps == self.problem.steps else None

    def _pair(self, plan: Plan, score: Score) -> _Pair:
        return _Pair(
            plan,
            score,
            objective_value(score, self.first),
            objective_value(score, self.second),
        )
