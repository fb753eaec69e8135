"""Short ways to ask a solver."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.parameters import ParameterValue
from ullage.solvers.run import run_solver


@dataclass(frozen=True)
class Asked:
    """What a solver is asked beside a problem.

    Attributes:
        objective: what is to be minimised.
        seed: seed of everything random.
        deadline: `time.monotonic()` value to stop at, None for no limit.
        parameters: the solver's own parameters.
        progress: is told texts.
        on_improvement: is told values.
    """

    objective: str = "latency"
    seed: int = 0
    deadline: float | None = None
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    progress: Callable[[str], None] = lambda _: None
    on_improvement: Callable[[float], None] = lambda _: None

    @property
    def budget(self) -> Budget:
        """The time, and who is told."""
        return Budget(self.deadline, self.progress, self.on_improvement)


def solve_with(solver: str, problem: Problem, asked: Asked | None = None) -> Plan:
    """The verified plan of a solver."""
    told = asked or Asked()
    outcome = run_solver(
        solver,
        problem.minimising(told.objective),
        told.budget,
        parameters=told.parameters,
        seed=told.seed,
    )
    return outcome.plan


def plan_of(solver: str, solution: Solution) -> Plan:
    """A solution as a plan, labelled; neither verified nor scored."""
    assignment, bound = solution.assignment, solution.bound
    return Plan(
        assignment.problem,
        assignment.residencies,
        assignment.transfers,
        solution.made_by or solver,
        notes=solution.notes,
        lower_bound=None if bound is None else bound.value,
        bound_source="" if bound is None else bound.source,
        statistics=solution.statistics,
    )
