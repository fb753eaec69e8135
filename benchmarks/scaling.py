"""How time and memory grow with the number of operators: chains of cells, each in a fresh process.

Run: python benchmarks/scaling.py [--operators N ...] [--solvers a,b] [--limit SECONDS]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from cells import cell_graph
from common import plan_by, write_table

from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import best_bound
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import dump_plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.verify.verifier import verify
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.hwmodels.replay.replay import simulate

OPERATORS = (1_000, 4_000, 16_000, 64_000, 100_000)
SOLVERS = ("greedy", "msa", "fluid")
STAGES = ("verify", "score", "simulate", "json")
GRACE = 1.5  # a job that overruns its limit by this factor and PATIENCE_S is ended
PATIENCE_S = 600.0
CLOCKS = {"wall": time.monotonic, "cpu": time.process_time}

Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operators", type=int, nargs="*", default=list(OPERATORS))
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument("--limit", type=float, default=400.0, help="seconds for each solver")
    parser.add_argument("--auto-limit", type=float, help="seconds for the whole job, default none")
    parser.add_argument("--target", default="edge-npu")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--no-auto", action="store_true", help="leave the whole job out")
    parser.add_argument("--job", help="measure one solver in this process (used by the script)")
    given = parser.parse_args()
    if given.job:
        limit_s = given.auto_limit if given.job == "auto" else given.limit
        clock = CLOCKS[given.clock]
        print(json.dumps(measure(given.operators[0], given.job, given.target, limit_s, clock)))
        return
    solvers = given.solvers.split(",")
    jobs = [*solvers, *(() if given.no_auto else ("auto",))]
    rows: list[list[str]] = []
    for operators in given.operators:
        found = {name: in_fresh_process(operators, name, given) for name in jobs}
        rows.append(row_of(operators, found, solvers, jobs))
        print(" | ".join(rows[-1]), flush=True)
    columns = ["operators", "steps", "build s", *(f"{name} s" for name in solvers)]
    columns += [f"{stage} s" for stage in STAGES]
    columns += [f"{name} / bound" for name in solvers]
    columns += ["peak RSS MiB", *(() if given.no_auto else ("auto, whole job s",))]
    title = f"Growth with size: chains of cells, {given.target}, {given.clock} seconds"
    print(write_table("scaling", title, columns, rows))


def row_of(
    operators: int, found: dict[str, dict[str, Any]], solvers: list[str], jobs: list[str]
) -> list[str]:
    """One row: seconds of each stage; those behind the solver are the slowest of all plans'."""
    done = [found[name] for name in solvers if "failed" not in found[name]]
    bound = max((one["bound_s"] for one in done), default=0.0)

    def slowest(stage: str) -> str:
        return f"{max((one[stage] for one in done), default=float('nan')):.2f}"

    row = [str(operators), str(max((one["steps"] for one in done), default=0)), slowest("build")]
    row += [found[n].get("failed") or f"{found[n]['solve']:.2f}" for n in solvers]
    row += [slowest(stage) for stage in STAGES]
    row += [
        "-" if "failed" in found[n] else f"{found[n]['latency_s'] / bound:.4f}" for n in solvers
    ]
    row += [str(max((found[n].get("peak_mib", 0) for n in jobs), default=0))]
    if "auto" in jobs:
        auto = found["auto"]
        row += [auto.get("failed") or f"{auto['total']:.2f} ({auto['solver']})"]
    return row


def in_fresh_process(operators: int, solver: str, given: argparse.Namespace) -> dict[str, Any]:
    """The record of `measure`, or {"failed": why}."""
    command = [sys.executable, __file__, "--operators", str(operators), "--job", solver]
    command += ["--target", given.target, "--limit", str(given.limit), "--clock", given.clock]
    limit_s = given.limit
    if solver == "auto":
        limit_s = given.auto_limit or PATIENCE_S
        command += ["--auto-limit", str(given.auto_limit)] if given.auto_limit else []
    patience_s = GRACE * limit_s + PATIENCE_S
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"> {patience_s:.0f}"}
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return {"failed": "failed"}
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for note in record.get("notes", ()):
        print(f"  {operators} {solver}: {note}", flush=True)
    return record


def measure(
    operators: int,
    solver: str,
    target_name: str,
    limit_s: float | None,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """Seconds of each stage of one solver's way from a graph to a plan file, and peak memory."""
    target = load_target(target_name)
    graph = cell_graph(operators)
    watch = _Watch(clock)
    program = watch.time(
        "build",
        lambda: build_program(
            graph,
            range(operators),
            aliases=alias_options(target),
            dma_steps=target.dma_steps,
        ),
    )
    problem = Problem(program, target)
    record: dict[str, Any] = {"steps": len(problem.steps)}
    try:
        if solver == "auto":
            record |= whole(watch, problem, limit_s)
        else:
            record |= stages(watch, problem, solver, limit_s)
    except UllageError as error:
        return {"failed": type(error).__name__, "notes": [error.message]}
    record["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return record | watch.seconds


class _Watch:
    """Seconds of each stage by a clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = {}

    def time(self, stage: str, work: Callable[[], Result]) -> Result:
        begun = self.clock()
        result = work()
        self.seconds[stage] = self.clock() - begun
        return result


def stages(watch: _Watch, problem: Problem, solver: str, limit_s: float | None) -> dict[str, Any]:
    """One solver, and each stage behind it."""
    plan = watch.time("solve", lambda: plan_by(solver, problem, limit_s))  # verified, too
    watch.time("verify", lambda: verify(plan))
    found = watch.time("score", lambda: score(plan))
    watch.time("simulate", lambda: simulate(plan))
    watch.time("json", lambda: dump_plan(plan))
    return {
        "latency_s": found.latency_s,
        "bound_s": best_bound(plan).value,
        "notes": list(plan.notes),
    }


def whole(watch: _Watch, problem: Problem, limit_s: float | None) -> dict[str, Any]:
    """What `ullage compile` does by default, the reading of the model apart."""
    options = CompileOptions(time_limit_s=limit_s)

    def job() -> Plan:
        plan = compile_problem(problem, options).plan
        dump_plan(plan)
        return plan

    plan = watch.time("compile", job)
    watch.seconds["total"] = watch.seconds["build"] + watch.seconds["compile"]
    return {"solver": plan.solver, "notes": list(plan.notes)}


if __name__ == "__main__":
    main()
