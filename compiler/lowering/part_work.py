"""What a part of an operator costs: its share of the operator's products and vector work.

`operator_step` makes the step that does such work, for whoever asks a cost model about it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ullage.compiler.ir.graph import Gemm, Graph, LoopNest, Operator
from ullage.compiler.ir.part_names import IMAGE_KINDS, axis_name
from ullage.compiler.ir.program import Step, Use
from ullage.compiler.ir.reach import REDUCTION, Interval, WorkDimension
from ullage.compiler.ir.schedule import reach_of


@dataclass(frozen=True, slots=True)
class PartWork:
    """Work of a part, in the terms of `program.Step`.

    Attributes:
        macs: multiply-accumulates.
        vector_elements: elements for the vector unit.
        gemms: the MACs as matrix products.
        nests: the work as loop nests.
        measured_s: its measured time in seconds, in proportion; None where there is none.
        share: the part's share of the operator's output (and reduction).
    """

    macs: int
    vector_elements: int
    gemms: tuple[Gemm, ...]
    nests: tuple[LoopNest, ...]
    measured_s: float | None
    share: Fraction


def whole_work(operator: Operator) -> PartWork:
    """Work of an operator that runs whole."""
    return PartWork(
        operator.macs,
        operator.vector_elements,
        operator.gemms,
        operator.nests,
        operator.measured_s,
        Fraction(1),
    )


def patch_work(operator: Operator, share: Fraction) -> PartWork:
    """Work of an operator that writes a share of its result, and leaves the rest as it is.

    Such operators only move elements.
    """
    elements = math.ceil(operator.vector_elements * share)
    nests = tuple(
        LoopNest(nest.kind, nest.op, width=math.ceil(nest.elements * share), then=nest.then)
        for nest in operator.nests
    )
    return PartWork(0, elements, (), nests, operator.measured_s, share)


def operator_step(
    operator: Operator, index: int, work: PartWork, *, name: str = "", uses: tuple[Use, ...] = ()
) -> Step:
    """The step that does all or a part of an operator's work.

    Args:
        operator: the operator.
        index: its index in the graph.
        work: what of it the step does.
        name: of the step, by default the operator's.
        uses: ranges that the step reads and writes.
    """
    return Step(
        name=name or operator.name,
        kind=operator.kind,
        operator=index,
        uses=uses,
        macs=work.macs,
        mac_dtype=operator.mac_dtype,
        vector_elements=work.vector_elements,
        gemms=work.gemms,
        nests=work.nests,
        measured_s=work.measured_s,
        workspace_bytes=operator.workspace_bytes,
    )


def part_work(graph: Graph, operator: Operator, ranges: Mapping[int, Interval]) -> PartWork:
    """Work of the part of an operator that makes these ranges of its output axes.

    Products become shorter in the dimension that `Reach.axes` names, rounded up, and loop nests in
    the one that the axis stands for; other multiply-accumulates and vector work divide in
    proportion to the output. Of a cut reduction the vector work is the last part's, unless it is
    what adds up: that of a mean divides.
    """
    if not ranges:
        return whole_work(operator)
    reach = reach_of(operator)
    shape = graph.values[operator.outputs[0]].shape
    shares: dict[str, Fraction] = {}
    sides: dict[str, Fraction] = {}  # of loop nests
    of_output = Fraction(1)
    reduced = Fraction(1)
    for axis, (start, end) in ranges.items():
        if axis == REDUCTION:
            reduced = Fraction(end - start, reach.reduction)
            continue
        share = Fraction(end - start, shape[axis])
        dimension = reach.axes[axis]
        shares[dimension] = shares.get(dimension, Fraction(1)) * share
        side = _side(operator, axis, len(shape), reach.axes)
        sides[side] = sides.get(side, Fraction(1)) * share
        of_output *= share
    gemms = tuple(_shorter(gemm, shares, reduced) for gemm in operator.gemms)
    products = sum(g.m * g.k * g.n * g.count for g in operator.gemms)
    others = math.ceil((operator.macs - products) * of_output * reduced)
    is_last = REDUCTION not in ranges or ranges[REDUCTION][1] == reach.reduction
    vector = operator.vector_elements * of_output
    if not operator.macs:
        vector, is_last = vector * reduced, True
    return PartWork(
        macs=sum(g.m * g.k * g.n * g.count for g in gemms) + others,
        vector_elements=math.ceil(vector) if is_last else 0,
        gemms=gemms,
        nests=tuple(
            _cut(nest, sides, reduced) for nest in operator.nests if is_last or nest.is_mac
        ),
        measured_s=operator.measured_s and operator.measured_s * float(of_output * reduced),
        share=of_output * reduced,
    )


def _side(operator: Operator, axis: int, rank: int, axes: Sequence[WorkDimension]) -> str:
    """The field of `LoopNest` that becomes shorter when an output axis is cut.

    Args:
        operator: the operator.
        axis: the axis.
        rank: number of axes of the output.
        axes: `Reach.axes`.
    """
    kind = operator.nests[0].kind if operator.nests else "other"
    if kind in ("convolution", "depthwise"):
        if axes[axis] != "m":
            return "channels"
        space = [at for at in range(1, rank) if axes[at] == "m"][-2:]
        return dict(zip(reversed(space), ("width", "height"), strict=False)).get(axis, "batch")
    if kind == "reduction" and axis < 2 and operator.nests[0].kernel[0] > 1:
        return ("batch", "channels")[axis]  # over the space of images
    if operator.kind in IMAGE_KINDS:
        return _SIDES.get(axis_name(operator.kind, axis, rank), "width")
    if axes[axis] == "elements":
        return "channels" if axis == rank - 1 else "width"
    return {"n": "channels", "count": "count"}.get(axes[axis], "width")


# What the axes of images are in a loop nest.
_SIDES: Mapping[str, str] = {
    "batch": "batch",
    "depth": "batch",
    "rows": "height",
    "columns": "width",
    "positions": "width",
    "channels": "channels",
}


def _cut(nest: LoopNest, sides: Mapping[str, Fraction], reduced: Fraction) -> LoopNest:
    """A loop nest with shorter sides, rounded up; what follows it belongs to its last part."""

    def part(side: str) -> int:
        size: int = getattr(nest, side)
        return math.ceil(size * sides.get(side, Fraction(1)))

    groups = nest.groups
    if groups > 1:
        groups = math.ceil(groups * sides.get("channels", Fraction(1)))
    return replace(
        nest,
        count=part("count"),
        batch=part("batch"),
        height=part("height"),
        width=part("width"),
        channels=part("channels"),
        depth=math.ceil(nest.depth * reduced) if nest.is_mac else nest.depth,
        kernel=_window(nest, reduced),
        groups=groups,
    )


def _window(nest: LoopNest, reduced: Fraction) -> tuple[int, int]:
    """The window of a nest; that of a mean has the rows, or elements, that the part adds up."""
    rows, columns = nest.kernel
    if nest.kind not in ("pooling", "reduction"):
        return rows, columns
    if rows > 1:
        return math.ceil(rows * reduced), columns
    return rows, math.ceil(columns * reduced)


def _shorter(gemm: Gemm, shares: Mapping[str, Fraction], reduced: Fraction) -> Gemm:
    one = Fraction(1)
    return replace(
        gemm,
        m=max(1, math.ceil(gemm.m * shares.get("m", one))),
        n=max(1, math.ceil(gemm.n * shares.get("n", one))),
        k=max(1, math.ceil(gemm.k * reduced)),
        count=max(1, math.ceil(gemm.count * shares.get("count", one))),
    )
