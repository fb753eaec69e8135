"""Problems and plans with something changed in their program or target."""

from dataclasses import replace
from typing import Any

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target


def with_program(problem: Problem, **changes: Any) -> Problem:
    """A problem whose program has other fields."""
    return replace(problem, program=replace(problem.program, **changes))


def with_target(plan: Plan, target: Target) -> Plan:
    """A plan that says it is for another chip."""
    return replace(plan, problem=plan.problem.on(target))
