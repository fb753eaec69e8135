"""What a step does, as loop nests: its own, or what follows from its counts."""

from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.program import Step


def nests_of(step: Step) -> tuple[LoopNest, ...]:
    """The loop nests of a step.

    Where nobody gave its geometry, matrix products and counts stand in: each product has one row
    of m positions, other multiply-accumulates are a product of one channel, and vector work is
    `other`.
    """
    if step.nests:
        return step.nests
    nests = [
        LoopNest("matmul", step.kind, count=g.count, width=g.m, channels=g.n, depth=g.k)
        for g in step.gemms
    ]
    rest = step.macs - sum(nest.visits for nest in nests)
    if rest > 0:
        nests.append(LoopNest("matmul", step.kind, width=rest))
    if step.vector_elements:
        nests.append(LoopNest("other", step.kind, width=step.vector_elements))
    return tuple(nests)
