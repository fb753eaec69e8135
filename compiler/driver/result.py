"""The driver's result: a verified plan with everything that is known about it."""

from dataclasses import dataclass, replace

from ullage.compiler.common.units import CLOSED, objective_text, percent_above
from ullage.compiler.driver.anytime import Improvement
from ullage.compiler.driver.cascades import WholePlan
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.bounds import Bound, keeps_live_bytes, lower_bound
from ullage.hwmodels.cost import Score, objective_value
from ullage.hwmodels.replay.replay import Simulation
from ullage.solvers.bounds.schedules import ScheduleBounds
from ullage.solvers.interface import StopReason

# Gap (value / bound - 1) up to which a plan counts as optimal.
OPTIMAL_GAP = CLOSED


@dataclass(frozen=True)
class Secondary:
    """What a second objective gained while the first stayed within a tolerance.

    Attributes:
        objective: the second objective.
        within: share by which the first may be worse.
        before: the second's value, in its unit, of the plan of the first alone.
        after: its value now.
        lower_bound: no plan, whatever its first objective, has less; None where nothing proves one.
        first_before: value of the first objective of the plan of the first alone.
    """

    objective: str
    within: float
    before: float
    after: float
    lower_bound: float | None
    first_before: float


@dataclass(frozen=True)
class LatencyLimit:
    """A limit of the latency under which the peak was minimised.

    Attributes:
        slower_by: share by which a plan may be slower than the fastest one.
        best_latency_s: latency of the fastest plan found at the target's own capacity.
        best_bound_s: lower bound of it, for the order and schedule of that plan.
        surpassed_s: where that plan was found while the peak was minimised, the latency of the plan
            that the search for the best latency ended with, which is longer; None elsewhere.
    """

    slower_by: float
    best_latency_s: float
    best_bound_s: float
    surpassed_s: float | None = None

    @property
    def limit_s(self) -> float:
        """The latency that is allowed."""
        return self.best_latency_s * (1.0 + self.slower_by)


@dataclass(frozen=True)
class Compiled:
    """A verified plan with everything that is known about it.

    Attributes:
        plan: the plan.
        score: its cost by the cost model.
        simulation: its event-driven replay.
        bound: certified lower bound of the objective.
        all_slow: score of the reference plan with everything in its home tier, None where the
            home tiers are too small for that.
        fallbacks: operators that are costed by a fallback, as text.
        requested_solver: name of the solver that the options name; the plan's may be another.
        import_s: seconds spent reading the model.
        solve_s: seconds spent solving.
        total_s: seconds in all.
        interrupted: the user interrupted the search; this is the best plan until then.
        stop_reason: why the solver ended: it was done, its time was over, or Ctrl-C.
        anytime: (seconds of solving, value of the best plan so far) at every improvement.
        secondary: what a second objective gained, None where none was asked for.
        limit: of the latency, where the peak was minimised under one.
        order_s: seconds spent choosing the order of the operators.
        schedule_s: seconds spent choosing in which parts they run.
        whole: the plan of whole operators that a plan in parts was compared with, where one was.
        whole_because: why operators run whole, where cascades were asked for, or would have been
            searched for by default; empty elsewhere.
        graph: the model as imported (types and shapes of its values), where there is one.
        schedule_bounds: what no schedule of the model falls below; None where nothing is proven.
        unbounded: why nothing is proven whatever the parts; empty where something is, or nobody
            has asked.
        estimates: fields of the target's files with low confidence that times follow from; None
            where there are no files, as of a plan that was read, or of a problem.
        repetitions_bound: latency that no schedule of this order falls below, whichever operators
            run again (`--recompute auto`); None where nothing is proven.
    """

    plan: Plan
    score: Score
    simulation: Simulation
    bound: Bound
    all_slow: Score | None
    fallbacks: tuple[str, ...]
    requested_solver: str
    import_s: float
    solve_s: float
    total_s: float
    interrupted: bool = False
    stop_reason: StopReason = "finished"
    anytime: tuple[Improvement, ...] = ()
    secondary: Secondary | None = None
    limit: LatencyLimit | None = None
    order_s: float = 0.0
    schedule_s: float = 0.0
    whole: WholePlan | None = None
    whole_because: str = ""
    graph: Graph | None = None
    schedule_bounds: ScheduleBounds | None = None
    unbounded: str = ""
    repetitions_bound: Bound | None = None
    estimates: tuple[str, ...] | None = None

    def noted(self, note: str) -> "Compiled":
        """The same with another note in its plan."""
        return replace(self, plan=replace(self.plan, notes=(*self.plan.notes, note)))

    def __repr__(self) -> str:
        """One line, in the words of the terminal."""
        gap = "unknown" if self.gap is None else percent_above(self.gap)
        value, bound = (
            objective_text(v, self.plan.objective) for v in (self.value, self.bound.value)
        )
        found = f"{self.plan.objective} {value}, lower bound {bound}, gap {gap}"
        return f"<Compiled {self.plan!r}: {found}>"

    @property
    def value(self) -> float:
        """The objective's value in its own unit."""
        return objective_value(self.score, self.plan.objective)

    @property
    def gap(self) -> float | None:
        """Value / bound - 1; None where the bound is zero and the value is not."""
        return gap_of(self.value, self.bound)

    @property
    def gap_any_schedule(self) -> float | None:
        """Value / bound over all schedules - 1; None where there is no such bound."""
        bounds = self.schedule_bounds
        return None if bounds is None else gap_of(self.value, bounds.any_schedule)

    @property
    def gap_repetitions(self) -> float | None:
        """Value / bound over all repetitions of the order - 1; None where there is none."""
        bound = self.repetitions_bound
        return None if bound is None else gap_of(self.value, bound)

    @property
    def is_optimal(self) -> bool:
        """Whether the bound proves that no plan of this order and schedule is better."""
        return self.gap is not None and self.gap <= OPTIMAL_GAP


def gap_of(value: float, bound: Bound) -> float | None:
    """Value / bound - 1; None where the bound is zero and the value is not."""
    if bound.value > 0:
        return max(0.0, value / bound.value - 1)
    return 0.0 if value <= 0 else None


def best_bound(plan: Plan) -> Bound:
    """The better of the bound that needs no solver and the bound that the plan's solver proved.

    Bounds of the peak hold for plans without spills: others have 0.
    """
    if plan.objective == "peak" and not keeps_live_bytes(plan):
        return Bound(0.0, "trivial")
    free = lower_bound(plan.problem)
    if plan.lower_bound is None or plan.lower_bound <= free.value:
        return free
    return Bound(plan.lower_bound, plan.bound_source)
