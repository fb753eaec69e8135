"""The picture of docs/training.md: fast memory while a training step computes results again.

A step of MLPerf Tiny's ResNet-8 (batch 32) with 40 % of its own peak as fast memory and 0.5 GB/s of
slow memory, planned by `fluid` in the schedule of a search of fixed length. The `svg` emitter draws
the steps around the first repetitions.

Run: python benchmarks/training_picture.py
"""

import tempfile
from pathlib import Path

import onnx
from recomputation import overrides_of, task_of
from training_graphs import resnet8

from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.emit.svg import memory_svg
from ullage.hwmodels.bounds import live_bytes_by_step
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.recompute.search import recompute

PICTURE = Path(__file__).parents[1] / "docs" / "training.svg"
SHARE, RATE = 0.4, 5e8
# Steps that are drawn in front of the first repetition, and behind it.
BEFORE, BEHIND = 6, 22


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet8.onnx"
        onnx.save(resnet8(), path)
        options = CompileOptions(overrides=overrides_of(RATE), schedule="whole")
        whole = prepare(path, options)
    size = int(SHARE * live_bytes_by_step(whole.problem, whole.target).max())
    whole = whole.on(whole.target.with_fast_memory(size))
    task = task_of(whole)
    schedule = recompute(task, Budget()).schedule
    plan = run_solver("fluid", task.problem_of(schedule)).plan
    steps = plan.problem.steps
    first = next(t for t, step in enumerate(steps) if step.copy)
    drawn = max(0, first - BEFORE), min(len(steps), first + BEHIND)
    PICTURE.write_text(memory_svg(plan, drawn), encoding="utf-8")
    again = [step.name for step in steps if step.copy]
    print(
        f"{len(again)} steps more, the first {again[0]}; steps {drawn[0]} to {drawn[1] - 1} drawn"
    )


if __name__ == "__main__":
    main()
