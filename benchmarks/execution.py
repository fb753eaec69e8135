"""Proof by execution on every model: plans run, bit-exact, worst difference, seconds.

Run: python benchmarks/execution.py [--models DIR] [--sizes 64KiB,1MiB] [--only NAME]
         [--max-weights-mb N]
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from common import model_files, plan_by, write_table

from ullage.compiler.common.errors import InfeasibleError, UllageError, UsageError
from ullage.compiler.common.units import parse_size
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.runner import Executor, import_options
from ullage.compiler.frontend import Prepared
from ullage.compiler.importer.model_zoo import named_models
from ullage.compiler.importer.symbols import input_dims
from ullage.solvers.registry import find_solver, solver_names

SIZES = "64KiB,256KiB,1MiB,4MiB"
TARGET = "edge-npu"
KINDS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("split", {}),
    ("whole", {"split_operands": "false"}),
)
COLUMNS = (
    "model",
    "operators",
    "plans run",
    "passed",
    "bit-exact",
    "worst difference / tolerance",
    "infeasible",
    "failures",
    "seconds a plan",
    "remarks",
)


@dataclass
class Tally:
    """What the plans of one model showed."""

    ran: int = 0
    passed: int = 0
    exact: int = 0
    infeasible: int = 0
    worst: float = 0.0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, help="folder of models")
    parser.add_argument("--sizes", default=SIZES, help="capacities of the fastest tier")
    parser.add_argument("--only", help="names of models, separated by commas")
    parser.add_argument("--max-weights-mb", type=float, default=2048.0)
    given = parser.parse_args()
    sizes = [parse_size(text) for text in given.sizes.split(",")]
    wanted = set(given.only.split(",")) if given.only else None
    rows: list[list[str]] = []
    refused: list[list[str]] = []
    for name, file in models(given.models).items():
        if wanted is not None and name not in wanted:
            continue
        try:
            rows.append(run_model(name, file, sizes, given.max_weights_mb * 1e6))
            print(" | ".join(rows[-1]), flush=True)
        except UllageError as error:
            refused.append([name, error.message.splitlines()[0][:200]])
            print(f"{name}: {refused[-1][1]}", flush=True)
    suffix = "_part" if wanted is not None else ""
    print(write_table(f"execution{suffix}", "Proof by execution", COLUMNS, rows))
    if refused:
        title = "Models that are not executed"
        print(write_table(f"execution_refused{suffix}", title, ("model", "reason"), refused))


def models(folder: Path | None) -> dict[str, Path]:
    """Name -> file: the folder's models, and the onnx wheel's nine (their names win no clash)."""
    wheel = {f"onnx/{name}": path for name, path in named_models().items()}
    return {file.stem: file for file in model_files(folder) if file not in wheel.values()} | wheel


def run_model(name: str, file: Path, sizes: list[int], max_weight_bytes: float) -> list[str]:
    """One row of the table; raises UllageError where nothing of the model can run."""
    ready = {kind: read(file, overrides) for kind, overrides in KINDS}
    first = ready["split"]
    weight_bytes = sum(v.size_bytes for v in first.graph.values.values() if v.kind == "weight")
    if weight_bytes > max_weight_bytes:
        raise UllageError(
            f"{weight_bytes / 1e6:.0f} MB of weights, more than {max_weight_bytes / 1e6:.0f} "
            "(--max-weights-mb)"
        )
    started = time.monotonic()
    # One for all plans: kinds of targets and solvers differ in the plan, not in the model.
    probe = plan_by("all-slow", first.problem)
    executor = Executor(
        file, import_options(replace(probe, model=first.model)), 0, first.problem.name
    )
    opened_s = time.monotonic() - started
    tally = Tally()
    for kind, prepared in ready.items():
        own = (s for s in solver_names() if s != "auto" and not find_solver(s).extra)
        for solver in own:
            for size in sizes:
                run_plan(
                    f"{kind} {solver} {size >> 10} KiB", prepared, solver, size, executor, tally
                )
    remarks = [*dict.fromkeys(executor.kernels.fallbacks)]
    for text in tally.failures:
        print(f"FAIL {name} {text}", flush=True)
    return [
        name,
        str(first.problem.program.operators),
        str(tally.ran),
        str(tally.passed),
        str(tally.exact),
        f"{tally.worst:.2g}",
        str(tally.infeasible),
        "; ".join(tally.failures) or "none",
        f"{tally.seconds / max(1, tally.ran):.2f}",
        "; ".join([f"opened in {opened_s:.1f} s", *remarks[:3]]),
    ]


def run_plan(
    label: str, prepared: Prepared, solver: str, size: int, executor: Executor, tally: Tally
) -> None:
    """Solve and execute once; what happens goes into the tally."""
    problem = prepared.problem.on(prepared.target.with_fast_memory(size))
    try:
        plan = plan_by(solver, problem.minimising(find_solver(solver).objectives[0]))
    except InfeasibleError:
        tally.infeasible += 1
        return
    except UsageError:  # a solver of another kind of problem
        return
    started = time.monotonic()
    try:
        done = executor.run(replace(plan, model=prepared.model))
    except UllageError as error:
        if error.kind == "model":  # the numbers or the operators, no plan of it can run
            raise
        tally.ran += 1
        tally.failures.append(f"{label}: {error.message.splitlines()[0][:150]}")
        return
    tally.seconds += time.monotonic() - started
    tally.ran += 1
    tally.passed += done.passed
    tally.exact += all(check.bit_exact for check in done.outputs)
    shares = [c.max_abs_diff / c.tolerance for c in done.outputs if not c.bit_exact and c.tolerance]
    tally.worst = max(tally.worst, *shares, 0.0)
    if not done.passed:
        names = [check.name for check in done.outputs if not check.passed]
        tally.failures.append(f"{label}: {', '.join(names)} differ")


def read(file: Path, overrides: Mapping[str, str]) -> Prepared:
    """A model on the target, batch 1 where the batch is symbolic."""
    proto = onnx.load(file, load_external_data=False)
    weights = {t.name for t in proto.graph.initializer}
    free = [v for v in proto.graph.input if v.name not in weights]
    symbolic = any(isinstance(d, str) for v in free for d in input_dims(v) or ())
    options = CompileOptions(target=TARGET, overrides=overrides, batch=1 if symbolic else None)
    return prepare(file, options)


if __name__ == "__main__":
    main()
