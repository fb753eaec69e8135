"""Under a time limit the quickest solver ends before another schedule is searched for."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tiled_models import residual_network, saved
from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.driver.compile import compile_model, prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.solving import best_of, in_order
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.solvers.interface import Solver
from ullage.solvers.registry import find_solver
from ullage.solvers.run import Outcome, run_solver
from ullage.solvers.scheduling.cascade import search
from ullage.solvers.scheduling.cascade.search import CascadeResult
from ullage.solvers.scheduling.cascade.valued import SchedulingTask

OPTIONS = CompileOptions(target="edge-npu-spm", fast_memory_bytes=8192, time_limit_s=600.0)


@pytest.mark.parametrize("ended", ["time limit", "finished", "no plan"])
def test_where_a_share_cuts_auto_short_the_quickest_solver_ends_before_the_search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: str
) -> None:
    """By the order of calls; the answer is as good as that of the quickest solver alone."""
    calls: list[str] = []

    def short(solver: Solver | str, problem: Problem, *more: object, **given: object) -> Outcome:
        """What `auto` has if its share ends at once: the plan that moves nothing."""
        name = solver if isinstance(solver, str) else solver.name
        if name != "all-slow":
            calls.append(name)
        if solver is not find_solver("auto"):
            return run_solver(solver, problem, *more, **given)  # type: ignore[arg-type]
        if ended == "no plan":
            raise TimeLimitError("no time for any solver")
        slow = run_solver("all-slow", problem)
        return replace(slow, solution=replace(slow.solution, stop_reason="finished"))

    def none_found(task: SchedulingTask) -> CascadeResult:
        calls.append("search")
        return CascadeResult(Schedule.whole(task.order))

    monkeypatch.setattr(in_order, "run_solver", short)
    monkeypatch.setattr(search, "schedule_until", none_found)
    monkeypatch.setattr(best_of, "why_needless", lambda _: "")  # a small model has no gap
    if ended != "finished":
        solve = best_of.solve_in_order

        def late(prepared: object, options: CompileOptions, **given: bool) -> object:
            compiled = solve(prepared, options, **given)  # type: ignore[arg-type]
            is_auto = options.solver == best_of.DEFAULT_SOLVER
            return replace(compiled, stop_reason="time limit") if is_auto else compiled

        monkeypatch.setattr(best_of, "solve_in_order", late)
    model = saved(residual_network(size=8), tmp_path)
    compiled = compile_model(model, OPTIONS)
    first = calls[: calls.index("search")]
    if ended == "finished":  # its solvers were all done: another run would find nothing new
        assert first == ["auto"]
        return
    assert first[0] == "auto"
    assert first[-1] == in_order.QUICKEST
    monkeypatch.setattr(in_order, "run_solver", run_solver)
    alone = compile_model(model, replace(OPTIONS, solver=in_order.QUICKEST, schedule="whole"))
    assert compiled.value <= alone.value
    assert compiled.value < run_solver("all-slow", compiled.plan.problem).value
    assert compiled.requested_solver == "auto"


def test_the_quickest_solver_that_ends_has_a_second_of_the_processor_and_half_of_the_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[float | None, float | None]] = []
    prepared = prepare(saved(residual_network(size=8), tmp_path), OPTIONS)

    def late(part: Prepared, options: CompileOptions, **_: bool) -> object:
        seen.append((part.work_s, options.time_limit_s))
        raise TimeLimitError("late")

    monkeypatch.setattr(best_of, "solve_best", late)
    assert best_of._with_quickest(None, prepared, OPTIONS, prepared.started) is None
    ((work_s, limit_s),) = seen
    assert work_s == best_of.ENDING_S
    assert limit_s is not None
    assert 300 <= limit_s < 600
    for other in (replace(OPTIONS, solver="msa"), replace(OPTIONS, time_limit_s=None)):
        assert best_of._with_quickest(None, prepared, other, prepared.started) is None
    assert len(seen) == 1
