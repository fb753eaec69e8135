"""What a part of an operator costs: its share of the operator's products and vector work."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ullage.compiler.ir.graph import Gemm, Graph, Operator
from ullage.compiler.ir.reach import REDUCTION, Interval
from ullage.compiler.ir.schedule import reach_of


@dataclass(frozen=True, slots=True)
class PartWork:
    """Work of a part, in the terms of `program.Step`.

    Attributes:
        macs: multiply-accumulates.
        vector_elements: elements for the vector unit.
        gemms: the MACs as matrix products.
        share: the part's share of the operator's output (and reduction).
    """

    macs: int
    vector_elements: int
    gemms: tuple[Gemm, ...]
    share: Fraction


def part_work(graph: Graph, operator: Operator, ranges: Mapping[int, Interval]) -> PartWork:
    """Work of the part of an operator that makes these ranges of its output axes.

    Products become shorter in the dimension that `Reach.axes` names, rounded up; other
    multiply-accumulates and vector work divide in proportion to the output. Of a cut reduction
    the vector work is the last part's.
    """
    if not ranges:
        return PartWork(operator.macs, operator.vector_elements, operator.gemms, Fraction(1))
    reach = reach_of(operator)
    shape = graph.values[operator.outputs[0]].shape
    shares: dict[str, Fraction] = {}
    of_output = Fraction(1)
    reduced = Fraction(1)
    for axis, (start, end) in ranges.items():
        if axis == REDUCTION:
            reduced = Fraction(end - start, reach.reduction)
            continue
        share = Fraction(end - start, shape[axis])
        dimension = reach.axes[axis]
        shares[dimension] = shares.get(dimension, Fraction(1)) * share
        of_output *= share
    gemms = tuple(_shorter(gemm, shares, reduced) for gemm in operator.gemms)
    products = sum(g.m * g.k * g.n * g.count for g in operator.gemms)
    others = math.ceil((operator.macs - products) * of_output * reduced)
    is_last = REDUCTION not in ranges or ranges[REDUCTION][1] == reach.reduction
    return PartWork(
        macs=sum(g.m * g.k * g.n * g.count for g in gemms) + others,
        vector_elements=math.ceil(operator.vector_elements * of_output) if is_last else 0,
        gemms=gemms,
        share=of_output * reduced,
    )


def _shorter(gemm: Gemm, shares: Mapping[str, Fraction], reduced: Fraction) -> Gemm:
    one = Fraction(1)
    return replace(
        gemm,
        m=max(1, math.ceil(gemm.m * shares.get("m", one))),
        n=max(1, math.ceil(gemm.n * shares.get("n", one))),
        k=max(1, math.ceil(gemm.k * reduced)),
        count=max(1, math.ceil(gemm.count * shares.get("count", one))),
    )
