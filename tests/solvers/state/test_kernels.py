"""Kernels run compiled or plain: the choice, and what plain ones need."""

import math
import subprocess
import sys
import time

import pytest

from tests.support.recurrent import chip, recurrent
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.kernel_store import activity
from ullage.solvers import budget
from ullage.solvers.budget import Budget
from ullage.solvers.engine import joining
from ullage.solvers.engine.jit import Kernel, interpreted
from ullage.solvers.heuristics.msa_search import advance
from ullage.solvers.state import kernels
from ullage.solvers.state.kernels import COMPILE_S, FEW_ACCESSES, choose_kernel

PLAN_WITHOUT_NUMBA = """
import sys
import time
from tests.support.recurrent import chip, recurrent
from ullage.solvers.run import run_solver
for name in ("greedy", "msa", "all-slow"):
    run_solver(name, recurrent(chip(512), 40))
assert "numba" not in sys.modules
"""


@pytest.mark.parametrize(
    ("accesses", "left_s", "ready", "compiles"),
    [
        (FEW_ACCESSES, float("inf"), True, False),
        (FEW_ACCESSES + 1, float("inf"), False, True),
        (FEW_ACCESSES + 1, COMPILE_S - 1, False, False),
        (FEW_ACCESSES + 1, COMPILE_S - 1, True, True),
        (FEW_ACCESSES + 1, COMPILE_S + 1, False, True),
    ],
)
def test_kernels_are_compiled_where_that_pays_and_there_is_time(
    monkeypatch: pytest.MonkeyPatch, accesses: int, left_s: float, ready: bool, compiles: bool
) -> None:
    monkeypatch.setattr(kernels, "is_compiled", lambda _: ready)
    monkeypatch.setattr(budget, "core_share", lambda: 1.0)
    left = Budget(None if math.isinf(left_s) else time.monotonic() + left_s)
    assert choose_kernel(advance, accesses, left).is_compiled is compiles


def test_plain_functions_call_plain_functions() -> None:
    assert isinstance(joining.join, Kernel)
    plain = interpreted(joining.try_candidates)
    inner = plain.__globals__["join"]  # type: ignore[attr-defined]
    assert inner is interpreted(joining.join)
    assert not any(isinstance(value, Kernel) for value in inner.__globals__.values())


def test_small_programs_need_no_numba() -> None:
    subprocess.run([sys.executable, "-c", PLAN_WITHOUT_NUMBA], check=True)


@pytest.mark.parametrize("solver", ["greedy", "msa"])
def test_without_time_to_compile_the_plan_is_the_same(
    monkeypatch: pytest.MonkeyPatch, solver: str
) -> None:
    problem = recurrent(chip(512), 120, 5)
    expected = solve_with(solver, problem)
    monkeypatch.setattr(kernels, "FEW_ACCESSES", 0)
    monkeypatch.setattr(kernels, "is_compiled", lambda _: False)
    monkeypatch.setattr(Budget, "has_time_to_compile", lambda *_: False)
    before = activity.compiled + activity.loaded
    assert solve_with(solver, problem) == expected
    assert activity.compiled + activity.loaded == before


def test_a_slice_of_plain_work_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is looked at between slices, and what is decided by then is the plan."""
    problem = recurrent(chip(512), 120, 5)
    looks = iter([100.0] * 6)
    monkeypatch.setattr(Budget, "remaining_s", lambda _: next(looks, -1.0))
    monkeypatch.setattr(kernels, "PLAIN_SLICE_WORK", 20)
    plan = solve_with("greedy", problem, Asked())
    assert any("time limit" in note for note in plan.notes)
