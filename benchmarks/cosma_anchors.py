"""Figures of a public reimplementation of COSMA held against ours.

Its graphs are TFLite exports, which fuse other operators; where a figure differs, that is why.
DenseNet-121 in fp32 at 7,280 KiB is what a commercial solver did not close within half an hour in
the big-M program. Here it is the model of the onnx wheel, with and without fused operators.

Run: python benchmarks/cosma_anchors.py [--seconds S]
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from common import plan_by, write_table
from cosma import budgets_of, gap_of, problem_of
from cosma_graphs import densenet121, resnet50

from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.aliases import NO_ALIASES
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.scheduling.peak_order import smallest_peak

SOLVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "cpsat": ("cpsat", {"relative_gap": 0.0}),
    "cpsat free": ("cpsat", {"order": "free"}),
    "divide": ("divide", {}),
}
FP32_BYTES = 7280 << 10
COLUMNS = ("case", "published", "operators", "KiB", "solver", "bytes", "gap bytes", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    given = parser.parse_args()
    rows: list[list[Any]] = []
    for case, published, problem in cases():
        for name, (solver, parameters) in SOLVERS.items():
            begun = time.monotonic()
            asked = problem.minimising("traffic")
            plan = plan_by(solver, asked, given.seconds, parameters)
            spent = time.monotonic() - begun
            if find_violations(plan):
                raise SystemExit(f"{case}: {name} made an illegal plan")
            value = score(plan).noncompulsory_bytes
            size = f"{problem.target.fastest.capacity_bytes / 1024:.2f}"
            row = [
                case,
                published,
                problem.program.operators,
                size,
                name,
                value,
                gap_of(plan, value),
            ]
            rows.append([*row, f"{spent:.1f}"])
            print(" | ".join(map(str, rows[-1])), flush=True)
            title = f"COSMA's anchors, {given.seconds:g} s a solver"
            write_table("cosma_anchors", title, COLUMNS, rows)


def cases() -> Iterator[tuple[str, str, Problem]]:
    """Case, published bytes, problem."""
    yield from at_budgets("ResNet-50 int8", resnet50(), {"M_R": "0"}, weights=False)
    yield from at_budgets("ResNet-50 int8, weights", resnet50(), {"M_R": "602112"}, weights=True)
    published = {"M_R": "2609152", "M_P": "0"}
    yield from at_budgets("DenseNet-121 int8", densenet121(), published, weights=False)
    for fuse in (False, True):
        options = CompileOptions(target="cosma", objective="traffic", alias=False, fuse=fuse)
        prepared = prepare(find_model("densenet121"), options)
        target = prepared.target.with_fast_memory(FP32_BYTES)
        what = "fused" if fuse else "not fused"
        yield f"DenseNet-121 fp32, {what}", "unsolved", prepared.problem.on(target)


def at_budgets(
    case: str, graph: Graph, published: dict[str, str], *, weights: bool
) -> Iterator[tuple[str, str, Problem]]:
    """A network of the evaluation in the order of smallest peak, at named budgets."""
    target = replace(load_target("cosma"), weights_in_fastest=weights)
    found = smallest_peak(graph, NO_ALIASES, limit_s=20.0)
    problem = problem_of(graph, found.order, target)
    sizes = budgets_of(problem, found)
    for budget, figure in published.items():
        yield f"{case}, {budget}", figure, problem.on(target.with_fast_memory(sizes[budget]))


if __name__ == "__main__":
    main()
