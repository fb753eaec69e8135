"""`problem` and `solution`: what was planned, and the plan, as files that need no model."""

from pathlib import Path

from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.result import Compiled
from ullage.compiler.exchange.problem_file import PROBLEM_FILE, Record, dump_problem
from ullage.compiler.exchange.solution_file import SOLUTION_FILE, dump_solution
from ullage.hwmodels.bounds import keeps_live_bytes


def emit_problem(compiled: Compiled, folder: Path) -> Path:
    """Write `problem.json`, with the plan's value and bound as its record; returns its path."""
    path, plan = folder / PROBLEM_FILE, compiled.plan
    record = Record(
        value=compiled.value,
        solver=plan.solver,
        lower_bound=compiled.bound.value,
        bound_source=compiled.bound.source,
    )
    if plan.objective == "peak" and not keeps_live_bytes(plan):
        record = Record()  # the problem is about plans without spills
    there, problem = plan.chip_fast_memory_bytes, plan.problem
    if there is not None:  # the plan's own target has what the plan needs
        problem = problem.on(problem.target.with_fast_memory(there))
    write_atomic(path, dump_problem(problem, record))
    return path


def emit_solution(compiled: Compiled, folder: Path) -> Path:
    """Write `solution.json`, which `ullage check` takes; returns its path."""
    path, plan = folder / SOLUTION_FILE, compiled.plan
    write_atomic(path, dump_solution(plan, plan.problem.name, plan.solver, compiled.value))
    return path
