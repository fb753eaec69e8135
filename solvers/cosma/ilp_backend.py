"""Runs a PuLP problem: CBC as a process of its own that ends in time, or any solver PuLP knows."""

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from ullage.compiler.common.errors import UsageError

if TYPE_CHECKING:
    import pulp

# Name of the solver that comes with PuLP.
DEFAULT = "CBC"
# Seconds that CBC may take beyond its limit before it is ended.
GRACE_S = 0.3
# The line of CBC's log that states its bound.
LOWER_BOUND = re.compile(r"^Lower bound:\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class IlpOutcome:
    """How a solver ended; the values are in the problem's variables.

    Attributes:
        status: `optimal`, `feasible` (the limit came first), `infeasible` or `unknown`.
        bound: no solution has a smaller objective; None where the solver does not say.
    """

    status: str
    bound: float | None

    @property
    def has_solution(self) -> bool:
        """Whether the variables have values."""
        return self.status in {"optimal", "feasible"}


def run(
    lp: "pulp.LpProblem", solver: str, *, until: float, relative_gap: float, seed: int
) -> IlpOutcome:
    """Minimise a program; the values are left in its variables.

    Args:
        lp: the problem.
        solver: `CBC`, or a name that `pulp.listSolvers` knows (`HiGHS`, `GUROBI` ...).
        until: `time.monotonic()` value to end at. CBC does; others keep the limit as they can.
        relative_gap: stop when this is proven.
        seed: random seed of CBC.

    Raises:
        UsageError: there is no such solver here.
    """
    if solver == DEFAULT:
        return _run_cbc(lp, until, relative_gap, seed)
    import pulp

    _check_available(solver)
    gap = {"gapRel": relative_gap} if relative_gap else {}
    backend = pulp.getSolver(solver, msg=False, timeLimit=max(0.1, until - time.monotonic()), **gap)
    lp.solve(backend)
    if lp.sol_status == pulp.LpSolutionOptimal:
        return IlpOutcome("optimal", pulp.value(lp.objective) if not relative_gap else None)
    if lp.sol_status == pulp.LpSolutionIntegerFeasible:
        return IlpOutcome("feasible", None)
    infeasible = lp.sol_status == pulp.LpSolutionInfeasible
    return IlpOutcome("infeasible" if infeasible else "unknown", None)


def _check_available(solver: str) -> None:
    import pulp

    if solver.startswith("HiGHS") and "CMD" not in solver and "ortools" in sys.modules:
        raise UsageError(
            "HiGHS inside this process clashes with OR-Tools, which is loaded already; use the "
            "program (--param solver=HiGHS_CMD), or CBC"
        )
    able = pulp.listSolvers(onlyAvailable=True)
    if solver not in able:
        raise UsageError(
            f"PuLP finds no solver {solver!r} here; there are: {', '.join((DEFAULT, *able))}. "
            "Install it, or leave out --param solver"
        )


def _cbc() -> str:
    """The CBC that comes with PuLP, else the one on the path."""
    import pulp
    from pulp.apis.coin_api import pulp_cbc_path

    if os.access(pulp_cbc_path, os.X_OK):
        return str(pulp_cbc_path)
    other = pulp.COIN_CMD(msg=False)
    if other.available():
        return str(other.path)
    raise UsageError(
        "PuLP has no CBC for this machine; install it (pip install 'pulp[cbc]'), or choose "
        "another solver (--param solver=NAME)"
    )


def _run_cbc(lp: "pulp.LpProblem", until: float, relative_gap: float, seed: int) -> IlpOutcome:
    """Run CBC on a file of the program, and read its solution file."""
    with tempfile.TemporaryDirectory(prefix="ullage-ilp-") as folder:
        program, solution = Path(folder) / "program.mps", Path(folder) / "solution.txt"
        log = Path(folder) / "log.txt"
        variables = lp.writeMPS(str(program), rename=1)[0]
        limit_s = max(0.05, until - time.monotonic())
        command = [
            *(_cbc(), str(program), "-timeMode", "elapsed", "-seconds", f"{limit_s:.2f}"),
            *("-ratioGap", f"{relative_gap:.3g}", "-randomCbcSeed", str(seed + 1)),
            *("-solve", "-printingOptions", "all", "-solution", str(solution)),
        ]
        with log.open("w", encoding="utf-8") as output:
            _wait(command, output, limit_s + GRACE_S)
        text = log.read_text(encoding="utf-8", errors="replace")
        answer = solution.read_text(encoding="utf-8") if solution.exists() else ""
    return _read(lp, variables, answer, text)


def _wait(command: list[str], output: Any, limit_s: float) -> None:  # noqa: ANN401 - a file
    """Run CBC; end it when the limit is over, or when the user interrupts."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # noqa: S603
    end = Timer(max(0.1, limit_s), process.kill)
    end.start()
    try:
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        end.cancel()


def _read(
    lp: "pulp.LpProblem", variables: list["pulp.LpVariable"], answer: str, log: str
) -> IlpOutcome:
    """Read CBC's solution file: a line of state, then `number name value cost` each."""
    state, _, rest = answer.partition("\n")
    if not state or "no integer solution" in state:
        return IlpOutcome("unknown", None)
    if "nfeasible" in state:
        return IlpOutcome("infeasible", None)
    values: dict[str, float] = {}
    for line in rest.splitlines():
        parts = line.replace("**", "").split()
        if len(parts) >= 3 and parts[1].startswith("X"):
            values[parts[1]] = float(parts[2])
    for number, variable in enumerate(variables):
        variable.varValue = values.get(f"X{number:07d}", 0.0)
    bound = LOWER_BOUND.search(log)
    value = sum(v.varValue * c for v, c in lp.objective.items())
    if state.startswith("Optimal"):
        return IlpOutcome("optimal", float(bound.group(1)) if bound else value)
    return IlpOutcome("feasible", float(bound.group(1)) if bound else None)
