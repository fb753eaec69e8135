"""Chips whose compute unit reaches SRAM only: `auto` without a limit, and four operators by all.

Five models in int8 on `edge-npu` with `tiers.dram.addressable=false`, as the command line compiles
them; and a chain of four operators of 50 us whose weights take 25 us each to come, for which there
is plenty of room: only the first has nothing to hide behind, so 225.5 us are the best. Seconds are
those of the processor, of reading, solving and checking together.

Run: python benchmarks/scratchpad_auto.py [--models DIR]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from common import model_files, write_table

from ullage.compiler.driver.compile import compile_model, compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target

NAME = "scratchpad_auto"
KNOWN = "resnet50"  # the model of the wheel, by its name
MODELS_KIB = {  # file -> SRAM
    "mobilenet_v2": 2048,
    "efficientnet_b0": 2048,
    "squeezenet1_1": 1024,
    KNOWN: 3072,
    "googlenet": 1536,
}
SOLVERS = (
    *("greedy", "msa", "fluid", "cpsat", "divide"),
    *("noisy-greedy", "evolution", "rl", "auto"),
)
LIMIT_S = 40.0  # of a solver that is asked by name
COLUMNS = ("problem", "solver", "SRAM KiB", "latency us", "bound us", "above it %", "made by", "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    given = parser.parse_args()
    files = {file.stem: file for file in model_files(given.models)}
    rows = []
    for model, kib in MODELS_KIB.items():
        if model != KNOWN and model not in files:
            print(f"{model}: no such file")
            continue
        options = CompileOptions(
            schedule="whole",
            dtype="int8",
            overrides={"tiers.dram.addressable": "false"},
            fast_memory_bytes=kib << 10,
        )
        begun = time.process_time()
        found = compile_model(find_model(model) if model == KNOWN else files[model], options)
        rows.append(row(model, "auto", found, time.process_time() - begun))
    for solver in SOLVERS:
        options = CompileOptions(solver=solver, time_limit_s=None if solver == "auto" else LIMIT_S)
        begun = time.process_time()
        found = compile_problem(four_operators(), options)
        rows.append(row("four operators", solver, found, time.process_time() - begun))
    most = max(float(line[5]) for line in rows)
    slowest = max(float(line[7]) for line in rows if line[1] == "auto")
    title = (
        f"What must be in SRAM: {len(rows)} plans, none more than {most:.3f} % above its bound; "
        f"auto took at most {slowest:.1f} s of the processor"
    )
    print(write_table(NAME, title, COLUMNS, rows))


def four_operators() -> Problem:
    """A chain of four operators with a weight each, all of which fit."""
    target = replace(load_target("edge-npu"), operand_access="fastest", weights_in_fastest=True)
    tensors, operators = [Tensor("x0", 1000, "input")], []
    for i in range(4):
        tensors.append(Tensor(f"w{i}", 100_000, "weight"))
        tensors.append(Tensor(f"x{i + 1}", 1000, "output" if i == 3 else "activation"))
        operators.append(Op(f"op{i}", [f"x{i}", f"w{i}"], [f"x{i + 1}"], macs=25_000_000))
    return problem_from_lists("four operators", tensors, operators, target)


def row(problem: str, solver: str, found: Compiled, seconds: float) -> list[str]:
    """A row of the table."""
    above = 100 * (found.value / found.bound.value - 1)
    kib = found.plan.target.fastest.capacity_bytes >> 10
    cells = [f"{1e6 * found.value:.1f}", f"{1e6 * found.bound.value:.1f}", f"{above:.3f}"]
    line = [problem, solver, str(kib), *cells, found.plan.solver, f"{seconds:.1f}"]
    print(" | ".join(line), flush=True)
    return line


if __name__ == "__main__":
    main()
