"""The main job."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.cases import (
    chain,
    problem_for,
    solved,
    target_of,
)
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.common.units import format_time
from ullage.compiler.driver import compile as driver
from ullage.compiler.driver.compile import compile_model, compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.summary import summarise, summary_rows
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Tier
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.interface import Solver
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
    monkeypatch.setattr(driver, "SHORT_STEPS", 3)
    prepared = replace(driver.prepare(find_model("squeezenet"), CompileOptions()), import_s=1e6)
    with pytest.raises(TimeLimitError, match=r"after reading \d+ steps; .* give more time"):
        driver.solve_prepared(prepared, CompileOptions(solver="greedy", time_limit_s=1e5))


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_where_auto_has_no_plan_in_time_the_reference_is_the_plan(
    monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    def late(solver: Solver, problem: Problem, *more: object, **given: object) -> Outcome:
        if problem.objective == objective and solver is find_solver("auto"):
            raise TimeLimitError("no time for any solver")
        return run_solver(solver, problem, *more, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "run_solver", late)
    options = CompileOptions(schedule="whole", objective=objective)
    compiled = compile_model(find_model("squeezenet"), options)
    assert find_violations(compiled.plan) == []
    assert (compiled.plan.solver, compiled.stop_reason) == ("all-slow", "time limit")
    assert compiled.plan.objective == objective
    assert any("no time for any solver" in note for note in compiled.plan.notes)
    slow = run_solver("all-slow", compiled.plan.problem)
    assert compiled.value == pytest.approx(slow.value)
    monkeypatch.setattr(driver, "DEFAULT_SOLVER", "another")
    with pytest.raises(TimeLimitError, match="no time for any solver"):
        compile_model(find_model("squeezenet"), options)


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
        Tier(name, size, 16e9, 16e9, 16, addressable=False)
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
    assert row.endswith("beyond each byte moved once")
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
