"""A random model in random tiles: planned, verified, executed."""

from pathlib import Path

import onnx

from tests.support.random_models import RandomModel
from tests.support.tile_runs import planned
from ullage.compiler.execute.runner import run_plan
from ullage.compiler.importer.build import ImportOptions, import_detailed
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.target import NO_PADDING, Padding
from ullage.compiler.lowering.tiling.cut import cut_output
from ullage.compiler.verify.reach.check import check_reach
from ullage.compiler.verify.reach.geometry import Geometry


def fault_of(seed: int, folder: Path, padding: Padding = NO_PADDING) -> str | None:
    """What is wrong with one random model in random tiles; empty for nothing.

    None where its last operator cannot be cut.
    """
    made = RandomModel(seed)
    if not made.nodes:
        return None
    path = folder / "random.onnx"
    onnx.save(made.proto(), path)
    imported = import_detailed(path, ImportOptions(padding=padding))
    operators = [o for o in imported.graph.operators if made.last in o.outputs]
    tiles = made.tiles(operators[0]) if operators else {}
    if not tiles:
        return None
    halo = made.rng.choice(("kept", "recomputed"))
    what = f"seed {seed}, {[n.op_type for n in made.nodes]}, {tiles}, {halo}"
    schedule = cut_output(imported.graph, made.last, tiles, halo=halo)
    memory_bytes = made.rng.choice((512, 2048, 8192))
    plan = planned(path, schedule, memory_bytes, padding=padding)
    report = check_reach(Geometry.of(imported), imported.graph, plan.program)
    if report.violations:
        return f"{what}: {report.violations[0].message}"
    for check in run_plan(path, plan).outputs:
        if not check.passed or not (check.bit_exact or REDUCTION in tiles or not check.finite):
            return f"{what}: {check}"
    return ""
