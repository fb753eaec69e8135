"""Sweeps: sizes, honest carrying over between them, bisection, time limits, Ctrl-C."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.support.changes import with_target
from tests.support.plans import PLANS
from tests.support.solving import solve_with
from ullage.compiler.common.errors import (
    ContractError,
    InfeasibleError,
    TimeLimitError,
    UllageError,
    UsageError,
    VerificationError,
)
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.studies.sweep import SweepOptions, describe_sweep, sweep
from ullage.compiler.studies.sweep_meet import RESOLUTION, insufficient_bytes, judge, meets, refine
from ullage.compiler.studies.sweep_points import (
    Point,
    monotone,
    needed_bytes,
    parse_range,
    required_bytes,
    spaced,
    take_over,
)
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import Bound
from ullage.solvers import registry
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import greedy
from ullage.solvers.interface import Solution, SolveFunction, Solver, solution_of
from ullage.solvers.parameters import NoOptions

KIB = 1024


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six matrix products with residual sums: latency falls in many small steps of memory."""
    nodes, weights, last = [], [], "x"
    for k in range(6):
        name = "y" if k == 5 else f"s{k}"
        nodes.append(helper.make_node("MatMul", [last, f"w{k}"], [f"m{k}"]))
        nodes.append(helper.make_node("Add", [f"m{k}", last], [name]))
        weights.append(helper.make_tensor(f"w{k}", TensorProto.FLOAT, [64, 64], [0.01] * 4096))
        last = name
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [64, 64]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "deep", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("models") / "deep.onnx"
    onnx.save(model, path)
    return path


GREEDY = CompileOptions(solver="greedy")


def ask(first: int = 4 * KIB, last: int = 256 * KIB, points: int = 7, **more: Any) -> SweepOptions:
    return SweepOptions(first, last, points, **more)


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., CompileOptions]:
    """Register a solver for one test; returns options that ask for it."""

    def put(solve: SolveFunction, **options: Any) -> CompileOptions:
        known = registry.find_solver

        def find(name: str) -> Solver:
            return Solver("made-up", "", solve) if name == "made-up" else known(name)

        monkeypatch.setattr("ullage.compiler.driver.options.find_solver", find)
        return CompileOptions(solver="made-up", **options)

    return put


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


# sizes


@given(
    first=st.integers(1, 2**40),
    factor=st.integers(1, 2**12),
    count=st.integers(2, 40),
    alignment=st.sampled_from([1, 4, 16, 256]),
)
@settings(max_examples=200, deadline=None)
def test_sizes_are_geometric_aligned_distinct_with_exact_ends(
    first: int, factor: int, count: int, alignment: int
) -> None:
    last = first * factor
    sizes = spaced(first, last, count, alignment)
    assert (sizes[0], sizes[-1]) == (first, last)
    assert list(sizes) == sorted(set(sizes))
    assert len(sizes) <= count
    assert all(size % alignment == 0 for size in sizes[1:-1])
    if first > 1000 * alignment * count and factor > count:
        assert len(sizes) == count
        ratios = [b / a for a, b in pairwise(sizes)]
        assert max(ratios) / min(ratios) < 1.01


def test_a_range_is_two_sizes_the_smaller_first() -> None:
    assert parse_range("64KiB..1MiB") == (65536, 1 << 20)
    assert parse_range("4096..4096") == (4096, 4096)
    for text in ("64KiB", "1MiB..64KiB", "0..1MiB", "a..b", "..", "1MiB.."):
        with pytest.raises(UsageError):
            parse_range(text)
    with pytest.raises(UsageError, match="at least 2"):
        spaced(1, 100, 1, 1)
    assert spaced(64, 64, 9, 16) == (64,)


# what plans and bounds say about other sizes


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_legal_in_what_it_needs_and_in_no_byte_less(name: str) -> None:
    plan = PLANS[name]
    needed = needed_bytes(plan)
    assert 0 < needed <= plan.target.fastest.capacity_bytes
    assert not find_violations(with_target(plan, plan.target.with_fast_memory(needed)))
    assert find_violations(with_target(plan, plan.target.with_fast_memory(needed - 1)))
    assert required_bytes(plan) <= needed


def test_required_bytes_are_what_the_solvers_refuse_below(deep: Path) -> None:
    problem = problem_of(deep, "cosma")
    required = required_bytes(solve_with("greedy", problem))
    assert required > 0
    for name in ("greedy", "all-slow"):
        with pytest.raises(InfeasibleError):
            solve_with(name, problem.on(problem.target.with_fast_memory(required - 1)))
    assert required_bytes(solve_with("all-slow", problem_of(deep))) == 0


def test_monotone_takes_over_better_plans_in_both_directions_and_larger_bounds() -> None:
    good = made(PLANS["late_fetch"], 64)
    need = needed_bytes(good.plan)
    slow = solve_with("all-slow", good.plan.problem)
    bad = made(slow, 48)
    assert good.value < bad.value
    assert good.bound.value < good.value
    proven = replace(good, bound=Bound((good.bound.value + good.value) / 2, "made-up"))
    points = monotone(
        [
            Point(128, made(slow, 128)),
            Point(64, proven),
            Point(need, made(slow, need)),
            Point(need - 1, made(slow, need - 1)),
            Point(96, error=TimeLimitError("late")),
        ]
    )
    sizes = [point.size_bytes for point in points]
    assert sizes == [need - 1, need, 64, 96, 128]
    taken = [point.taken_from_bytes for point in points]
    assert taken == [None, 64, None, 64, 64]
    for point in points:
        assert point.compiled is not None
        assert point.compiled.plan.target.fastest.capacity_bytes == point.size_bytes
        assert not find_violations(point.compiled.plan)
        assert point.compiled.bound.value <= point.compiled.value
    values = [point.compiled.value for point in points if point.compiled]
    assert values == sorted(values, reverse=True)
    assert [point.bound_from_bytes for point in points] == [64, 64, None, None, None]
    first, failed = points[0].compiled, points[3].compiled
    assert first is not None
    assert failed is not None
    assert (
        first.bound
        == Bound(proven.bound.value, "made-up")
        == Bound(first.plan.lower_bound or 0, first.plan.bound_source)
    )
    assert any("late" in note for note in failed.plan.notes)
    assert monotone(points) == points


def test_a_plan_that_does_not_fit_is_never_taken_over() -> None:
    good = made(PLANS["chain"], 64)
    tight = Point(needed_bytes(good.plan) - 1)
    with pytest.raises(VerificationError):
        take_over(tight, Point(64, good), "a test wants it")


# whole sweeps


def test_a_sweep_is_monotone_and_each_point_is_as_good_as_compiling_for_it(deep: Path) -> None:
    found = sweep(deep, ask(), GREEDY)
    values, bounds = [], []
    for point in found.points:
        assert point.compiled is not None
        assert not find_violations(point.compiled.plan)
        assert point.compiled.plan.target.fastest.capacity_bytes == point.size_bytes
        values.append(point.compiled.value)
        bounds.append(point.compiled.bound.value)
        problem = problem_of(deep)
        chip = problem.target.with_fast_memory(point.size_bytes)
        alone = compile_problem(problem.on(chip), GREEDY)
        assert point.compiled.value <= alone.value * (1 + 1e-9)
        if point.taken_from_bytes is None:
            assert point.compiled.value == alone.value
    assert values == sorted(values, reverse=True)
    assert bounds == sorted(bounds, reverse=True)
    assert values[-1] < 0.9 * values[0]


def test_a_plan_that_cannot_be_beaten_is_carried_on_without_solving(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    asked: list[int] = []

    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        asked.append(target.fastest.capacity_bytes)
        return greedy.solve(problem, greedy.GreedyOptions(), budget)

    options = solver(solve, objective="traffic")
    found = sweep(deep, ask(4 * KIB, 1024 * KIB, 9), options)
    zero = [p.size_bytes for p in found.points if p.compiled and p.compiled.value == 0]
    assert len(zero) >= 2
    assert asked == [p.size_bytes for p in found.points if p.size_bytes <= zero[0]]


def test_infeasible_sizes_are_rows_and_all_infeasible_is_an_error(deep: Path) -> None:
    cosma = replace(GREEDY, target="cosma")
    found = describe_sweep(sweep(deep, ask(1 * KIB, 64 * KIB), cosma))
    statuses = [row["status"] for row in found["rows"]]
    assert statuses[0] == "infeasible"
    assert statuses[-1] in ("feasible", "optimal")
    row = found["rows"][0]
    assert row["fast_memory_bytes"] == row["error"]["details"]["available_bytes"] == KIB
    assert (row["model"], row["solver"], row["target"]) == ("deep", "greedy", "cosma")
    with pytest.raises(InfeasibleError) as caught:
        sweep(deep, ask(1 * KIB, 2 * KIB, 3), cosma)
    assert caught.value.details["available_bytes"] == 2 * KIB


@pytest.mark.parametrize(
    ("asked", "options", "word"),
    [
        (ask(), CompileOptions(objective="peak"), "peak"),
        (ask(), CompileOptions(solver="nobody"), "nobody"),
        (ask(meet_latency_s=1.0), CompileOptions(objective="energy"), "--objective latency"),
        (ask(meet_latency_s=0.0), CompileOptions(), "above 0"),
        (ask(meet_latency_s=float("nan")), CompileOptions(), "above 0"),
    ],
)
def test_nonsense_is_refused_before_the_model_is_read(
    asked: SweepOptions, options: CompileOptions, word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        sweep(Path("missing.onnx"), asked, options)


# time limit and Ctrl-C


def test_the_time_limit_is_shared_by_all_sizes(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        time.sleep(max(0.0, budget.remaining_s()))
        return greedy.solve(problem, greedy.GreedyOptions(), budget)

    begun = time.monotonic()
    found = sweep(deep, ask(points=5), solver(solve, time_limit_s=1.5))
    assert time.monotonic() - begun < 1.1 * 1.5 + 1
    spent = [p.compiled.solve_s for p in found.points if p.compiled and not p.taken_from_bytes]
    assert len(spent) >= 3
    assert max(spent) < 0.8


def test_sizes_without_time_left_take_over_or_say_so(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        if target.fastest.capacity_bytes > 16 * KIB:
            raise TimeLimitError("too slow for this size")
        return greedy.solve(problem, greedy.GreedyOptions(), budget)

    found = sweep(deep, ask(), solver(solve))
    last = found.points[-1]
    assert last.taken_from_bytes == 16 * KIB
    assert last.compiled is not None
    assert any("too slow for this size" in note for note in last.compiled.plan.notes)
    with pytest.raises(TimeLimitError, match=r"shared by all sizes|before solving began"):
        sweep(deep, ask(), replace(GREEDY, time_limit_s=1e-6))


def test_a_size_that_was_cut_short_gets_the_time_that_others_left(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    asked: list[int] = []

    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        asked.append(target.fastest.capacity_bytes)
        if len(asked) == 1:
            raise TimeLimitError("a slow start")
        return greedy.solve(problem, greedy.GreedyOptions(), budget)

    found = sweep(deep, ask(points=3), solver(solve, time_limit_s=30))
    assert asked[0] == asked[-1] == 4 * KIB
    assert asked.count(4 * KIB) == 2
    assert found.points[0].compiled is not None
    assert found.points[0].error is None
    assert found.points[0].taken_from_bytes is None
    assert not found.notes


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_keeps_the_finished_sizes(
    deep: Path, solver: Callable[..., CompileOptions], *, kept: bool
) -> None:
    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        found = greedy.solve(problem, greedy.GreedyOptions(), budget)
        if target.fastest.capacity_bytes < 32 * KIB:
            return found
        if kept:
            return replace(found, stop_reason="interrupted")
        raise KeyboardInterrupt

    found = sweep(deep, ask(), solver(solve))
    done = [4 * KIB, 8 * KIB, 16 * KIB, *([32 * KIB] if kept else [])]
    assert found.partial
    assert [point.size_bytes for point in found.points] == done
    assert describe_sweep(found)["partial"] is True


def test_ctrl_c_before_any_plan_is_passed_on(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(_problem: Problem, _options: NoOptions, _budget: Budget) -> Solution:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(deep, ask(), solver(solve))


def test_a_defect_at_one_size_does_not_lose_the_others(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        found = greedy.solve(problem, greedy.GreedyOptions(), budget)
        if target.fastest.capacity_bytes == 4 * KIB:
            held = found.assignment.residencies[1:]
            return replace(found, assignment=replace(found.assignment, residencies=held))
        return found

    first = sweep(deep, ask(), solver(solve)).points[0]
    assert isinstance(first.error, ContractError)
    if first.compiled is not None:  # a plan of a larger size fits
        assert any("broke its contract" in note for note in first.compiled.plan.notes)
    only = sweep(deep, ask(4 * KIB, 8 * KIB, 2), solver(solve)).points
    assert only[1].compiled is not None


# meeting a latency


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


def test_the_proof_that_operands_do_not_fit_counts(deep: Path) -> None:
    options = replace(GREEDY, target="cosma")
    found = sweep(deep, ask(1 * KIB, 1024 * KIB, 6, meet_latency_s=1.0), options)
    assert found.meeting is not None
    required = next(required_bytes(p.compiled.plan) for p in found.points if p.compiled)
    assert found.meeting.insufficient_bytes == required - 1
    assert found.meeting.smallest_bytes is not None
    assert required <= found.meeting.smallest_bytes <= 1.02 * required
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
    assert open_["smallest_fast_memory_bytes"] is open_["largest_insufficient_bytes"] is None
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
    assert len(found.notes) == 1
    assert "--time-limit" in found.notes[0]


def test_errors_other_than_of_a_size_end_the_sweep(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(_problem: Problem, _options: NoOptions, _budget: Budget) -> Solution:
        raise UsageError("a wrong parameter")

    with pytest.raises(UllageError, match="wrong parameter"):
        sweep(deep, ask(), solver(solve))
