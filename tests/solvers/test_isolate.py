"""A third party's solver in a process of its own: only it is the worse for what it does."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support import evil
from tests.support.cases import chain, problem_for, target_of
from tests.support.registering import register
from tests.support.timing import within_limit
from ullage.cli.main import run
from ullage.compiler.common.errors import (
    ContractError,
    InfeasibleError,
    TimeLimitError,
    UllageError,
    UsageError,
    VerificationError,
)
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.isolate import GRACE_S
from ullage.solvers.run import run_solver

ASKED = problem_for(chain(), ["y"], target_of(96))
SMALL = ("squeezenet", "--fast-memory", "256KiB")


@pytest.mark.parametrize("name", evil.NO_ANSWER)
def test_whatever_it_does_the_document_is_one_and_the_code_is_7(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    solve, breach = evil.NO_ANSWER[name]
    register(monkeypatch, {name: solve})
    assert run(["compile", *SMALL, "--solver", name, "--json"]) == 7
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "contract"
    assert error["details"]["breach"].startswith(breach)
    assert run(["compile", *SMALL, "--solver", name]) == 7
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"ullage: solver {name} of third party broke its contract: ")


def test_one_that_hangs_is_ended_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, {"hangs": evil.hangs})
    run(["compile", *SMALL, "--solver", "greedy", "--json"])  # imports
    capsys.readouterr()
    words = ["compile", *SMALL, "--solver", "hangs", "--time-limit", "2", "--json"]
    assert within_limit(2.0, lambda _: (capsys.readouterr(), run(words))[1]) == 7
    error = json.loads(capsys.readouterr().out)["error"]
    assert "was not back when its time was over" in error["message"]
    assert multiprocessing.active_children() == []


def test_auto_and_compare_outlive_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, {"hangs": evil.hangs})
    words = ["compile", *SMALL, "--schedule", "whole", "--time-limit", "2", "--json"]
    words += ["--param", "members=greedy,hangs"]
    assert within_limit(2.0, lambda _: (capsys.readouterr(), run(words))[1]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chosen_solver"] == "greedy"
    assert any(note.startswith("auto: hangs found no plan") for note in found["notes"])
    words = ["compare", *SMALL, "--solvers", "hangs,greedy", "--time-limit", "2", "--json"]
    assert run(words) == 0
    bad, good = json.loads(capsys.readouterr().out)["rows"]
    assert bad["error"]["kind"] == "contract"
    assert good["verified"] is True


@pytest.mark.parametrize(
    "error",
    [
        InfeasibleError("no room", {"needed_bytes": 3}),
        TimeLimitError("too late"),
        UsageError("not for such targets"),
        VerificationError("strange"),
    ],
)
def test_our_errors_are_passed_on(error: UllageError, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_problem: Problem, _options: object, _budget: Budget) -> Solution:
        raise error

    register(monkeypatch, {"refuses": refuses})
    with pytest.raises(type(error)) as caught:
        run_solver("refuses", ASKED)
    assert (caught.value.message, caught.value.details) == (error.message, error.details)
    outcome = run_solver("auto", ASKED, parameters={"members": "refuses,greedy"})
    assert outcome.plan.solver == "greedy"
    assert outcome.plan.notes == (f"auto: refuses found no plan: {error.message}",)


def test_progress_and_improvements_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = time.monotonic() + 60

    def talks(problem: Problem, options: object, budget: Budget) -> Solution:
        assert budget.deadline == deadline
        budget.progress(f"in {os.getpid()}")
        budget.on_improvement(2.5)
        return evil.honest(problem, options, budget)

    register(monkeypatch, {"talks": talks})
    texts: list[str] = []
    values: list[float] = []
    run_solver("talks", ASKED, Budget(deadline, texts.append, values.append))
    assert len(texts) == 1
    assert texts[0].startswith("in ")
    assert texts != [f"in {os.getpid()}"]
    assert 2.5 in values


def test_a_plan_will_do_for_a_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    def plans(problem: Problem, options: object, budget: Budget) -> Plan:
        made: Assignment = evil.honest(problem, options, budget).assignment
        return Plan(problem, made.residencies, made.transfers, "greedy", notes=("by hand",))

    register(monkeypatch, {"plans": plans})
    outcome = run_solver("plans", ASKED)
    assert outcome.plan.solver == "plans"
    assert outcome.plan.notes == ("by hand",)


def test_an_interrupt_that_it_raises_itself_is_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretends(_problem: Problem, _options: object, _budget: Budget) -> Solution:
        raise KeyboardInterrupt

    register(monkeypatch, {"pretends": pretends})
    with pytest.raises(ContractError, match="it raised KeyboardInterrupt"):
        run_solver("pretends", ASKED)


def test_it_changes_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def meddles(problem: Problem, _options: object, _budget: Budget) -> Solution:
        object.__setattr__(problem.program, "steps", ())
        os.environ["ULLAGE_MEDDLED"] = "yes"
        sys.modules["ullage.hwmodels.cost"].score = None  # type: ignore[attr-defined]
        raise ValueError

    register(monkeypatch, {"meddles": meddles})
    before = replace(ASKED)
    with pytest.raises(ContractError):
        run_solver("meddles", ASKED)
    assert before == ASKED
    assert ASKED.steps
    assert "ULLAGE_MEDDLED" not in os.environ
    assert run_solver("greedy", ASKED).value > 0


def with_threads(problem: Problem, options: object, budget: Budget) -> Solution:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: budget.progress("x" * (1 + 997 * (i % 300))), range(300)))
    return evil.honest(problem, options, budget)


def test_threads_of_a_solver_may_report_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, {"theirs": with_threads})
    texts: list[str] = []
    run_solver("theirs", ASKED, Budget(progress=texts.append))
    assert len(texts) == 300


def with_processes(problem: Problem, options: object, budget: Budget) -> Solution:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(abs, (-3,)) == 3
    return evil.honest(problem, options, budget)


def test_a_solver_may_have_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, {"theirs": with_processes})
    assert run_solver("theirs", ASKED).value > 0


def improves_to_nan(problem: Problem, options: object, budget: Budget) -> Solution:
    budget.on_improvement(float("nan"))
    return evil.honest(problem, options, budget)


def test_an_improvement_to_nan_is_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, {"theirs": improves_to_nan})
    with pytest.raises(ContractError, match="improvement to nan"):
        run_solver("theirs", ASKED)


class LeavesWhenRead:
    """What runs code of its own where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, (3,)


def leaves_when_read(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    return cast("Solution", LeavesWhenRead())


def test_an_answer_that_leaves_when_it_is_read_is_a_breach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(monkeypatch, {"theirs": leaves_when_read})
    with pytest.raises(ContractError, match="cannot be read"):
        run_solver("theirs", ASKED)


def open_files() -> set[int]:
    return {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}


def writes_to_its_pipe(text: bytes) -> Callable[[Problem, object, Budget], Solution]:
    before = open_files()

    def solve(problem: Problem, options: object, budget: Budget) -> Solution:
        for descriptor in open_files() - before:
            with suppress(OSError):
                os.write(descriptor, text)
        time.sleep(0 if budget.remaining_s() > 100 else 600)
        return evil.honest(problem, options, budget)

    return solve


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of open files")
@pytest.mark.parametrize(
    "text", [b"\0\0\0\0\0\1\0\0begun", b"\xff" * 8 + b"x", b"\0" * 8, pickle.dumps(5)]
)
def test_a_message_that_is_never_ended_holds_nobody_up(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, {"theirs": writes_to_its_pipe(text)})

    def ask(limit_s: float) -> None:
        with pytest.raises(ContractError):
            run_solver("theirs", ASKED, Budget(time.monotonic() + limit_s))

    within_limit(1.0, ask)
    with pytest.raises(ContractError):
        run_solver("theirs", ASKED)


class Marked(int):
    """A number of a class of its own."""


class Named(str):
    """A text likewise."""

    __slots__ = ()


def answers_in_own_classes(problem: Problem, options: object, budget: Budget) -> Solution:
    found = evil.honest(problem, options, budget)
    held = tuple(
        replace(r, offset=Marked(r.offset), tier=Named(r.tier))
        for r in found.assignment.residencies
    )
    assignment = replace(found.assignment, residencies=held)
    return replace(found, assignment=assignment, notes=(Named("a note"),))


def test_numbers_and_texts_of_own_classes_become_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, {"theirs": answers_in_own_classes})
    plan = run_solver("theirs", ASKED).plan
    assert {type(r.offset) for r in plan.residencies} == {int}
    assert {type(r.tier) for r in plan.residencies} == {str}
    assert [type(note) for note in plan.notes] == [str]


def raises_nothing_json_holds(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    raise InfeasibleError("no room", {"needed": float("nan")})


def test_an_error_that_no_document_holds_is_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, {"theirs": raises_nothing_json_holds})
    with pytest.raises(ContractError, match="an error that cannot be read"):
        run_solver("theirs", ASKED)


def test_time_is_left_for_what_comes_after() -> None:
    assert 0 < GRACE_S < 1


# A package that is really installed

MODULE = '''
"""Solvers of another distribution."""
import os, sys, time
from dataclasses import dataclass
print("imported", flush=True)
from ullage.solvers.heuristics import greedy
from ullage.solvers.interface import Solver
from ullage.solvers.parameters import parameter


@dataclass(frozen=True)
class Options:
    """Parameters of `chatty`."""

    times: int = parameter(1, "how often it says so", least=0, most=9)


def chatty(problem, options, budget):
    """Greedy that talks."""
    for _ in range(options.times):
        print("solving", flush=True)
        os.write(1, b"still solving\\n")
        os.system("echo a child of its own")
    return greedy.solve(problem, greedy.GreedyOptions(), budget)


def evil(problem, options, budget):
    """Plans for a larger memory."""
    chip = problem.target.with_fast_memory(1 << 30)
    return greedy.solve(problem.on(chip), greedy.GreedyOptions(), budget)


def slow(problem, options, budget):
    """Never looks at the clock."""
    time.sleep(600)


CHATTY = Solver("chatty", "Greedy that talks", chatty, Options)
'''
POINTS = """[ullage.solvers]
chatty = chatty_solvers:CHATTY
evil = chatty_solvers:evil
slow = chatty_solvers:slow
gone = chatty_solvers:nobody
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a distribution with solvers is on the path."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "chatty_solvers.py").write_text(MODULE)
    about = folder / "chatty_solvers-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: chatty-solvers\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(POINTS)
    (about / "RECORD").write_text("")
    return {**os.environ, "PYTHONPATH": str(folder)}


def command(
    environment: dict[str, str], *words: str | Path, code: int = 0
) -> tuple[dict[str, Any], str]:
    """The document of a command in a process of its own, and what it said beside it."""
    program = "from ullage.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document, done.stderr


def test_an_installed_solver_is_listed_with_its_parameters(installed: dict[str, str]) -> None:
    found, _ = command(installed, "solvers", "list")
    mine = {each["name"]: each for each in found["solvers"]}
    assert mine["chatty"]["origin"] == mine["evil"]["origin"] == "chatty-solvers"
    assert mine["chatty"]["parameters"] == {"times": 1}
    assert mine["evil"]["summary"] == "Plans for a larger memory."
    assert "AttributeError" in found["broken"]["gone"]
    shown, _ = command(installed, "solvers", "show", "chatty")
    assert shown["about"][0]["sentence"] == "how often it says so"


def test_what_an_installed_solver_prints_is_not_in_the_document(installed: dict[str, str]) -> None:
    words = ("compile", *SMALL, "--solver", "chatty", "--param", "times=2")
    found, said = command(installed, *words)
    assert found["solver"] == "chatty"
    assert found["solver_options"] == {"times": 2}
    assert found["verified"] is True
    for text in ("imported", "solving", "still solving", "a child of its own"):
        assert text in said
    assert said.count("still solving") == 2
    error, _ = command(installed, *words[:-1], "times=10", code=2)
    assert "chatty: parameter times takes a whole number from 0 to 9" in error["error"]["message"]


def test_an_installed_solver_that_cheats_is_named_with_its_distribution(
    installed: dict[str, str],
) -> None:
    error, _ = command(installed, "compile", *SMALL, "--solver", "evil", code=7)
    assert error["error"]["kind"] == "contract"
    assert "solver evil of chatty-solvers broke its contract" in error["error"]["message"]
    assert error["error"]["details"]["origin"] == "chatty-solvers"
    report, _ = command(installed, "solvers", "check", "evil", code=7)
    assert report["passed"] is False
    error, _ = command(
        installed, "compile", *SMALL, "--solver", "slow", "--time-limit", "2", code=7
    )
    assert "was not back" in error["error"]["message"]


def test_a_process_that_has_loaded_jax_may_still_ask_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """JAX warns of forks, and here warnings are errors."""
    pytest.importorskip("jax")
    register(monkeypatch, {"honest": evil.honest})
    assert run_solver("honest", ASKED).value > 0
