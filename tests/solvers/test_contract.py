"""Third parties' solvers answer what they were asked, or are refused by name with exit code 7."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import evil
from tests.support.cases import KINDS, chain, problem_for, target_of
from tests.support.changes import with_program
from tests.support.graphs import Builder
from tests.support.registering import put_in_place, register
from ullage.cli.main import run
from ullage.compiler.common.errors import ContractError
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.summary import summarise
from ullage.compiler.ir.assignment import UNPLACED
from ullage.compiler.ir.plan_json import dump_plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import Bound
from ullage.solvers.budget import Budget
from ullage.solvers.contract import check_bound, differences
from ullage.solvers.interface import ShadowPrice, Solution, Solver
from ullage.solvers.registry import find_solver
from ullage.solvers.run import run_solver

ASKED = problem_for(chain(), ["y"], target_of(96))


def parallel() -> Problem:
    """Two operators that do not depend on each other, and one that joins them."""
    build = Builder("parallel")
    build.value("x", 64, "input")
    build.op(["x"], [("a", 64)])
    build.op(["x"], [("b", 32)])
    build.op(["a", "b"], [("y", 64)])
    return problem_for(build, ["y"], target_of(128))


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    named = evil.ANOTHER_QUESTION | evil.NO_ANSWER
    more: dict[str, object] = {
        "honest": evil.honest,
        "unplaced": evil.unplaced,
        "claims": Solver("claims", "", evil.claims, evil.Share),
        "reorders": evil.reorders,
        "free": Solver("free", "", evil.reorders, chooses_order=True),
        "backwards": Solver("backwards", "", evil.breaks_order, chooses_order=True),
    }
    register(monkeypatch, {name: solve for name, (solve, _) in named.items()} | more)


Command = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*words: str, code: int = 0) -> dict[str, Any]:
        assert run([*words, "--json"]) == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return call


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("name", [*evil.ANOTHER_QUESTION, *evil.NO_ANSWER])
def test_breaches_are_refused_by_name(name: str) -> None:
    breach = (evil.ANOTHER_QUESTION | evil.NO_ANSWER)[name][1]
    target = ASKED.target
    with pytest.raises(ContractError) as caught:
        run_solver(name, ASKED)
    error = caught.value
    assert error.message.startswith(f"solver {name} of third party broke its contract: {breach}")
    assert (error.details["solver"], error.details["origin"]) == (name, "third party")
    assert error.details["breach"].startswith(breach)
    assert ASKED.target is target
    assert target == target_of(96)  # whatever it did to its copy


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("name", evil.ANOTHER_QUESTION)
def test_the_command_line_says_contract_and_exits_with_7(
    ask: Command, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    words = ("compile", "squeezenet", "--fast-memory", "256KiB", "--solver", name)
    error = ask(*words, "-o", str(out), code=7)["error"]
    assert error["kind"] == "contract"
    assert f"solver {name} of third party" in error["message"]
    assert error["details"]["solver"] == name
    assert not out.exists()


@pytest.mark.usefixtures("others")
def test_auto_goes_on_without_members_that_break_their_contract() -> None:
    bad = [*evil.ANOTHER_QUESTION, *evil.NO_ANSWER]
    members = ",".join([*bad[:3], "greedy", *bad[3:]])
    outcome = run_solver("auto", ASKED, parameters={"members": members})
    assert outcome.plan.solver == "greedy"
    told = [note for note in outcome.plan.notes if "found no plan" in note]
    assert len(told) == len(bad)
    for name, note in zip(bad, told, strict=True):
        assert note.startswith(f"auto: {name} found no plan: solver {name} of third party broke")


@pytest.mark.usefixtures("others")
def test_compare_shows_a_breach_beside_the_others(ask: Command) -> None:
    solvers = "raises,greedy,larger-memory,honest"
    words = ("compare", "squeezenet", "--fast-memory", "256KiB", "--solvers", solvers)
    rows = ask(*words)["rows"]
    assert [row["solver"] for row in rows] == solvers.split(",")
    assert [row.get("error", {}).get("kind") for row in rows] == [
        "contract",
        None,
        "contract",
        None,
    ]
    assert rows[1]["value"] == rows[3]["value"]


# Bounds


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_bound_of_a_third_party_is_claimed_not_proven(share: float) -> None:
    done = compile_problem(ASKED, CompileOptions(solver="claims", parameters={"share": share}))
    summary = summarise(done)
    assert summary["claimed_bound"] == share * summary["value"]
    assert summary["claimed_by"] == "claims of third party"
    assert summary["bound_source"] != "a hunch"
    assert done.plan.lower_bound is None
    alone = summarise(compile_problem(ASKED, CompileOptions(solver="greedy")))
    same = ("value", "lower_bound", "gap", "status", "bound_source")
    assert [summary[key] for key in same] == [alone[key] for key in same]
    assert alone["claimed_bound"] is alone["claimed_by"] is None


@pytest.mark.usefixtures("others")
def test_a_claimed_bound_never_makes_a_plan_optimal() -> None:
    """On a problem whose own bound lies below the value."""
    tight = ASKED.on(target_of(48))
    assert summarise(compile_problem(tight, CompileOptions(solver="greedy")))["gap"] > 0.5
    done = compile_problem(tight, CompileOptions(solver="claims", parameters={"share": 1.0}))
    assert summarise(done)["status"] == "feasible"
    members = {"members": "claims", "refine": ""}
    chosen = compile_problem(tight, CompileOptions(solver="auto", parameters=members))
    assert summarise(chosen)["status"] == "feasible"


def test_bounds_up_to_rounding_above_the_value_are_none() -> None:
    solver = find_solver("greedy")
    check_bound(solver, 1.0, "", 1.0)
    check_bound(solver, 1.0 + 1e-12, "", 1.0)
    for bound in (1.0 + 1e-6, float("inf"), float("nan")):
        with pytest.raises(ContractError, match="claims the lower bound"):
            check_bound(solver, bound, "faith", 1.0)


@pytest.mark.usefixtures("others")
def test_ours_are_held_to_the_same_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place("greedy", evil.huge_bound, monkeypatch)
    with pytest.raises(ContractError, match=r"^solver greedy broke its contract: it claims"):
        run_solver("greedy", ASKED)


# Addresses and orders


@pytest.mark.usefixtures("others")
def test_residencies_without_addresses_get_some() -> None:
    outcome = run_solver("unplaced", ASKED)
    assert all(item.offset == UNPLACED for item in outcome.solution.assignment.residencies)
    assert all(item.offset >= 0 for item in outcome.plan.residencies)
    assert find_violations(outcome.plan) == []
    assert outcome.value == run_solver("honest", ASKED).value


@pytest.mark.usefixtures("others")
def test_another_order_needs_leave() -> None:
    problem = parallel()
    with pytest.raises(ContractError, match="it changed the steps: name of"):
        run_solver("reorders", problem)
    outcome = run_solver("free", problem)
    assert find_violations(outcome.plan) == []
    assert outcome.plan.problem.steps != problem.steps
    with pytest.raises(ContractError, match=r"it ran '\w+' before '\w+', which it depends on"):
        run_solver("backwards", problem)


def test_operators_left_out_or_run_twice_are_another_order() -> None:
    problem = parallel()
    steps = problem.steps
    for wrong in (steps[:1] + steps[2:], (*steps[:2], *steps[1:])):
        found = list(differences(problem, with_program(problem, steps=wrong), chooses_order=True))
        assert len(found) == 1
        assert "that were asked, once each" in found[0]


def test_for_peak_the_fast_memory_may_grow_and_nothing_else() -> None:
    asked = ASKED.minimising("peak")
    more = asked.on(asked.target.with_fast_memory(1 << 20))
    assert list(differences(asked, more, chooses_order=False)) == []
    assert list(differences(ASKED, more.minimising("latency"), chooses_order=False))
    other = target_of(1 << 20, homes=dict.fromkeys(KINDS, "sram"))
    assert asked.target.as_served is not None  # what targets keep of their own is no difference
    (found,) = differences(asked, asked.on(other), chooses_order=False)
    assert found.startswith("it planned for a target with another homes")


def test_a_steady_state_is_part_of_the_question() -> None:
    loop = with_program(ASKED, steady_state=True)
    (found,) = differences(ASKED, loop, chooses_order=False)
    assert found == "it planned with steady_state=True, not False"


@pytest.mark.usefixtures("others")
def test_a_bound_and_a_plan_of_an_honest_solver_pass() -> None:
    outcome = run_solver("honest", ASKED, Budget())
    assert outcome.plan.solver == "honest"
    assert outcome.solution.bound is None
    assert outcome.value >= 0


def answering(change: Callable[[Solution], Solution]) -> Callable[..., Solution]:
    """A solver that changes the answer of an honest one."""

    def solve(problem: Problem, options: object, budget: Budget) -> Solution:
        return change(evil.honest(problem, options, budget))

    return solve


NAN = float("nan")
WRONG_FIGURES: dict[str, tuple[dict[str, Any], str]] = {
    "a bound of text": ({"bound": Bound("1", "me")}, "its bound: 1 instead of"),  # type: ignore[arg-type]
    "a bound of -inf": ({"bound": Bound(-math.inf, "me")}, "its bound: -inf instead of"),
    "a bound beyond floats": ({"bound": Bound(10**400, "me")}, "its bound: 1000"),
    "a bare bound": ({"bound": 1.0}, "its bound is a float"),
    "statistics that are none": ({"statistics": None}, "its statistics are no mapping"),
    "a statistic that is none": ({"statistics": {"work": NAN}}, "statistic 'work': nan"),
    "prices that are none": ({"shadow_prices": (1.0,)}, "its shadow prices are not"),
    "a price of nan": ({"shadow_prices": (ShadowPrice("1 KiB", NAN),)}, "a shadow price: nan"),
    "notes that are one text": ({"notes": "text"}, "its notes: a str instead of a tuple"),
    "a note of bytes": ({"notes": (b"text",)}, "a note: a bytes instead of a text"),
    "a note that is no Unicode": ({"notes": ("\ud800",)}, "a note: a text that is no Unicode"),
    "a reason of its own": ({"stop_reason": "bored"}, "it stopped for the unknown reason 'bored'"),
}


@pytest.mark.parametrize("name", WRONG_FIGURES)
def test_figures_and_texts_that_are_none_are_breaches(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields, breach = WRONG_FIGURES[name]
    register(monkeypatch, {"theirs": answering(lambda honest: replace(honest, **fields))})
    with pytest.raises(ContractError, match=re.escape(breach)):
        run_solver("theirs", ASKED)


def test_numbers_of_numpy_become_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_numpy(honest: Solution) -> Solution:
        assignment = honest.assignment
        rows = [replace(r, offset=np.int64(r.offset)) for r in assignment.residencies]
        return replace(
            honest,
            assignment=replace(assignment, residencies=tuple(rows)),
            bound=Bound(np.float32(0.0), "me"),  # type: ignore[arg-type]
            statistics={"work": np.int64(3)},  # type: ignore[dict-item]
        )

    register(monkeypatch, {"theirs": answering(of_numpy)})
    plan = run_solver("theirs", ASKED).plan
    assert {type(residency.offset) for residency in plan.residencies} == {int}
    assert type(plan.claimed_bound) is float
    assert json.loads(dump_plan(plan))["statistics"] == {"work": 3.0}


def test_an_answer_with_an_odd_object_inside_is_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(honest: Solution) -> Solution:
        program = replace(honest.assignment.program, steps=None)  # type: ignore[arg-type]
        problem = replace(honest.assignment.problem, program=program)
        return replace(honest, assignment=replace(honest.assignment, problem=problem))

    register(monkeypatch, {"theirs": answering(odd)})
    with pytest.raises(ContractError):
        run_solver("theirs", ASKED)
