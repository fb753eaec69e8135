"""The smallest memory that meets a latency."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.changes import with_target
from tests.support.sweeps import GREEDY, KIB, ask, problem_of
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.ir.problem import Problem
from ullage.compiler.studies.sweep import describe_sweep, sweep
from ullage.compiler.studies.sweep_meet import RESOLUTION, insufficient_bytes, judge, meets, refine
from ullage.compiler.studies.sweep_points import (
    Point,
    monotone,
    needed_bytes,
    required_bytes,
)
from ullage.hwmodels.bounds import Bound
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import greedy
from ullage.solvers.interface import Solution
from ullage.solvers.parameters import NoOptions


@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_the_smallest_size_is_found_to_the_resolution(deep: Path, share: float) -> None:
    coarse = sweep(deep, ask(points=3), GREEDY)
    values = [point.compiled.value for point in coarse.points if point.compiled]
    latency_s = values[-1] + share * (values[0] - values[-1])
    found = sweep(deep, ask(points=3, meet_latency_s=latency_s), GREEDY)
    answer = found.meeting
    assert answer is not None
    assert answer.smallest_bytes is not None
    sizes = {point.size_bytes: point for point in found.points}
    assert meets(sizes[answer.smallest_bytes], latency_s)
    below = [p for p in found.points if p.size_bytes < answer.smallest_bytes]
    assert below
    assert not any(meets(point, latency_s) for point in below)
    alignment = problem_of(deep).target.fastest.alignment_bytes
    apart = answer.smallest_bytes - below[-1].size_bytes
    assert apart <= max(alignment, RESOLUTION * answer.smallest_bytes)
    assert sum(point.refined for point in found.points) == len(found.points) - 3


def test_a_solver_that_proves_bounds_gives_both_ends(deep: Path) -> None:
    """The made-up bounds are true of the made-up plans: both fall at sizes that we know."""
    problem = problem_of(deep)
    slow = compile_problem(problem, CompileOptions(solver="all-slow"))
    quick = compile_problem(problem, GREEDY)
    assert quick.value < slow.value
    need = needed_bytes(quick.plan)
    excluded = need // 3

    def solve_at(size: int) -> Point:
        best = quick if size >= need else slow
        bound = slow.value if size <= excluded else quick.bound.value
        plan = replace(
            with_target(best.plan, problem.target.with_fast_memory(size)), lower_bound=bound
        )
        return Point(size, replace(best, plan=plan, bound=Bound(bound, "made-up")))

    points = list(monotone([solve_at(size) for size in (KIB, 64 * need)]))
    wanted = quick.value
    refine(points, wanted, 16, solve_at)
    answer = judge(points, wanted)
    assert answer.smallest_bytes is not None
    assert answer.insufficient_bytes is not None
    assert need <= answer.smallest_bytes <= 1.01 * need + 16
    assert excluded * 0.99 - 16 <= answer.insufficient_bytes <= excluded
    assert not answer.excluded
    assert str(answer.smallest_bytes) in answer.message
    assert "proven for this order not to be met with" in answer.message


def test_a_proof_of_every_order_says_so(deep: Path) -> None:
    found = sweep(deep, ask(meet_latency_s=1e-9), GREEDY)
    compiled = found.points[-1].compiled
    assert found.meeting is not None
    assert compiled is not None
    assert compiled.bound.every_order
    assert "for every order proves that none can" in found.meeting.message
    bound = Bound(compiled.bound.value, "made-up")
    of_this = replace(found.points[-1], compiled=replace(compiled, bound=bound))
    answer = judge([*found.points[:-1], of_this], 1e-9)
    assert "for this order proves that none can" in answer.message


def test_the_proof_that_operands_do_not_fit_counts(deep: Path) -> None:
    options = replace(GREEDY, target="cosma")
    found = sweep(deep, ask(1 * KIB, 1024 * KIB, 6, meet_latency_s=1.0), options)
    assert found.meeting is not None
    required = next(required_bytes(p.compiled.plan) for p in found.points if p.compiled)
    assert found.meeting.insufficient_bytes == required - 1
    assert found.meeting.smallest_bytes is not None
    assert required <= found.meeting.smallest_bytes <= 1.02 * required
    assert "for this order" in found.meeting.message  # what shares bytes may differ in others
    assert insufficient_bytes(found.points[-1:], 1.0) is None


def test_what_no_size_meets_is_said_with_the_proof_where_there_is_one(deep: Path) -> None:
    found = describe_sweep(sweep(deep, ask(meet_latency_s=1e-9), GREEDY))
    assert found["smallest_fast_memory_bytes"] is None
    assert found["largest_insufficient_bytes"] == 256 * KIB
    assert "proves that none can" in found["message"]
    assert found["best_latency_s"] == found["rows"][-1]["latency_s"]
    assert len(found["rows"]) == 7
    small = ask(2 * KIB, 4 * KIB, 3, meet_latency_s=1e-9)
    found = describe_sweep(sweep(deep, small, GREEDY))
    best, bound = found["best_latency_s"], found["best_lower_bound_s"]
    assert bound < best
    between = replace(small, meet_latency_s=(bound * best) ** 0.5)
    open_ = describe_sweep(sweep(deep, between, GREEDY))
    assert open_["smallest_fast_memory_bytes"] is None
    assert open_["largest_insufficient_bytes"] < 4 * KIB  # the bound excludes only the smaller ones
    assert "leaves open" in open_["message"]


def test_what_the_smallest_size_meets_needs_no_search(deep: Path) -> None:
    found = sweep(deep, ask(meet_latency_s=1.0), GREEDY)
    assert found.meeting is not None
    assert found.meeting.smallest_bytes == 4 * KIB
    assert found.meeting.at_range_start
    assert not any(point.refined for point in found.points)


def test_the_time_limit_ends_the_search_with_a_note(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(problem: Problem, _options: NoOptions, _budget: Budget) -> Solution:
        time.sleep(0.1)
        return greedy.solve(problem, greedy.GreedyOptions(), Budget())

    coarse = [p.compiled.value for p in sweep(deep, ask(points=3), GREEDY).points if p.compiled]
    asked = ask(points=3, meet_latency_s=(coarse[0] + coarse[-1]) / 2)
    found = sweep(deep, asked, solver(solve, time_limit_s=0.8))
    assert found.meeting is not None
    assert found.meeting.smallest_bytes is not None
    assert found.notes[0].startswith("the time limit ended the search for the smallest size")
    assert "--time-limit" in found.notes[0]
