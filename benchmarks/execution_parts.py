"""Plans in parts executed in float32, compared with ordinary runs of the whole model.

Every model at each size of fast memory, in the cascades that the search finds there (halo kept),
and in tiles of one of its outputs (`cut_output`): rows with the halo kept, rows x columns with the
halo recomputed, channels
and ranges of K, tokens, heads (axis 1 of 4). What the verifier's own rules say of the reads is
checked as well.

Run: python benchmarks/execution_parts.py [--models DIR] [--only NAME,NAME] [--sizes KIB,KIB]
[--seconds S]
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cascade_tasks import task_of
from common import model_files, plan_by, write_table

from ullage.compiler.common.errors import UllageError, UsageError
from ullage.compiler.execute.runner import Executor
from ullage.compiler.frontend import FrontendOptions, Ordering, Prepared, in_order
from ullage.compiler.importer.build import ImportOptions
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.part_names import axis_names_of
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.tiling.cut import Halo, cut_output
from ullage.compiler.verify.reach.check import verify_reach
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.search import cascade_schedule

MODELS = (
    "tiny_resnet8 squeezenet1_1 mnasnet1_0 mobilenet_v2 shufflenet_v2_x1_0 googlenet mixer_s16 "
    "t5_small_encoder_128 efficientnet_b0 hrnet_w18_small yolov8n_like bert_base_128 vit_b_16 "
    "resnet50 unet_256"
)
COLUMNS = (
    "model",
    "memory",
    "parts from",
    "parts",
    "operators cut",
    "copies",
    "axes",
    "reads checked twice",
    "largest difference",
    "tolerance",
    "result",
)


@dataclass(frozen=True)
class Subject:
    """A model ready to be executed."""

    name: str
    executor: Executor
    geometry: Geometry

    @property
    def graph(self) -> Graph:
        """Its operators."""
        return self.executor.imported.graph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default=MODELS.replace(" ", ","))
    parser.add_argument("--sizes", default="64,256,1024")
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    wanted = given.only.split(",")
    files = {file.stem: file for file in model_files(given.models)}
    rows: list[list[str]] = []
    for name in (name for name in wanted if name in files):
        executor = Executor(files[name], ImportOptions(batch=1), name=name)
        subject = Subject(name, executor, Geometry.of(executor.imported))
        for size in (int(text) for text in given.sizes.split(",")):
            target = load_target("edge-npu", {}).with_fast_memory(size << 10)
            for how, schedule in schedules(subject, target, given.seconds):
                rows.append([name, f"{size} KiB", how, *row_of(subject, target, schedule)])
                print(" | ".join(rows[-1]), flush=True)
        bad = sum(row[-1] == "DIFFERS" for row in rows)
        title = (
            f"Plans in parts executed in float32: {len({row[0] for row in rows})} models, "
            f"{len(rows)} plans, {bad} differ"
        )
        write_table("execution_parts", title, COLUMNS, rows)
    return 1 if bad else 0


def schedules(subject: Subject, target: Target, seconds: float) -> Iterator[tuple[str, Schedule]]:
    """The schedules of a model: the search's, and those of tiles that apply."""
    graph = subject.graph
    task = task_of(graph, target, Budget(time.monotonic() + seconds))
    found = cascade_schedule(task).schedule
    if not found.is_whole:
        yield "search", found
    for how, rank, axes, halo in (
        ("rows, kept", 4, (2,), "kept"),
        ("rows x columns, recomputed", 4, (2, 3), "recomputed"),
        ("channels x K", 4, (1, REDUCTION), "kept"),
        ("tokens", 3, (1,), "kept"),
        ("tokens, K", 3, (1, REDUCTION), "kept"),
        ("axis 1 of 4, recomputed", 4, (1,), "recomputed"),
    ):
        schedule = tiles_of(graph, rank, axes, halo)  # type: ignore[arg-type]
        if schedule is not None:
            yield how, schedule


def tiles_of(graph: Graph, rank: int, axes: tuple[int, ...], halo: Halo) -> Schedule | None:
    """Some operators around the middle of a model in tiles; None where no output allows it."""
    count = len(graph.operators)
    for index in sorted(range(count), key=lambda i: abs(i - count // 2)):
        operator = graph.operators[index]
        output = operator.outputs[0]
        shape = graph.values[output].shape
        if operator.reach is None or len(shape) != rank or graph.values[output].dtype != "float32":
            continue
        sizes = [operator.reach.reduction if a == REDUCTION else shape[a] for a in axes]
        if min(sizes) < 6:
            continue
        tiles = {axis: -(-size // 3) for axis, size in zip(axes, sizes, strict=True)}
        for before in (12, 6, 3, 1, 0):
            group = range(max(0, index - before), index + 1)
            try:
                schedule = cut_output(graph, output, tiles, halo=halo, operators=group)
            except UsageError:
                continue
            if len(schedule.cut_operators) > min(before, 1):
                return schedule
    return None


def row_of(subject: Subject, target: Target, schedule: Schedule) -> list[str]:
    """Plan a schedule, check what its parts read, execute it."""
    graph = subject.graph
    prepared: Prepared = in_order(
        graph,
        target,
        Ordering(tuple(range(len(graph.operators)))),
        FrontendOptions(batch=1),
        path=str(subject.executor.model),
        started=time.monotonic(),
        schedule=schedule,
    )
    program = prepared.problem.program
    report = verify_reach(subject.geometry, graph, program)
    plan = replace(plan_by("greedy", prepared.problem), model=prepared.model)
    names = {name for step in program.steps for name in axis_names_of(step)}
    try:
        checks = subject.executor.run(plan).outputs
    except UllageError as error:
        return [*shape_of(schedule), ", ".join(sorted(names)), "", "", "", error.message[:80]]
    worst = max(checks, key=lambda c: c.max_abs_diff - c.tolerance)
    exact = all(check.bit_exact for check in checks)
    passed = all(check.passed for check in checks)
    return [
        *shape_of(schedule),
        ", ".join(sorted(names)),
        f"{report.checked} of {sum(step.operator >= 0 for step in program.steps)} steps",
        f"{worst.max_abs_diff:.2g}",
        f"{worst.tolerance:.2g}",
        "bit-exact" if exact else "within tolerance" if passed else "DIFFERS",
    ]


def shape_of(schedule: Schedule) -> list[str]:
    """Numbers of parts, of operators that are cut, and of parts that make elements again."""
    copies = sum(part.copy > 0 for part in schedule.parts)
    return [str(len(schedule.parts)), str(len(schedule.cut_operators)), str(copies)]


if __name__ == "__main__":
    raise SystemExit(main())
