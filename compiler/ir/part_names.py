"""What parts of operators are called: `conv1 [rows 0:8)`, `fc [columns 0:64, K 0:128)`.

Axes have the names that people use for them. Convolutions, pools and their kin have batch, channels
and then space: positions, or rows and columns, or depth, rows and columns (ONNX, "Conv": N, C, D1
... Dn). Of any other operator the last axis counts columns and the one before it rows, as in a
matrix; those before them have no name but their number. The reduction is K.
"""

import re
from collections.abc import Sequence

from ullage.compiler.ir.program import Step
from ullage.compiler.ir.reach import REDUCTION, AxisRange

# Kinds of operators whose results are laid out as batch, channels, space.
IMAGE_KINDS = frozenset(
    {
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DepthToSpace",
        "GlobalAveragePool",
        "GlobalLpPool",
        "GlobalMaxPool",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "LpPool",
        "MaxPool",
        "NhwcConv",
        "QLinearConv",
        "Resize",
        "SpaceToDepth",
        "Upsample",
    }
)
# Names of the axes in space, by their number.
SPACE = {1: ("positions",), 2: ("rows", "columns"), 3: ("depth", "rows", "columns")}
# How a part is named that makes its elements a second or a later time.
_AGAIN = re.compile(r", copy \d+$")


def axis_name(kind: str, axis: int, rank: int) -> str:
    """The name of an output axis of an operator.

    Args:
        kind: operator type.
        axis: the axis, from 0, or `REDUCTION`.
        rank: number of axes of its output.
    """
    if axis == REDUCTION:
        return "K"
    if kind in IMAGE_KINDS and rank - 2 in SPACE:
        return ("batch", "channels", *SPACE[rank - 2])[axis]
    return {rank - 1: "columns", rank - 2: "rows"}.get(axis, f"axis {axis}")


def part_name(
    operator: str, ranges: Sequence[AxisRange], axis_names: Sequence[str], copy: int = 0
) -> str:
    """The name of a part: the operator's, and its ranges.

    Args:
        operator: name of the operator.
        ranges: what the part makes; empty: all of it.
        axis_names: the name of the axis of each range.
        copy: which repetition it is, 0 for the first time that its elements are made.
    """
    again = f", copy {copy}" if copy else ""
    return f"{operator}{_suffix(ranges, axis_names)}{again}"


def operator_name(step: Step) -> str:
    """The name of a step's operator, without the ranges of its part."""
    if not step.ranges:
        return _AGAIN.sub("", step.name) if step.copy else step.name
    return _AGAIN.sub("", step.name).removesuffix(_suffix(step.ranges, axis_names_of(step)))


def axis_names_of(step: Step) -> tuple[str, ...]:
    """The name of the axis of each range of a step: `axis 2` where nobody says."""
    return step.axis_names or tuple(
        "K" if r.axis == REDUCTION else f"axis {r.axis}" for r in step.ranges
    )


def _suffix(ranges: Sequence[AxisRange], axis_names: Sequence[str]) -> str:
    if not ranges:
        return ""
    texts = (f"{name} {r.start}:{r.end}" for name, r in zip(axis_names, ranges, strict=True))
    return f" [{', '.join(texts)})"
