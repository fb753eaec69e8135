"""`ullage solvers check NAME`: runs a solver on small problems and reports breaches of contract.

As Gymnasium's `check_env` does for environments. On each problem it checks that a `Solution` to
this problem comes back, that its plan is legal and its bound no higher than its value, that the
same problem gets the same plan, that the problem is not changed, that a deadline is kept, and that
a problem without a plan is refused by the right error. A solver may refuse problems that it is not
made for (`UsageError`); at least one must be solved.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ullage.compiler.common.errors import (
    ContractError,
    InfeasibleError,
    TimeLimitError,
    UllageError,
    UsageError,
)
from ullage.compiler.common.units import objective_text
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, Target, Tier
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solver
from ullage.solvers.isolate import NOT_BACK
from ullage.solvers.registry import find_solver, missing_packages
from ullage.solvers.run import Outcome, run_solver

# Seconds that a solver gets for each problem.
LIMIT_S = 1.0
# Seconds after that deadline within which it must be back.
LATE_S = 1.0 + 0.1 * LIMIT_S
# Times as much that it gets where it was late, once: a busy machine is no breach.
PATIENCE = 5.0


@dataclass(frozen=True)
class CheckedCase:
    """A small problem with a solver's answer to it.

    Attributes:
        name: what is special about the problem.
        answer: a summary of the answer, for people.
        breaches: sentences on each breach of the contract; empty where it was kept.
    """

    name: str
    answer: str
    breaches: tuple[str, ...]


def check_solver(name: str) -> tuple[CheckedCase, ...]:
    """Run a solver on small problems and check its answers.

    Raises:
        UsageError: there is no solver of that name, or what it needs is not installed.
    """
    solver = find_solver(name)
    missing = missing_packages(solver)
    if missing:
        remedy = f"pip install 'ullage[{solver.extra}]'" if solver.extra else "install them"
        raise UsageError(f"solver {name} needs {', '.join(missing)}: {remedy}")
    cases: list[CheckedCase] = []
    is_late = False
    for objective in solver.objectives:
        for name_of_case, problem in small_problems():
            if objective == "peak" and name_of_case == IMPOSSIBLE:
                continue  # `peak` asks how much memory is needed
            asked = problem.minimising(objective)
            case, late = _checked(solver, name_of_case, asked, LIMIT_S)
            if late and not is_late:
                case, is_late = _checked(solver, name_of_case, asked, PATIENCE * LIMIT_S)
            cases.append(case)
    if not any(case.answer.startswith("plan") or case.breaches for case in cases):
        breach = "it answered none of the small problems with a plan"
        cases.append(CheckedCase("all", "", (breach,)))
    return tuple(cases)


def _checked(
    solver: Solver, name: str, problem: Problem, limit_s: float
) -> tuple[CheckedCase, bool]:
    """Run a solver on one problem, twice, and note every breach, and whether it was late."""
    before = copy.deepcopy((problem.program, problem.target, problem.objective))
    breaches: list[str] = []
    answer = ""
    late = False
    begun = time.monotonic()
    try:
        first = run_solver(solver, problem, Budget().at_most(limit_s))
        late = time.monotonic() - begun > limit_s + LATE_S
        if late:
            breaches.append(f"it took {time.monotonic() - begun:.2f} s, the limit was {limit_s} s")
        answer = f"plan of {objective_text(first.value, problem.objective)}"
        if name == IMPOSSIBLE:
            breaches.append("it planned what cannot be planned")
        breaches += _unrepeatable(solver, problem, first, limit_s)
    except InfeasibleError as error:
        answer = "infeasible"
        if name != IMPOSSIBLE:
            breaches.append(f"it calls infeasible what greedy plans: {error.message}")
    except (UsageError, TimeLimitError) as error:
        answer = f"{error.kind}: {error.message}"
    except ContractError as error:
        breaches.append(str(error.details.get("breach", error.message)))
        late = breaches[-1] == NOT_BACK
    except UllageError as error:
        breaches.append(f"it raised {type(error).__name__}: {error.message}")
    if (problem.program, problem.target, problem.objective) != before:
        breaches.append("it changed the problem that it was asked")
    return CheckedCase(f"{name}, {problem.objective}", answer, tuple(breaches)), late


def _unrepeatable(
    solver: Solver, problem: Problem, first: Outcome, limit_s: float
) -> Iterator[str]:
    """The breach when a second run with the same seed gives another plan, unless cut by time."""
    if first.solution.stop_reason != "finished":
        return
    again = run_solver(solver, problem, Budget().at_most(limit_s))
    if again.solution.stop_reason == "finished" and (
        again.plan.residencies != first.plan.residencies
        or again.plan.transfers != first.plan.transfers
    ):
        yield "asked twice with the same seed it gave two plans"


# Name of the problem that has no plan.
IMPOSSIBLE = "operands that do not fit"


def small_problems() -> Iterator[tuple[str, Problem]]:
    """(what is special about it, problem) pairs; each takes milliseconds."""
    chip = _chip()
    whole = replace(chip, split_operands=False)
    confined = replace(whole, operand_access="fastest")
    yield "a chain", _chain(chip, 6)
    yield "a chain of whole tensors", _chain(whole, 6)
    yield "a residual connection", _residual(chip)
    yield "in place and views", _shared(chip)
    yield "operands in fast memory only", _chain(confined, 6)
    yield "more memory than is needed", _chain(chip.with_fast_memory(1 << 20), 6)
    yield "workspace in fast memory", _chain(chip, 5, workspace_bytes=256)
    steady = _chain(chip, 6)
    program = replace(steady.program, steady_state=True)
    yield "steady state", replace(steady, program=program)
    yield "three tiers", _chain(_three_tiers(), 6)
    yield "two queues between the same tiers", _chain(_two_queues(), 6)
    yield "no operator at all", problem_from_lists("empty", [], [], chip)
    yield IMPOSSIBLE, _chain(confined.with_fast_memory(64), 3)


def _chip() -> Target:
    """2 KiB of fast memory, DRAM at 1 GB/s, slices of 16 bytes."""
    return Target(
        "check",
        (
            Tier("sram", 2048, 16e9, 16e9, 16, 1e-12, 1e-12),
            Tier("dram", 1 << 30, 1e9, 1e9, 16, 40e-12, 50e-12),
        ),
        (Link("dram", "sram", 1e9), Link("sram", "dram", 1e9)),
        Compute({"int8": 1e9}, 1e9),
        dict.fromkeys(("input", "weight", "activation", "output"), "dram"),
        slice_granularity_bytes=16,
    )


def _three_tiers() -> Target:
    chip = _chip()
    flash = Tier("flash", 1 << 30, 2e8, 0.0, 16, addressable=False, read_only=True)
    return replace(
        chip,
        tiers=(*chip.tiers, flash),
        links=(*chip.links, Link("flash", "dram", 2e8), Link("flash", "sram", 2e8)),
        homes={**chip.homes, "weight": "flash"},
    )


def _two_queues() -> Target:
    """The chip with a second, slower queue from DRAM."""
    chip = _chip()
    return replace(chip, links=(*chip.links, Link("dram", "sram", 5e8, name="second")))


def _chain(target: Target, operators: int, workspace_bytes: int = 0) -> Problem:
    tensors = [Tensor("x0", 512, "input"), Tensor(f"x{operators}", 512, "output")]
    tensors += [Tensor(f"x{i}", 512) for i in range(1, operators)]
    tensors += [Tensor(f"w{i}", 320, "weight") for i in range(operators)]
    steps = [
        Op(
            f"op{i}",
            [f"x{i}", f"w{i}"],
            [f"x{i + 1}"],
            macs=200 * (1 + i % 3),
            workspace_bytes=workspace_bytes,
        )
        for i in range(operators)
    ]
    return problem_from_lists("chain", tensors, steps, target)


def _residual(target: Target) -> Problem:
    tensors = [
        Tensor("x", 640, "input"),
        *(Tensor(name, 640) for name in ("a", "b", "c")),
        Tensor("w", 480, "weight"),
        Tensor("y", 640, "output"),
    ]
    steps = [
        Op("a", ["x"], ["a"], macs=300),
        Op("b", ["a", "w"], ["b"], macs=900),
        Op("c", ["b", "w"], ["c"], macs=900),
        Op("add", ["c", "a"], ["y"], vector_elements=640),
    ]
    return problem_from_lists("residual", tensors, steps, target)


def _shared(target: Target) -> Problem:
    tensors = [
        Tensor("x", 512, "input"),
        Tensor("a", 512),
        Tensor("view", 512),
        Tensor("b", 512),
        Tensor("y", 256, "output"),
    ]
    steps = [
        Op("a", ["x"], ["a"], macs=400),
        Op("relu", ["a"], ["b"], vector_elements=512, in_place={"b": "a"}),
        Op("view", ["b"], ["view"], views={"view": "b"}),
        Op("y", ["view", "x"], ["y"], macs=600),
    ]
    return problem_from_lists("shared", tensors, steps, target)
