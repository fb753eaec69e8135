"""Plans that `fluid` holds against others."""

import math
from random import Random
from typing import Any

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from ullage.compiler.ir.problem import Problem
from ullage.solvers.fluid import sliced_plans, solver
from ullage.solvers.run import run_solver


def lost_problem() -> Problem:
    """One whose streaming plan is far above what heuristics find."""
    rng = Random(3)
    return scratchpad_problem(rng, scratchpad_target(rng, 1, room=4096), 9)


def test_a_lost_plan_of_a_long_program_is_held_against_heuristics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where slices find no addresses, the plan that keeps nothing is no answer."""

    def finds_nothing(*_: Any, **__: Any) -> None:
        raise LookupError

    for planner in ("_plan_in_parts", "_plan_in_one_piece"):
        monkeypatch.setattr(sliced_plans, planner, finds_nothing)
    monkeypatch.setattr(solver, "NEVER_FALLBACK_STEPS", 0)
    problem = lost_problem()
    found = run_solver("fluid", problem)
    heuristics = [run_solver(name, problem).value for name in ("greedy", "msa")]
    assert found.value == min(heuristics)
    monkeypatch.setattr(solver, "LOST_GAP", math.inf)
    assert run_solver("fluid", problem).value > 1.2 * found.value
