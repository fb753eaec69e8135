"""Short ways to ask for sweeps, and points of them made by hand."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.changes import with_target
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.studies.sweep import SweepOptions
from ullage.solvers import registry
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, Solver, solution_of
from ullage.solvers.parameters import NoOptions

KIB = 1024


GREEDY = CompileOptions(solver="greedy")


def ask(first: int = 4 * KIB, last: int = 256 * KIB, points: int = 7, **more: Any) -> SweepOptions:
    return SweepOptions(first, last, points, **more)


def problem_of(deep: Path, target: str = "edge-npu") -> Problem:
    from ullage.compiler.driver.compile import prepare

    return prepare(deep, CompileOptions(target=target)).problem


def made(plan: Plan, size: int) -> Compiled:
    """A hand-made plan as if it had been compiled for a size."""
    fitting = with_target(plan, plan.target.with_fast_memory(size))

    def solve(_problem: Problem, _options: NoOptions, _budget: Budget) -> Solution:
        return solution_of(fitting)

    patch = pytest.MonkeyPatch()
    known = registry.find_solver
    with patch.context() as context:
        context.setattr(
            "ullage.compiler.driver.options.find_solver",
            lambda name: Solver("hand", "", solve) if name == "hand" else known(name),
        )
        return compile_problem(fitting.problem, CompileOptions(solver="hand"))
