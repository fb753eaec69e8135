"""`cpsat` and `ilp` with CBC on equal problems of COSMA's kind, in one run: CPU seconds of both.

The fourteen networks at M_R, activations alone and with weights, in three modes: order fixed with
addresses (the published program), order fixed with loads, order free with loads; and random
programs of 7 operators in a free order with addresses. From the problem to the plan, all threads
and CBC's process together, so that other work on the machine does not count. Where CBC ends by
itself both must have the same optimum; where its limit of wall-clock seconds ends it, its time
counts as far as it went. The title has the geometric mean of the ratios where CBC needed more than
a second. Rows are written as they come; a second run skips those that are there already.

Run: python benchmarks/cosma_speed.py [--only NAME,NAME] [--seconds S] [--random N] [--first SEED]
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from common import RESULTS, ROOT, write_table
from cosma import budgets_of, problem_of
from cosma_graphs import NETWORKS

from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.aliases import NO_ALIASES
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.cosma import cpsat as cpsat_cosma
from ullage.solvers.cosma import ilp
from ullage.solvers.cosma.question import Answer
from ullage.solvers.exact.options import CpsatOptions
from ullage.solvers.scheduling.peak_order import smallest_peak

NAME = "cosma_speed"
MODES = (("fixed", "load"), ("free", "load"), ("fixed", "addresses"))
COLUMNS = (
    *("problem", "operators", "order", "space"),
    *("CBC", "CBC bytes", "CBC CPU s", "cpsat", "cpsat bytes", "cpsat CPU s", "ratio"),
)
SLOW_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--random", type=int, default=12)
    parser.add_argument("--first", type=int, default=20_000)
    given = parser.parse_args()
    file = RESULTS / f"{NAME}.json"
    compared("warm up", "fixed", "load", first_case(), 10.0)  # imports
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    done = {(row["problem"], row["order"], row["space"]) for row in rows}
    for name, order, space, problem in cases(given):
        if (name, order, space) in done:
            continue
        rows.append(compared(name, order, space, problem, given.seconds))
        write_table(NAME, title_of(rows, given.seconds), COLUMNS, [[*r.values()] for r in rows])
        print(" | ".join(str(v) for v in rows[-1].values()), flush=True)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, str, str, Problem]]:
    """Name, order, space and problem of each row."""
    sys.path.insert(0, str(ROOT))
    from tests.support.cosma_oracle import cosma_case

    for seed in range(given.first, given.first + given.random):
        yield f"random {seed}", "free", "addresses", cosma_case(seed, 7, shares=False)
    ready: list[tuple[str, Problem]] = []
    for network in given.only.split(",") if given.only else NETWORKS:
        graph = NETWORKS[network]()
        found = smallest_peak(graph, NO_ALIASES, limit_s=20.0)
        for weights in (False, True):
            target = replace(load_target("cosma"), weights_in_fastest=weights)
            problem = problem_of(graph, found.order, target)
            chip = target.with_fast_memory(budgets_of(problem, found)["M_R"])
            ready.append((network + (", weights" if weights else ""), problem.on(chip)))
    for order, space in MODES:
        for name, problem in ready:
            yield name, order, space, problem


def first_case() -> Problem:
    """A small problem."""
    sys.path.insert(0, str(ROOT))
    from tests.support.cosma_oracle import cosma_case

    return cosma_case(7, 5, shares=False)


def compared(name: str, order: str, space: str, problem: Problem, seconds: float) -> dict[str, Any]:
    """One row."""
    how: dict[str, Any] = {"order": order, "space": space, "moves": "no"}
    found: dict[str, tuple[Answer, float]] = {}
    for solver in ("ilp", "cpsat"):
        begun = cpu_s()
        budget, asked = Budget(time.monotonic() + seconds), problem.minimising("traffic")
        if solver == "ilp":
            answered = ilp.answer(asked, ilp.IlpOptions(**how), budget)
        else:
            answered = cpsat_cosma.answer(asked, CpsatOptions(**how), budget)
        found[solver] = (answered, cpu_s() - begun)
    (slow, slow_s), (fast, fast_s) = found["ilp"], found["cpsat"]
    closed = {"optimal", "infeasible"}
    if slow.status in closed and fast.status in closed and slow.objective != fast.objective:
        raise SystemExit(f"{name}, {order}, {space}: {slow.objective} and {fast.objective}")
    values = (
        *(name, problem.program.operators, order, space),
        *(slow.status, slow.objective, f"{slow_s:.2f}"),
        *(fast.status, fast.objective, f"{fast_s:.3f}", f"{slow_s / fast_s:.1f}"),
    )
    return dict(zip(COLUMNS, values, strict=True))


def cpu_s() -> float:
    """CPU seconds of this process and of those that it started and that ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def title_of(rows: list[dict[str, Any]], seconds: float) -> str:
    """What comes out of it."""
    slow = [row for row in rows if float(row["CBC CPU s"]) > SLOW_S]
    ended = [row for row in slow if row["CBC"] in ("optimal", "infeasible")]
    parts = [f"cpsat against CBC, {seconds:g} s at most"]
    for what, listed in (("where CBC needs over 1 s", slow), ("of these CBC ended", ended)):
        if listed:
            mean = math.exp(sum(math.log(float(row["ratio"])) for row in listed) / len(listed))
            parts.append(f"{what}: {mean:.1f} times faster in the geometric mean ({len(listed)})")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
