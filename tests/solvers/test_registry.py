"""The registry: ours first, third parties by name, clear words where there is none."""

import os
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from tests.support.cases import BUILT_IN, chain, problem_for, solved, target_of
from tests.support.registering import register
from tests.support.solving import Asked, solve_with
from ullage.cli.main import run
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.ir.problem import Problem
from ullage.solvers import registry
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import greedy
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.parameters import NoOptions, parameter, parameters_of
from ullage.solvers.registry import find_solver, solver_names


def mine(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
    """Someone else's solver.

    It is greedy under another name.
    """
    return greedy.solve(problem, greedy.GreedyOptions(), budget)


@dataclass(frozen=True)
class Depth:
    """Parameters of a solver of someone else."""

    depth: int = parameter(3, "how deep", least=0)


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    points: dict[str, object] = {
        "mine": mine,
        "full": Solver("other-name", "A full solver", mine, Depth, ("energy",)),
        "broken": ImportError("no module named nothing"),
        "greedy": mine,
    }
    register(monkeypatch, points)


@pytest.mark.usefixtures("third_party")
def test_third_party_solvers_are_found_by_name() -> None:
    assert set(BUILT_IN) < set(solver_names())
    assert solver_names()[-3:] == ("broken", "full", "mine")
    found = find_solver("mine")
    assert (found.name, found.summary, found.origin) == (
        "mine",
        "Someone else's solver.",
        "third party",
    )
    full = find_solver("full")
    assert (full.name, full.summary) == ("full", "A full solver")
    assert [(p.name, p.default) for p in parameters_of(full.options)] == [("depth", 3)]
    assert full.objectives == ("energy",)
    assert find_solver("greedy").origin == "ullage"
    target = target_of(1024)
    plan = solved("mine", problem_for(chain(), ["y"], target), "latency")
    assert plan is not None
    assert plan.solver == "mine"


@pytest.mark.usefixtures("third_party")
def test_a_solver_that_cannot_be_imported_is_an_error_of_its_own() -> None:
    with pytest.raises(
        UsageError, match=r"'broken' .* cannot be imported: ImportError: no module named"
    ):
        find_solver("broken")


class Mute(Exception):  # noqa: N818 - a stranger's
    """Says nothing, not even when it is asked."""

    def __str__(self) -> str:
        raise ValueError("no")


class Unlike(BaseException):
    """Derives from no `Exception`."""


@pytest.mark.parametrize("error", [Mute(), Unlike("of another kind"), SystemExit(0), MemoryError()])
def test_whatever_an_import_raises_is_an_error_of_its_solver(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, {"theirs": error, "mine": mine})
    with pytest.raises(UsageError, match=rf"'theirs' .* imported: {type(error).__name__}: "):
        find_solver("theirs")
    assert run(["solvers", "list"]) == 0


def test_what_an_import_writes_is_not_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def load(_: EntryPoint) -> object:
        print("by Python", flush=True)  # noqa: T201 - that is its vice
        os.write(1, b"beneath Python\n")
        return mine

    point = EntryPoint("theirs", "anything:solve", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [point])
    monkeypatch.setattr(EntryPoint, "load", load)
    find_solver("theirs")
    os.write(1, b"afterwards\n")
    said = capfd.readouterr()
    assert said.out == "afterwards\n"
    assert "by Python\n" in said.err
    assert "beneath Python\n" in said.err


@pytest.mark.usefixtures("third_party")
def test_objectives_that_a_solver_does_not_know_are_refused() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    able = "all-slow, greedy, msa, fluid, .*auto, mine"
    message = rf"full cannot minimise latency \(it can: energy\).*: {able}"
    with pytest.raises(UsageError, match=message):
        compile_problem(problem, CompileOptions(solver="full"))
    with pytest.raises(UsageError, match="greedy cannot minimise peak"):
        compile_problem(problem.minimising("peak"), CompileOptions(solver="greedy"))


def test_unknown_solvers_and_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no solver named 'nobody' \(there are: all-slow, greedy"):
        find_solver("nobody")
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    for parameters, message in (
        ({"depth": 1}, r"greedy has no parameter 'depth' \(it has: prefetch_window_steps"),
        (
            {"prefetch_window_steps": "many"},
            "greedy: parameter prefetch_window_steps takes a whole number",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            solve_with("greedy", problem, Asked(parameters=parameters))


class NoDataclass:
    """What cannot hold parameters."""


@dataclass(frozen=True)
class Required:
    """A parameter without a default."""

    depth: int


@pytest.mark.parametrize(
    ("solver", "why"),
    [
        (Solver("x", "", mine, NoDataclass), "its options must be a frozen dataclass"),
        (Solver("x", "", mine, Required), "its options must be a frozen dataclass"),
        (Solver("x", "", mine, objectives=None), "its objectives are no tuple"),  # type: ignore[arg-type]
        (Solver("x", "", mine, requires=5), "its requires are no tuple"),  # type: ignore[arg-type]
        (Solver("x", "", None), "its `solve` is no function"),  # type: ignore[arg-type]
    ],
)
def test_a_solver_that_is_registered_wrongly_is_an_error_of_its_own(
    solver: Solver, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, {"odd": solver})
    with pytest.raises(UsageError, match=why):
        find_solver("odd")
    assert run(["solvers", "list", "--json"]) == 0


def test_a_third_party_cannot_take_one_of_our_names_unheard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry._warn_of_shadowed.cache_clear()
    register(monkeypatch, {"greedy": mine})
    assert find_solver("greedy").origin == "ullage"
    assert solver_names().count("greedy") == 1
    assert "'greedy' of third party is not used" in caplog.text


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--param", "seed=-1"]])
def test_a_negative_seed_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "squeezenet", "--solver", "rl", *words]) == 2
    assert "at least 0, not -1" in capsys.readouterr().err
