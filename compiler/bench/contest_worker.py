"""The process of an instance of the MLSys 2026 contest: solves it, checks and writes the solution.

It imports little before it begins: the limits of small instances are 2 s.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ullage.compiler.bench.process import (
    limit_memory,
    memory_reason,
    peak_memory_bytes,
)
from ullage.compiler.common.errors import UllageError, VerificationError

# When searches end, as a share of the limit and seconds before that: what is left is for checking
# and writing the solution on a machine that others use, too.
ENDING_SHARE, ENDING_S = 0.9, 0.15
# Share of the time that is left at the start of the search for it; the strict reading has the rest.
FULL_SHARE = 0.75


def main() -> None:
    """Solve the instance that standard input names, and print the result as JSON."""
    asked: dict[str, Any] = json.loads(sys.stdin.read())
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is under `nohup`
        signal.signal(signal.SIGINT, _interrupt_once)
    limit_memory(int(asked["memory_bytes"]))
    out = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no result
    try:
        result = solved(
            Path(asked["instance"]),
            Path(asked["solution"]),
            # how long ago the process was begun: clocks of two processes agree on that alone
            begun=time.monotonic() - max(0.0, time.time() - float(asked["begun"])),
            limit_s=float(asked["limit_s"]),
            seed=int(asked["seed"]),
        )
    except UllageError as error:
        result = {"status": error.kind, "reason": error.message}
    except MemoryError:
        result = {"status": "memory", "reason": memory_reason(int(asked["memory_bytes"]))}
    except KeyboardInterrupt:
        result = {"status": "interrupted", "reason": "before any solution was found"}
    result["cpu_s"] = time.process_time()
    result["memory_bytes"] = peak_memory_bytes()
    out.write(json.dumps(result) + "\n")
    out.flush()


def _interrupt_once(_signal: int, _frame: object) -> None:
    """End the search; a second Ctrl-C, which the parent passes on, does not end what follows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def solved(
    instance_path: Path, solution_path: Path, *, begun: float, limit_s: float, seed: int
) -> dict[str, Any]:
    """Solve an instance and write its solution; returns the columns of its row.

    Args:
        instance_path: the instance.
        solution_path: where its solution goes.
        begun: `time.monotonic()` value at which its time began.
        limit_s: seconds from then.
        seed: of the search.

    Raises:
        ModelError: the file is no instance.
        InfeasibleError: it has no solution.
        VerificationError: the solution breaks a rule, or costs what the search did not say.
    """
    from ullage.compiler.contest.instance import read_instance
    from ullage.compiler.contest.rules import evaluate
    from ullage.compiler.contest.solution import write_solution
    from ullage.solvers.contest.search import search
    from ullage.solvers.contest.sequence import Tilings

    instance = read_instance(instance_path)
    now, end = time.monotonic(), begun + ENDING_SHARE * limit_s - ENDING_S
    tilings: Tilings = {}
    found = search(instance, now + FULL_SHARE * (end - now), seed=seed, tilings=tilings)
    strict_cost: float | None = None
    interrupted = found.interrupted
    try:
        strict_cost = evaluate(instance, found.subgraphs, strict=True).cost
    except VerificationError:
        if not interrupted:
            strict = search(instance, end, strict=True, seed=seed, tilings=tilings)
            interrupted = strict.interrupted
            strict_cost = evaluate(instance, strict.subgraphs, strict=True).cost
            if strict.cost < found.cost:
                found = strict
    checked = evaluate(instance, found.subgraphs)
    if abs(checked.cost - found.cost) > 1e-9 * found.cost:
        raise VerificationError(
            f"the search counted {found.cost:.9g} for a solution that costs {checked.cost:.9g}"
        )
    write_solution(solution_path, found.subgraphs, checked.latencies)
    bound = found.bound
    return {
        "status": "optimal" if checked.cost <= bound.cost * (1 + 1e-9) else "feasible",
        "reason": "",
        "operators": len(instance.inputs),
        "cost": checked.cost,
        "lower_bound": min(bound.cost, checked.cost),
        "bound_source": bound.source,
        "valid": True,
        "strict_cost": strict_cost,
        "subgraphs": len(found.subgraphs),
        "interrupted": interrupted,
    }
