"""The main job."""

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.support.cases import (
    chain,
    problem_for,
    solved,
    target_of,
)
from tests.support.registering import put_in_place
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.common.units import format_time
from ullage.compiler.driver import compile as driver
from ullage.compiler.driver.compile import compile_model, compile_problem
from ullage.compiler.driver.options import WHOLE, CompileOptions
from ullage.compiler.driver.solving import best_of, in_order
from ullage.compiler.driver.summary import summarise, summary_rows
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Tier
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.registry import find_solver
from ullage.solvers.run import Outcome, run_solver


def test_compile_works_where_all_slow_has_no_room() -> None:
    """The reference plan does not fit the home tier; the plan asked for does."""
    tiers = target_of(1024).tiers
    target = target_of(1024, tiers=(tiers[0], replace(tiers[1], capacity_bytes=128)))
    build = chain()
    build.op(["x"], [("z", 64)])
    build.op(["a", "y", "z"], [("out", 32)])
    problem = problem_for(build, ["out"], target)
    assert solved("all-slow", problem, "latency") is None
    compiled = compile_problem(problem, CompileOptions(solver="greedy"))
    assert compiled.all_slow is None
    assert find_violations(compiled.plan) == []
    summary = summarise(compiled)
    assert summary["all_slow_latency_s"] is None
    assert summary["speedup_over_all_slow"] is None


def test_too_little_time_for_the_checks_of_a_large_model_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan of many steps takes as long to verify and replay as the model took to read."""
    monkeypatch.setattr(in_order, "SHORT_STEPS", 3)
    prepared = replace(driver.prepare(find_model("squeezenet"), CompileOptions()), import_s=1e6)
    with pytest.raises(TimeLimitError, match=r"after reading \d+ steps; .* give more time"):
        driver.solve_prepared(prepared, CompileOptions(solver="greedy", time_limit_s=1e5))


@pytest.mark.parametrize("objective", ["latency", "energy"])
@pytest.mark.parametrize("quickest", [True, False])
def test_where_auto_has_no_plan_in_time_a_quick_heuristics_is_the_plan_or_the_reference(
    monkeypatch: pytest.MonkeyPatch, objective: str, *, quickest: bool
) -> None:
    def late(solver: Solver | str, problem: Problem, *more: object, **given: object) -> Outcome:
        if problem.objective == objective and solver is find_solver("auto"):
            raise TimeLimitError("no time for any solver")
        if solver == in_order.QUICKEST and not quickest:
            raise InfeasibleError("no plan of this heuristic")
        return run_solver(solver, problem, *more, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(in_order, "run_solver", late)
    options = CompileOptions(schedule="whole", objective=objective)
    compiled = compile_model(find_model("squeezenet"), options)
    assert find_violations(compiled.plan) == []
    maker = in_order.QUICKEST if quickest else "all-slow"
    assert (compiled.plan.solver, compiled.stop_reason) == (maker, "time limit")
    assert compiled.plan.objective == objective
    assert any("no time for any solver" in note for note in compiled.plan.notes)
    slow = run_solver("all-slow", compiled.plan.problem)
    if quickest:
        assert compiled.value < 0.9 * slow.value
    else:
        assert compiled.value == pytest.approx(slow.value)
    monkeypatch.setattr(in_order, "DEFAULT_SOLVER", "another")
    with pytest.raises(TimeLimitError, match="no time for any solver"):
        compile_model(find_model("squeezenet"), options)


@pytest.mark.parametrize("whole_job", [True, False])  # compare and sweep solve what is prepared
def test_a_problem_is_not_told_to_cut_its_operators(whole_job: bool) -> None:
    build = chain()
    build.op(["x", "a"], [("out", 32)])
    target = load_target("edge-npu-spm").with_fast_memory(64)
    problem = problem_for(build, ["out"], target)
    options = CompileOptions(solver="greedy")
    prepared = driver._prepared_problem(problem, options)
    with pytest.raises(InfeasibleError, match=r"To do: give it more \(--fast-memory") as raised:
        compile_problem(problem) if whole_job else driver.solve_prepared(prepared, options)
    assert "--schedule" not in raised.value.message
    assert "tiles.allowed" not in raised.value.message
    remedies = raised.value.details["remedies"]
    assert remedies
    assert not any("--schedule" in remedy or "tiles" in remedy for remedy in remedies)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "edge-npu"}, "option target is 'edge-npu' .* of another: 'hand'"),
        ({"overrides": {"split_operands": "false"}}, "option overrides"),
        ({"fast_memory_bytes": 7}, "option fast_memory_bytes is 7, .* has 64"),
        ({"order": "joint"}, "option order is 'joint'"),
        ({"objective": "energy"}, "option objective is 'energy', .* to minimise 'latency'"),
        ({"objective": "beauty"}, "option objective is 'beauty'"),
        ({"dims": {"n": 2}}, "option dims"),
        ({"batch": 2}, "option batch"),
        ({"dtype": "int8"}, "option dtype"),
        ({"fuse": False}, "option fuse"),
        ({"alias": False}, "option alias"),
    ],
)
def test_options_that_contradict_a_problem_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    problem = problem_for(chain(), ["y"], target_of(64))
    with pytest.raises(UsageError, match=message):
        compile_problem(problem, CompileOptions(**changes))


def test_options_that_agree_with_a_problem_are_accepted() -> None:
    chip = load_target("edge-npu")
    problem = problem_for(chain(), ["y"], chip)
    for changes in (
        {"target": "edge-npu"},
        {"fast_memory_bytes": chip.fastest.capacity_bytes},
        {"order": problem.program.order},
        {"objective": "latency"},
    ):
        agreed: dict[str, Any] = changes
        assert compile_problem(problem, CompileOptions(**agreed)).plan.target == chip
    small = problem.on(chip.with_fast_memory(4096))
    options = CompileOptions(target="edge-npu", fast_memory_bytes=4096)
    assert compile_problem(small, options).plan.target == small.target


def test_a_problem_keeps_its_objective_whatever_else_is_asked() -> None:
    problem = problem_for(chain(), ["y"], target_of(64)).minimising("energy")
    for options in (None, CompileOptions(solver="greedy"), CompileOptions(objective="energy")):
        assert compile_problem(problem, options).plan.objective == "energy"


def test_hops_that_no_plan_avoids_are_not_called_avoidable() -> None:
    tiers = tuple(
        Tier(name, size, 16e9, 16e9, 16, addressable=name == "tcm")
        for name, size in (("tcm", 4096), ("l2", 4096), ("dram", 1 << 20))
    )
    pairs = (("dram", "l2"), ("l2", "tcm"), ("tcm", "l2"), ("l2", "dram"))
    links = tuple(Link(a, b, 1e9) for a, b in pairs)
    problem = problem_for(chain(), ["y"], target_of(4096, tiers=tiers, links=links))
    done = compile_problem(problem.minimising("traffic"), CompileOptions(solver="fluid"))
    summary = summarise(done)
    assert summary["noncompulsory_bytes"] >= summary["compulsory_bytes"] > 0  # two hops each way
    assert summary["lower_bound"] > 0.9 * summary["noncompulsory_bytes"]  # which no plan avoids
    row = dict(summary_rows(done, summary))["slow traffic"]
    assert row.endswith("beyond each byte moved once over one link")
    assert "compulsory" not in row


def test_in_steady_state_weights_count_as_moved_once_too_often() -> None:
    problem = problem_for(chain(), ["y"], target_of(4096))
    steady = replace(problem, program=replace(problem.program, steady_state=True))
    done = compile_problem(steady, CompileOptions())
    row = dict(summary_rows(done, summarise(done)))["slow traffic"]
    assert row.endswith("beyond inputs and outputs moved once")


def test_results_are_shown_in_a_line() -> None:
    done = driver.compile_model("resnet50", CompileOptions(solver="greedy", dtype="int8"))
    shown = repr(done)
    assert "light_resnet50 on edge-npu by greedy" in shown
    assert f"latency {format_time(done.score.latency_s)}, lower bound" in shown
    for part in (done, done.plan, done.plan.problem, done.plan.program, done.graph):
        assert len(repr(part)) < 300
    for figures in (done.score, done.simulation):
        assert len(repr(figures)) < 1000
        assert "array" not in repr(figures)


# Seconds of a limit that no machine needs here.
AMPLE_S = 600.0


def test_a_plan_of_auto_that_moved_nothing_in_time_gives_way_to_a_heuristics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(problem: Problem, _options: object, _budget: Budget) -> Solution:
        return replace(run_solver("all-slow", problem).solution, stop_reason="time limit")

    put_in_place("auto", late, monkeypatch)
    options = CompileOptions(schedule=WHOLE, time_limit_s=AMPLE_S)
    compiled = compile_model(find_model("squeezenet"), options)
    assert (compiled.plan.solver, compiled.stop_reason) == (in_order.QUICKEST, "time limit")
    assert compiled.all_slow is not None
    assert compiled.value < 0.9 * compiled.all_slow.latency_s
    assert any("this is the plan of greedy" in note for note in compiled.plan.notes)


def test_checks_are_left_no_more_than_their_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[float] = []

    def asked(problem: Problem, _options: object, budget: Budget) -> Solution:
        left.append(budget.remaining_s())
        return run_solver("all-slow", problem).solution

    monkeypatch.setattr(in_order, "CLOSING_SHARE", 1e9)
    put_in_place("msa", asked, monkeypatch)
    options = CompileOptions(solver="msa", schedule=WHOLE, time_limit_s=AMPLE_S)
    compile_model(find_model("squeezenet"), options)
    assert 0.25 * AMPLE_S < left[0] < (1 - in_order.MOST_CLOSING_SHARE) * AMPLE_S


def test_whole_operators_cut_short_are_planned_again_where_a_search_leaves_time() -> None:
    options = CompileOptions(solver="greedy", schedule=WHOLE, time_limit_s=AMPLE_S)
    prepared = driver.prepare(find_model("squeezenet"), options)
    slow = driver.solve_prepared(prepared, replace(options, solver="all-slow"))
    begun = time.monotonic()
    short = replace(slow, stop_reason="time limit", solve_s=0.1)
    again = best_of._with_time_left(short, prepared, options, begun, quick_bound=False)
    assert again.plan.solver == "greedy"
    assert again.value < slow.value
    assert again.solve_s > short.solve_s
    for kept in (slow, replace(short, solve_s=AMPLE_S)):
        assert best_of._with_time_left(kept, prepared, options, begun, quick_bound=False) is kept
    unlimited = replace(options, time_limit_s=None)
    assert best_of._with_time_left(short, prepared, unlimited, begun, quick_bound=False) is short


def test_a_part_of_a_job_is_not_charged_with_what_came_before_it() -> None:
    begun = time.monotonic() - AMPLE_S
    options = CompileOptions(
        solver="greedy", schedule=WHOLE, begun=begun, time_limit_s=1.5 * AMPLE_S
    )
    compiled = driver.compile_part(find_model("squeezenet"), options, 0.25)
    assert compiled.stop_reason == "finished"
    assert compiled.total_s < AMPLE_S
    with pytest.raises(TimeLimitError):
        driver.compile_part(find_model("squeezenet"), replace(options, time_limit_s=1.0), 0.25)
