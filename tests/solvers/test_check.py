"""`check_solver`: those that keep the contract pass, the others are told what they broke."""

import json
import time
from dataclasses import replace
from random import Random

import pytest

from tests.support import evil
from tests.support.registering import register
from tests.support.wide import share
from ullage.cli.main import run
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers import check
from ullage.solvers.budget import Budget
from ullage.solvers.check import IMPOSSIBLE, check_solver, small_problems
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.run import run_solver


def breaches(name: str) -> set[str]:
    return {breach for case in check_solver(name) for breach in case.breaches}


@pytest.mark.parametrize("name", ["greedy", "msa", "all-slow", "fluid", "no-spill"])
def test_ours_pass(name: str) -> None:
    cases = check_solver(name)
    assert not [case for case in cases if case.breaches]
    assert sum(case.answer.startswith("plan of") for case in cases) >= 9


def test_the_small_problems_are_what_they_say() -> None:
    found = dict(small_problems())
    assert len(found) >= 11
    assert found["steady state"].steady_state
    assert len(found["three tiers"].target.tiers) == 3
    assert not found["a chain of whole tensors"].target.split_operands
    for name, problem in found.items():
        if name == IMPOSSIBLE:
            with pytest.raises(InfeasibleError):
                run_solver("greedy", problem)
        else:
            assert find_violations(run_solver("greedy", problem).plan) == []
    assert any(run_solver("greedy", problem).plan.transfers for n, problem in found.items()
               if n != IMPOSSIBLE)  # fmt: skip


def test_an_honest_third_party_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, {"honest": evil.honest, "unplaced": evil.unplaced})
    for name in ("unplaced", "honest")[: share(2, 1)]:
        assert breaches(name) == set()


@pytest.mark.parametrize("name", ["larger-memory", "dropped-outputs", "mutated-target"])
def test_one_that_answers_another_question_is_told_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve, breach = evil.ANOTHER_QUESTION[name]
    register(monkeypatch, {name: solve})
    assert any(found.startswith(breach.split(":")[0]) for found in breaches(name))


@pytest.mark.parametrize("name", ["raises", "returns-none", "vanishes"])
def test_one_that_does_not_answer_is_told_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    solve, breach = evil.NO_ANSWER[name]
    register(monkeypatch, {name: solve})
    found = breaches(name)
    assert any(text.startswith(breach) for text in found)
    assert "it answered none of the small problems with a plan" in found or found


def test_moods_delays_and_wrong_refusals_are_breaches(monkeypatch: pytest.MonkeyPatch) -> None:
    def moody(problem: Problem, options: object, budget: Budget) -> Solution:
        found = evil.honest(problem, options, budget)
        if Random(time.monotonic_ns()).random() < 0.5 or not found.assignment.residencies:
            return found
        shifted = tuple(
            replace(item, offset=item.offset + 16 if item.tier == "dram" else item.offset)
            for item in found.assignment.residencies
        )
        return replace(found, assignment=replace(found.assignment, residencies=shifted))

    def late(problem: Problem, options: object, budget: Budget) -> Solution:
        time.sleep(0.15)
        return evil.honest(problem, options, budget)

    def coward(_problem: Problem, _options: object, _budget: Budget) -> Solution:
        raise InfeasibleError("too hard")

    def picky(_problem: Problem, _options: object, _budget: Budget) -> Solution:
        raise UsageError("not for such targets")

    register(monkeypatch, {"moody": moody, "coward": coward, "picky": picky})
    assert "asked twice with the same seed it gave two plans" in breaches("moody")
    assert any("it calls infeasible what greedy plans" in text for text in breaches("coward"))
    assert breaches("picky") == {"it answered none of the small problems with a plan"}
    ours = Solver("late", "", late, objectives=("latency",))  # a third party's would be ended
    monkeypatch.setattr(check, "find_solver", lambda _: ours)
    monkeypatch.setattr(check, "LIMIT_S", 0.05)
    monkeypatch.setattr(check, "LATE_S", 0.05)
    monkeypatch.setattr(check, "PATIENCE", 1.5)
    assert any("s, the limit was 0.075" in text for text in breaches("late"))


def test_who_is_in_time_on_a_second_try_is_no_late_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def busy(problem: Problem, options: object, budget: Budget) -> Solution:
        calls.append(1)
        time.sleep(0.6 if len(calls) == 1 else 0.0)
        return evil.honest(problem, options, budget)

    ours = Solver("busy", "", busy, objectives=("latency",))
    monkeypatch.setattr(check, "find_solver", lambda _: ours)
    monkeypatch.setattr(check, "LIMIT_S", 0.4)
    monkeypatch.setattr(check, "LATE_S", 0.1)
    monkeypatch.setattr(check, "PATIENCE", 20.0)
    assert not any("the limit was" in text for text in breaches("busy"))
    assert len(calls) > 2


def test_one_of_ours_that_changes_what_it_is_asked_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def meddles(problem: Problem, options: object, budget: Budget) -> Solution:
        object.__setattr__(problem, "objective", "energy")
        return evil.honest(problem, options, budget)

    ours = Solver("meddles", "", meddles, objectives=("latency",))
    monkeypatch.setattr(check, "find_solver", lambda _: ours)
    assert "it changed the problem that it was asked" in breaches("meddles")


def test_the_command_prints_a_table_or_a_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, {"larger-memory": evil.larger_memory})
    assert run(["solvers", "check", "greedy", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["solver"], document["passed"]) == ("greedy", True)
    assert {"name", "answer", "breaches"} == set(document["cases"][0])
    assert run(["solvers", "check", "larger-memory"]) == 7
    assert "planned for other tiers" in " ".join(capsys.readouterr().out.split())
    assert run(["solvers", "check", "nobody"]) == 2
