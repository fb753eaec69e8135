"""The cases of `shared/cases/tiles`: small models with the truth about what their parts need.

Each says for ranges of an output which intervals of the tensors before it change it (`needs`), and
which rows a kernel touches with weight 0 (`touch`); both were found by experiment.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.lowering.demand import demand, dependence

FOLDER = Path(__file__).parents[2].parent / "shared" / "cases" / "tiles"


@dataclass
class TileFindings:
    """Demands compared with the truth.

    Attributes:
        rows: ranges of outputs.
        missing: a text for each tensor of which something needed is not demanded.
        exact: rows in which the dependence is no more than what is needed or touched.
        demanded: rows in which the demand is no more than what is needed or touched.
        within_hull: rows in which the demand is no more than the hull of that.
        refused: cases with an operator that has no reach.
        uncut: cases that ask for parts along an axis that is not cut, with the operator's type.
    """

    rows: int = 0
    missing: list[str] = field(default_factory=list)
    exact: int = 0
    demanded: int = 0
    within_hull: int = 0
    refused: list[str] = field(default_factory=list)
    uncut: list[str] = field(default_factory=list)


def cases() -> list[dict[str, Any]]:
    """The cases; none where the folder is absent."""
    file = FOLDER / "cases.json"
    if not file.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["cases"]
    return found


def tile_findings(chosen: list[dict[str, Any]]) -> TileFindings:
    """Demands of all rows of some cases, each node by itself, compared with the truth."""
    found = TileFindings()
    for case in chosen:
        graph = import_model(FOLDER / case["file"], ImportOptions(fuse=False))
        if any(operator.reach is None for operator in graph.operators):
            found.refused.append(case["file"])
        for row in case["rows"]:
            _compare(graph, case, row, found)
        fused = import_model(FOLDER / case["file"], ImportOptions())
        makers = {name: operator for operator in fused.operators for name in operator.outputs}
        for tile in case["tile"]:
            maker = makers.get(tile["output"])
            if maker is not None and not _is_cut(maker, tile["axis"]):
                found.uncut.append(f"{case['file']}: {maker.kind}")
    return found


def _is_cut(operator: Operator, axis: int | str) -> bool:
    """Whether an operator is cut along an axis, or along its reduction (`K`)."""
    if operator.reach is None:
        return False
    if axis == "K":
        return operator.reach.reduction > 1
    return operator.reach.axes[int(axis)] != "none"


def _compare(graph: Graph, case: dict[str, Any], row: dict[str, Any], found: TileFindings) -> None:
    box = [(0, length) for length in case["shapes"][row["output"]]]
    for axis, (start, end) in [(row["axis"], row["range"]), *row.get("more", [])]:
        box[axis] = (start, end)
    demanded = demand(graph, row["output"], tuple(box))
    depends = dependence(graph, row["output"], tuple(box))
    exact = precise = within = True
    for tensor, per_axis in row["needs"].items():
        got = demanded.get(tensor, ((0, 0),) * len(per_axis))
        read = depends.get(tensor, ((),) * len(per_axis))
        touched = row.get("touch", {}).get(tensor)
        for axis, intervals in enumerate(per_axis):
            mine, needed = set(range(*got[axis])), _indices(intervals)
            single = _indices(read[axis])
            if needed - mine or needed - single:
                found.missing.append(
                    f"{case['file']} {row['output']} {box} needs {tensor} axis {axis} {intervals}, "
                    f"demand is {got[axis]}, dependence {read[axis]}"
                )
            allowed = needed
            if touched and touched["axis"] == axis:
                allowed = needed | _indices(touched["intervals"])
            exact &= single <= allowed
            precise &= mine <= allowed
            within &= not mine or (
                bool(allowed) and min(allowed) <= min(mine) and max(mine) <= max(allowed)
            )
    found.rows += 1
    found.exact += exact
    found.demanded += precise
    found.within_hull += within


def _indices(intervals: Iterable[Sequence[int]]) -> set[int]:
    return {index for start, end in intervals for index in range(start, end)}
