"""What a solver is: `solve(problem, options, budget) -> Solution`, and what goes in and comes out.

A solver decides; it does not label, verify or score itself. `ullage.solvers.run` does that for all
alike, and compares the problem of the answer with the one that it gave.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ullage.compiler.ir.assignment import Assignment, assignment_of
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import Bound
from ullage.solvers.budget import Budget
from ullage.solvers.parameters import NoOptions

StopReason = Literal["finished", "time limit", "interrupted"]
# Objectives of solvers that spill; `peak` forbids spills and is another problem.
SPILLING_OBJECTIVES = ("latency", "traffic", "energy")


@dataclass(frozen=True)
class ShadowPrice:
    """The saving of one more unit of a resource, by the dual values of a linear program.

    Attributes:
        what: the unit, for people: `1 KiB more of sram`.
        saves: amount of the objective that it saves, in the objective's unit.
    """

    what: str
    saves: float


@dataclass(frozen=True)
class Solution:
    """The answer of a solver.

    Attributes:
        assignment: its decisions.
        bound: lower bound of the objective that it proved, None for none.
        stop_reason: why it ended; `interrupted` means Ctrl-C, with the best plan until then.
        shadow_prices: what more memory or bandwidth would save, where it knows.
        notes: fallbacks taken on the way, for people; never empty when one was.
        statistics: figures about the search, by name with unit.
        made_by: the solver that made it, where one of ours ran others; empty for itself.
    """

    assignment: Assignment
    bound: Bound | None = None
    stop_reason: StopReason = "finished"
    shadow_prices: tuple[ShadowPrice, ...] = ()
    notes: tuple[str, ...] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    made_by: str = ""


def solution_of(plan: Plan) -> Solution:
    """A complete plan as a solution, for solvers that make plans themselves."""
    bound = None if plan.lower_bound is None else Bound(plan.lower_bound, plan.bound_source)
    return Solution(assignment_of(plan), bound, notes=plan.notes)


SolveFunction = Callable[[Problem, Any, Budget], Solution]


@dataclass(frozen=True)
class Solver:
    """A registered solver.

    Attributes:
        name: what the command line calls it.
        summary: one line for `ullage solvers list`.
        solve: the function: (problem, options, budget) -> solution.
        options: dataclass of its parameters (`ullage.solvers.parameters.parameter`).
        objectives: what it can minimise.
        keeps_limit: it can minimise the peak under a limit of the latency.
        keeps_nothing: it keeps everything at home: the reference for the others.
        chooses_order: with some of its options it may change the order of operators.
        origin: `ullage` or the distribution that brought it.
        extra: the extra of ours that brings what it needs, empty for none.
        requires: top-level modules of that extra.
    """

    name: str
    summary: str
    solve: SolveFunction
    options: type = NoOptions
    objectives: tuple[str, ...] = SPILLING_OBJECTIVES
    chooses_order: bool = False
    keeps_limit: bool = False
    keeps_nothing: bool = False
    origin: str = "ullage"
    extra: str = ""
    requires: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it came with this package."""
        return self.origin == "ullage"
