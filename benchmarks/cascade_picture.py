"""The picture of docs/schedules.md: the fast memory while a cascade of SqueezeNet runs.

SqueezeNet in int8 with 128 KiB of fast memory, scheduled by the dynamic program alone (no local
search, so that every machine finds the same), planned by `fluid`. The `svg` emitter draws the first
stripes of the first cascade.

Run: python benchmarks/cascade_picture.py
"""

from pathlib import Path

from cascade_tasks import task_of

from ullage.compiler.common.units import format_size
from ullage.compiler.emit.svg import memory_svg
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.cascades import cascade_data, find_cascades
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.search import cascade_schedule

PICTURE = Path(__file__).parents[1] / "docs" / "schedules.svg"
FAST_MEMORY_BYTES = 128 * 1024
# Stripes that are drawn at most: the rest looks alike.
STRIPES = 8


def main() -> None:
    graph = import_model(find_model("squeezenet"), ImportOptions(dtype="int8"), name="squeezenet")
    target = load_target("edge-npu").with_fast_memory(FAST_MEMORY_BYTES)
    task = task_of(graph, target, Budget())
    schedule = cascade_schedule(task, tries=0).schedule
    plan = run_solver("fluid", task.problem_of(schedule)).plan
    cascade = next(one for one in find_cascades(plan.program) if one.interleaves)
    ends = (*cascade.stripes, cascade.end)
    picture = memory_svg(plan, (cascade.first, ends[min(STRIPES, len(ends) - 1)]))
    PICTURE.write_text(picture, encoding="utf-8")
    data = cascade_data(plan.program, cascade)
    lines, whole = format_size(data.buffered_bytes), format_size(data.between_bytes)
    print(f"{' '.join(cascade.names)}: line buffers {lines} at most, whole tensors {whole}")


if __name__ == "__main__":
    main()
