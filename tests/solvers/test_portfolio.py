"""`auto`: the best plan under one deadline, whatever its members do."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.support import evil
from tests.support.cases import (
    chain,
    problem_for,
    target_of,
)
from tests.support.registering import put_in_place, register
from tests.support.solving import Asked, solve_with
from tests.support.tiled_models import residual_network
from ullage.compiler.common.errors import ContractError, InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.importer.build import import_model
from ullage.compiler.ir.assignment import assignment_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.lowering.tiling.cut import cut_output
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import value_of
from ullage.solvers import portfolio
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, StopReason
from ullage.solvers.paths.greedy import brings_operands
from ullage.solvers.run import Outcome, run_solver


def interrupted(_: Problem, __: object, ___: Budget) -> Solution:
    raise KeyboardInterrupt


def late(_: Problem, __: object, ___: Budget) -> Solution:
    raise InfeasibleError("no", {"tier": "sram"})


def auto(
    members: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, limit_s: float = 1e9
) -> Outcome:
    """Run `auto` with other solvers in place of some of its members."""
    for name, function in members.items():
        put_in_place(name, function, monkeypatch)
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    deadline = time.monotonic() + limit_s
    return run_solver("auto", problem, Budget(deadline))


def test_portfolio_keeps_the_best_plan_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = auto({"msa": interrupted}, monkeypatch)
    assert outcome.plan.solver == "greedy"
    assert outcome.solution.stop_reason == "interrupted"
    assert outcome.interrupted


def cut_short(problem: Problem, options: object, budget: Budget) -> Solution:
    """A worse plan than greedy's, kept when the user interrupted."""
    found = evil.honest(problem, options, budget)
    return replace(found, stop_reason="interrupted")


def test_an_interrupted_member_that_does_not_win_interrupts_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(_: Problem, __: object, ___: Budget) -> Solution:
        raise AssertionError("the portfolio went on")

    outcome = auto({"msa": cut_short, "fluid": never}, monkeypatch)
    assert outcome.plan.solver == "greedy"
    assert outcome.interrupted


def test_portfolio_passes_on_an_interrupt_before_any_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        auto({"greedy": interrupted}, monkeypatch)


def test_portfolio_goes_on_when_a_member_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = auto({"greedy": late}, monkeypatch).plan
    assert plan.solver == "msa"
    assert plan.notes == ("auto: greedy found no plan: no",)


def test_portfolio_says_when_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TimeLimitError, match="give more"):
        auto({}, monkeypatch, limit_s=0.0)


@pytest.mark.parametrize("made_by", ["", "msa"])
def test_portfolio_notes_who_was_left_out_but_nobody_whose_plan_it_has(
    monkeypatch: pytest.MonkeyPatch, made_by: str
) -> None:
    def late_plan(problem: Problem, options: object, budget: Budget) -> Solution:
        time.sleep(0.3)  # beyond its share, and the limit
        return replace(evil.honest(problem, options, budget), made_by=made_by)

    plan = auto({"greedy": late_plan}, monkeypatch, limit_s=0.3).plan
    left = [name for name in ("msa", "fluid") if name != made_by]
    assert plan.solver == (made_by or "greedy")
    assert plan.notes[-1:] == (f"auto: the time limit left out {', '.join(left)}",)


def busy(problem: Problem, options: object, budget: Budget) -> Solution:
    """A plan that takes all the time that there is."""
    while not budget.is_over():
        pass
    found = evil.honest(problem, options, budget)
    return replace(found, bound=None, stop_reason="time limit")


def test_members_have_shares_of_the_time_and_what_others_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    had: dict[str, float] = {}

    def noted(solver: str, problem: Problem, budget: Budget, **_: Any) -> Outcome:
        had[solver] = budget.remaining_s()
        return Outcome(run_solver("all-slow", problem).plan, score, evil_solution, 0.0)

    problem = problem_for(chain(), ["y"], target_of(1024))
    slow = run_solver("all-slow", problem)
    score, evil_solution = slow.score, replace(slow.solution, bound=None)
    monkeypatch.setattr(portfolio, "run_solver", noted)
    run_solver("auto", problem, Budget(time.monotonic() + 1000.0), parameters={"refine": ""})
    members = ["greedy", "msa", "fluid", "all-slow"]
    assert [round(had[name], -1) for name in members] == [250, 330, 1000, 1000]
    had.clear()
    run_solver("auto", problem, parameters={"refine": "", "work_s": 1000})
    assert [round(had[name], -1) for name in members] == [250, 330, 1000, 1000]
    had.clear()
    spm = problem_for(chain(), ["y"], target_of(1024, operand_access="fastest"))
    assert brings_operands(spm)
    run_solver("auto", spm, Budget(time.monotonic() + 1000.0), parameters={"refine": ""})
    members = ["fluid", "greedy", "msa", "all-slow"]
    assert list(had) == members
    assert [round(had[name], -1) for name in members] == [900, 500, 1000, 1000]


def test_without_a_limit_work_is_limited_and_the_note_names_who_was_cut_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("greedy", "msa", "fluid"):
        put_in_place(name, busy, monkeypatch)
    problem = problem_for(chain(), ["y"], target_of(1024))
    begun = time.process_time()
    given = {"work_s": 0.2, "refine": ""}
    solution = run_solver("auto", problem, parameters=given).solution
    assert time.process_time() - begun < 1.0  # of work, however busy the machine is
    assert solution.notes[-1] == (
        "auto: 0.2 s of the processor, which it has without a time limit, cut greedy and msa and "
        "fluid short (--time-limit gives more)"
    )
    put_in_place("greedy", late, monkeypatch)  # whoever has no plan yet is waited for
    solution = run_solver("auto", problem, parameters={**given, "work_s": 0}).solution
    assert "cut msa short and left out fluid" in solution.notes[-1]


def test_work_grows_with_long_programs() -> None:
    problem = problem_for(chain(), ["y"], target_of(1024))
    assert portfolio.work_for(problem, 8.0) == 8.0
    step = next(step for step in problem.steps if step.operator >= 0)
    long = replace(problem, program=replace(problem.program, steps=(step,) * 2500))
    assert portfolio.work_for(long, 8.0) == 20.0


def test_a_plan_near_its_bound_is_enough_where_operands_come_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped: list[StopReason] = ["finished"]

    def near(problem: Problem, options: Any, budget: Budget) -> Solution:
        assert options.own_plan  # the heuristics are asked here
        found = evil.honest(problem, options, budget)
        bound = Bound(value_of(found.assignment) * (1 - 9e-4), "a test")
        return replace(found, bound=bound, stop_reason=stopped[0])

    put_in_place("fluid", near, monkeypatch)
    ran = []

    def noted(solver: str, *rest: Any, **named: Any) -> Outcome:
        ran.append(solver)
        return run_solver(solver, *rest, **named)

    monkeypatch.setattr(portfolio, "run_solver", noted)
    spm = problem_for(chain(), ["y"], target_of(1024, operand_access="fastest"))
    assert run_solver("auto", spm).plan.lower_bound is not None
    assert ran == ["fluid"]
    monkeypatch.setattr(portfolio, "PIECES_GAP", 8e-4)
    run_solver("auto", spm)
    assert ran[1:4] == ["fluid", "greedy", "msa"]
    stopped[0] = "time limit"  # what is left helps nobody
    ran.clear()
    run_solver("auto", spm)
    assert ran[:1] == ["fluid"]
    assert not {"greedy", "msa", "all-slow"}.intersection(ran)


@pytest.mark.parametrize("proven", [True, False])
def test_what_no_member_planned_in_time_is_infeasible_only_where_proven(
    monkeypatch: pytest.MonkeyPatch, *, proven: bool
) -> None:
    def refuses(_: Problem, __: object, budget: Budget) -> Solution:
        time.sleep(budget.remaining_s() + 0.3)  # beyond its share, and the limit
        raise InfeasibleError("no room. To do: more", {"tier": "sram", "proven": proven})

    kind = InfeasibleError if proven else TimeLimitError
    with pytest.raises(kind, match="no room") as raised:
        auto({"greedy": refuses}, monkeypatch, limit_s=0.3)
    assert ("found no plan in time" in raised.value.message) is not proven


@pytest.mark.parametrize(
    ("limit_s", "changes", "refine", "asked"),
    [
        (30.0, {"split_operands": False}, "cpsat", 1),
        (30.0, {"split_operands": False}, "", 0),
        (None, {"split_operands": False}, "cpsat", 1),
        (None, {"split_operands": True}, "cpsat", 1),  # far above its bound
        (None, {"split_operands": False}, "", 0),
        (1.0, {"split_operands": False}, "cpsat", 0),
    ],
)
def test_portfolio_gives_the_time_that_is_left_to_an_exact_solver(
    monkeypatch: pytest.MonkeyPatch,
    limit_s: float | None,
    changes: dict[str, Any],
    refine: str,
    asked: int,
) -> None:
    calls: list[Budget] = []
    target = replace(target_of(1024), **changes)
    problem = problem_for(chain(), ["y"], target)

    def exact(_: Problem, __: object, told: Budget) -> Solution:
        calls.append(told)
        return run_solver("msa", problem, told).solution

    put_in_place("cpsat", exact, monkeypatch)
    if limit_s is None:  # all-slow proves no bound to be far from
        monkeypatch.setattr(portfolio._Race, "gap", lambda _: 0.5)
    deadline = None if limit_s is None else time.monotonic() + limit_s
    parameters = {"members": "all-slow", "refine": refine}
    options = Asked(deadline=deadline, parameters=parameters)
    plan = solve_with("auto", problem, options)
    assert len(calls) == asked
    assert plan.solver == ("cpsat" if asked else "all-slow")
    for told in calls:
        if deadline is not None:
            assert told.deadline == deadline
        else:
            assert told.deadline is not None
            assert told.deadline - time.monotonic() <= 4.0
            assert any("so cpsat had 4 s as well" in note for note in plan.notes)


def test_portfolio_without_patience_stops_at_quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place("cpsat", lambda *_: pytest.fail("asked"), monkeypatch)
    monkeypatch.setattr(portfolio._Race, "gap", lambda _: 0.5)
    problem = problem_for(chain(), ["y"], replace(target_of(1024), split_operands=False))
    parameters = {"members": "all-slow", "patience_s": 0.0}
    assert solve_with("auto", problem, Asked(parameters=parameters)).solver == "all-slow"


def test_portfolio_knows_no_unknown_exact_solver() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    with pytest.raises(UsageError, match="no solver named 'nobody'"):
        solve_with("auto", problem, Asked(parameters={"refine": "nobody"}))


@pytest.mark.parametrize("members", ["", "auto", "greedy,auto"])
def test_portfolio_refuses_itself_as_a_member(members: str) -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    with pytest.raises(UsageError, match="members of auto must be other solvers"):
        solve_with("auto", problem, Asked(parameters={"members": members}))


def test_portfolio_says_what_broke_where_no_member_had_a_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(monkeypatch, {"raises": evil.raises})
    problem = problem_for(chain(), ["y"], target_of(1024))
    with pytest.raises(ContractError, match="solver raises of third party broke its contract"):
        run_solver("auto", problem, parameters={"members": "raises"})


def test_programs_of_many_parts_are_left_to_the_linear_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = import_model(residual_network(size=32))
    order = range(len(graph.operators))
    maker = graph.operators[0].outputs[0]
    parts = cut_output(graph, maker, {2: 2, 3: 2}).parts
    assert len(parts) > len(order)
    target = load_target("edge-npu").with_fast_memory(6144)
    problem = Problem(lower_schedule(graph, Schedule("mine", parts)), target)
    ran = []

    def noted(solver: str, *rest: Any, **named: Any) -> Outcome:
        ran.append(solver)
        return run_solver(solver, *rest, **named)

    monkeypatch.setattr(portfolio, "run_solver", noted)
    run_solver("auto", problem)
    assert ran[0] == "greedy"
    assert len(ran) > 3
    ran.clear()
    monkeypatch.setattr(portfolio, "MANY_PARTS", problem.program.parts - 1)
    monkeypatch.setattr(portfolio, "FAR_PARTS", 1e9)  # near enough
    plan = run_solver("auto", problem).plan
    assert ran == ["fluid"]
    assert plan.lower_bound is not None
    ran.clear()
    monkeypatch.setattr(portfolio, "FAR_PARTS", -1.0)  # as if it were far above its bound
    run_solver("auto", problem)
    assert ran[:3] == ["fluid", "greedy", "msa"]
    assert "cpsat" not in ran
    ran.clear()
    put_in_place("fluid", late, monkeypatch)
    assert run_solver("auto", problem).plan.solver != "fluid"
    assert ran[:2] == ["fluid", "greedy"]


class Raced:
    """Runs what races here, the first and then the last first, and notes who ran."""

    jobs = 3

    def __init__(self, *, late: Sequence[str] = ()) -> None:
        self.ran: list[str] = []
        self._late = late

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], _: float
    ) -> Generator[tuple[int, Any], None, None]:
        """As of `Engine`."""
        for number in sorted(range(len(items)), key=lambda k: (k != 0, -k)):
            if items[number].name not in self._late:
                self.ran.append(items[number].name)
                yield number, function(items[number])


def raced(
    engine: Raced, problem: Problem, monkeypatch: pytest.MonkeyPatch, **parameters: Any
) -> Outcome:
    @contextmanager
    def opened(_: str, jobs: int) -> Iterator[Raced]:
        assert jobs == 3
        yield engine

    monkeypatch.setattr(portfolio, "open_engine", opened)
    return run_solver("auto", problem, parameters={"jobs": 3, **parameters})


def in_turn_and_raced(
    capacity: int, monkeypatch: pytest.MonkeyPatch, **parameters: Any
) -> tuple[Outcome, Outcome, Raced]:
    problem = problem_for(chain(), ["y"], target_of(capacity))
    engine = Raced()
    other = raced(engine, problem, monkeypatch, **parameters)
    return run_solver("auto", problem, parameters=parameters), other, engine


@pytest.mark.parametrize("capacity", [448, 512, 700, 1024])
def test_a_race_has_the_answer_of_a_portfolio(
    capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members end in another order, and none is waited for once nothing can be better."""
    alone, other, engine = in_turn_and_raced(capacity, monkeypatch, refine="")
    assert assignment_of(other.plan) == assignment_of(alone.plan)
    assert other.plan.solver == alone.plan.solver
    assert other.solution.bound == alone.solution.bound
    assert other.solution.notes == alone.solution.notes
    assert set(engine.ran) <= {"greedy", "msa", "fluid", "all-slow", "no-spill"}


def test_a_race_ends_when_it_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_for(chain(), ["y"], target_of(1 << 20, operand_access="fastest"))
    engine = Raced()
    outcome = raced(engine, problem, monkeypatch, members="greedy,msa,fluid")
    assert engine.ran == ["fluid"]
    assert outcome.value == pytest.approx(outcome.plan.lower_bound, rel=1e-3)


def test_members_that_were_not_back_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_for(chain(), ["y"], target_of(512))
    given = {"members": "greedy,all-slow", "refine": ""}
    outcome = raced(Raced(late=["greedy"]), problem, monkeypatch, **given)
    assert outcome.plan.solver == "all-slow"
    assert "left out greedy" in outcome.solution.notes[-1]


def test_a_race_in_processes() -> None:
    problem = problem_for(chain(), ["y"], target_of(512))
    parameters = {"members": "greedy,all-slow", "refine": ""}
    alone = run_solver("auto", problem, parameters=parameters)
    other = run_solver("auto", problem, parameters={**parameters, "jobs": 2})
    assert assignment_of(other.plan) == assignment_of(alone.plan)
