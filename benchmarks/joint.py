"""Joint orders: the fluid LP and the plan in the file's order, the smallest peak's, and the joint.

Models that branch, at tight sizes of fast memory. LP values bound every plan of their order; plans
are those of `fluid`.

Run: python benchmarks/joint.py [--models DIR] [--only NAME,NAME] [--sizes KIB,KIB]
[--seconds S] [--target NAME]
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

from common import model_files, write_table
from heuristics import read

from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.compile import solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.joint_order import joint_order
from ullage.solvers.scheduling.joint_value import OrderingTask
from ullage.solvers.scheduling.peak_order import memory_order

MODELS = (
    "nasnetalarge",
    "darts_v2",
    "randwire_cifar",
    "randwire_ws_small",
    "hrnet_w18_small",
    "unet_256",
    "mlp_train",
)
SHARES = (0.1, 0.3)  # of the operands of the largest operator: very tight, and tight
NAME = "joint"
COLUMNS = (
    "model",
    "operators",
    "KiB",
    "model LP ms",
    "memory LP",
    "joint LP",
    "model plan ms",
    "memory plan",
    "joint plan",
    "tries",
    "gains",
    "seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--sizes", default="")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--target", default="edge-npu")
    given = parser.parse_args()
    rows: list[list[str]] = []
    ratios: list[float] = []
    for file in model_files(given.models):
        if file.stem not in given.only.split(","):
            continue
        prepared = read(file, given.target, "int8")
        if prepared is None:
            continue
        sizes = [int(size) for size in given.sizes.split(",") if size] or tight_kib(prepared)
        for size in sizes:
            row = run(file.stem, prepared, size, given.seconds, ratios)
            if row:
                rows.append(row)
                print(" | ".join(row), flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / max(1, len(ratios)))
    title = (
        f"Joint orders on {given.target}, int8, {given.seconds:g} s each: plans at geometric mean "
        f"{mean:.3f} of the file order's latency (columns without ms: relative to the file's order)"
    )
    print(write_table(NAME, title, COLUMNS, rows))


def tight_kib(prepared: Prepared) -> list[int]:
    """Two sizes: shares of the operands of the operator that has most, weights left out."""
    buffers = prepared.problem.buffers
    most = max(
        sum(u.end_byte - u.start_byte for u in s.uses if buffers[u.buffer].kind != "weight")
        for s in prepared.problem.steps
    )
    return sorted({max(8, round(share * most / 1024 / 8) * 8) for share in SHARES})


def run(
    model: str, prepared: Prepared, size_kib: int, seconds: float, ratios: list[float]
) -> list[str] | None:
    """One row; None (and a line) where the model cannot be planned."""
    graph, target = prepared.graph, prepared.target.with_fast_memory(size_kib << 10)
    aliases = alias_options(target)
    begun = time.monotonic()
    budget = Budget(begun + seconds)
    found = joint_order(OrderingTask(graph, target, aliases, False, "latency", 0, budget))
    spent = time.monotonic() - begun
    orders = {
        "model": model_order(graph),
        "memory": memory_order(graph, aliases),
        "joint": found.order,
    }
    plans: dict[str, float] = {}
    for name, order in orders.items():
        program = build_program(
            graph, order, order_name=name, aliases=aliases, dma_steps=target.dma_steps
        )
        said = {**prepared.model, "order": name, "operator_order": list(order)}
        here = replace(
            prepared, problem=Problem(program, target), model=said, started=time.monotonic()
        )
        try:
            plans[name] = solve_prepared(
                here, CompileOptions(solver="fluid", schedule="whole")
            ).value
        except UllageError as error:
            print(f"{model} {size_kib} KiB, {name}: {error.message}")
            return None
    if found.value is None or found.model_value is None or found.memory_value is None:
        print(f"{model} {size_kib} KiB: {found.notes}")
        return None
    ratios.append(min(1.0, plans["joint"] / plans["model"]))
    return [
        model,
        str(prepared.problem.program.operators),
        str(size_kib),
        f"{1000 * found.model_value:.4f}",
        f"{found.memory_value / found.model_value:.4f}",
        f"{found.value / found.model_value:.4f}",
        f"{1000 * plans['model']:.4f}",
        f"{plans['memory'] / plans['model']:.4f}",
        f"{plans['joint'] / plans['model']:.4f}",
        str(found.tries),
        str(found.gains),
        f"{spent:.1f}",
    ]


if __name__ == "__main__":
    main()
